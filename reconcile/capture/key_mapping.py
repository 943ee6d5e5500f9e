"""How changed rows of a source name the keys of a model (``key_proof`` finds it)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Mapping:
    """How changed rows of a source name keys: by ``columns`` in the key's order (of these ``types``), by a ``query``
    over the relation ``changed``, or not at all: then ``why`` says the reason. If all are None the definition does not
    read the source. ``null_keys``: any change may also change the rows whose key is NULL."""

    columns: tuple[str, ...] | None = None
    query: str | None = None
    why: str | None = None
    types: tuple[str, ...] | None = None
    null_keys: bool = False

    def describe(self) -> str:
        if self.columns is not None:
            return f"({', '.join(self.columns)}) carries the key"
        if self.query is not None:
            return "key_from gives the keys"
        return f"any change costs a sweep: {self.why}" if self.why else "it has no part in any key"

    def as_dict(self) -> dict[str, Any]:
        return {
            "columns": self.columns,
            "query": self.query,
            "why": self.why,
            "types": self.types,
            "null_keys": self.null_keys,
        }

    @classmethod
    def from_dict(cls, body: dict[str, Any]) -> Mapping:
        columns, types = (tuple(body[name]) if body[name] is not None else None for name in ("columns", "types"))
        return cls(columns, body["query"], body["why"], types, body["null_keys"])


def split_name(relation: str) -> tuple[str, str]:
    """Schema and name of ``"schema"."name"``; quotes may be missing. The names must not contain dots."""
    parts = relation.split(".")[-2:]
    schema, name = (part[1:-1].replace('""', '"') if part.startswith('"') else part for part in parts)
    return schema, name


def name_of_relation(relation: str) -> str:
    return split_name(relation)[1] if "." in relation else relation.strip('"')
