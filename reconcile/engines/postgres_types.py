"""How a Postgres type's values are compared, derived from the types that it is made of.

Two values are equal if their bytes are. For most built-in types the type's own ``=`` says just that, and it can use an
index: these are compared as they are. For all other types (citext, interval, points, json, types of extensions, and
every array, composite or range that holds one) the bytes of the binary form decide: ``typsend`` exists for nearly every
type and depends on no setting. Documented exceptions: the scale of a numeric, -0.0, NaN and the order of jsonb names
are those of ``=``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

# Types of pg_catalog whose = holds just for equal bytes (but for the documented exceptions) and which can be sorted.
# interval is none (1 month = 30 days), nor are the geometric types (two boxes of one area are =). A type that is not
# listed is compared by its bytes: right, only without its index.
_PLAIN = frozenset(
    (
        *(
            "bool",
            "bytea",
            "char",
            "name",
            "text",
            "varchar",
            "int2",
            "int4",
            "int8",
            "oid",
            "float4",
            "float8",
            "numeric",
        ),
        *("money", "date", "time", "timetz", "timestamp", "timestamptz", "uuid", "bit", "varbit", "inet", "cidr"),
        *("macaddr", "macaddr8", "jsonb", "xid8", "pg_lsn", "tsvector", "enum"),
    )
)
_PADDED = re.compile(r"character\(\d+\)(\[\])?")  # values of one length: = ignores blanks at the end
_ROUNDED = frozenset({"float4", "float8", "point", "line", "lseg", "box", "path", "polygon", "circle"})


class Equality(StrEnum):
    """By what two values of a type are compared."""

    VALUE = "value"  # the type's own =
    BYTES = "bytes"  # the bytes of its binary form
    TEXT = "text"  # its text: the few types without a binary form


@dataclass(frozen=True)
class TypeFacts:
    """What the catalog says of a type: the name below its domains, its function for the binary form, its parts."""

    base: str
    kind: str
    send: str | None
    parts: tuple[str, ...] = ()
    nondeterministic: bool = False  # a part is ordered by a collation that calls different texts equal

    def equality(self, spelled: str) -> Equality:
        """By what values of this type are compared; ``spelled`` is the type with its modifiers."""
        padded = _PADDED.fullmatch(spelled) is not None
        plain = all(part in _PLAIN or (padded and part == "bpchar") for part in self.parts)
        if plain and self.parts and not (self.nondeterministic and self.kind not in "b"):
            return Equality.VALUE
        return Equality.BYTES if self.send else Equality.TEXT

    @property
    def rounded(self) -> bool:
        """Whether extra_float_digits below 1 rounds the text of a value."""
        return not _ROUNDED.isdisjoint(self.parts)


UNKNOWN = TypeFacts("unknown", "p", None)


def facts_of(rows: Iterable[tuple[int, str, str, str | None, list[str] | None, bool]]) -> Mapping[int, TypeFacts]:
    """The rows of ``postgres_catalog.TYPES`` by the oid of the type."""
    return {
        oid: TypeFacts(base, kind, send, tuple(parts or ()), nondeterministic)
        for oid, base, kind, send, parts, nondeterministic in rows
    }
