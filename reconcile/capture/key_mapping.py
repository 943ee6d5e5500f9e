"""Which rows of a source can change which keys of a model.

Where the planner, asked for one key, puts its value as a condition on every scan of a source, only rows that carry
it can have a part in that key's row: the column of the condition carries the key. Where it does not,
``meta.reconcile.key_from`` may say how keys follow from changed rows; else any change of the source may change any key.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from reconcile.compare.align import stored_sql
from reconcile.definition.model import Definition
from reconcile.definition.splice import inlined
from reconcile.engines.base import Column
from reconcile.engines.identifiers import quote
from reconcile.engines.postgres import PostgresEngine
from reconcile.errors import ReconcileError

# a value of each kind of key that no condition of a model's own holds by chance
_PROBES = {
    "int2": "-31873",
    "int4": "-1873214657",
    "int8": "-1873214657187321",
    "numeric": "-1873214657.187321",
    "text": "reconcile probe 7f3a",
    "varchar": "reconcile probe 7f3a",
    "uuid": "7f3a9d21-0c4e-4b52-9a1e-5d6c7b8a9f01",
    "date": "4187-03-21",
    "timestamp": "4187-03-21 07:13:21.187321",
}


@dataclass(frozen=True)
class Mapping:
    """How a source's changed rows name keys: by ``columns`` in the key's order, by a ``query`` over the relation
    ``changed``, or not at all: then ``why`` says so. Where all are None no row of it has a part in any key."""

    columns: tuple[str, ...] | None = None
    query: str | None = None
    why: str | None = None

    def said(self) -> str:
        if self.columns is not None:
            return f"({', '.join(self.columns)}) carries the key"
        if self.query is not None:
            return "key_from says which keys"
        return f"any change costs a sweep: {self.why}" if self.why else "it has no part in any key"

    def as_dict(self) -> dict[str, Any]:
        return {"columns": self.columns, "query": self.query, "why": self.why}

    @classmethod
    def from_dict(cls, body: dict[str, Any]) -> Mapping:
        columns = body["columns"]
        return cls(tuple(columns) if columns is not None else None, body["query"], body["why"])


def mappings(engine: PostgresEngine, definition: Definition, key: Sequence[Column]) -> dict[str, Mapping]:
    """By source relation. Raises ReconcileError where ``key_from`` names what the model does not read."""
    found: dict[str, Mapping] = {}
    declared = dict(definition.settings.key_from)
    plans: tuple[_Scans, _Scans] | None = None
    for relation in definition.sources:
        said = declared.pop(_name(relation), None)
        if said is not None:
            found[relation] = _declared(said, definition)
            continue
        if plans is None:
            plans = _scans(engine, definition, key)
        found[relation] = _same_values(engine, relation, _proven(relation, *plans, key), key)
    if declared:
        unknown = next(iter(declared))
        read = ", ".join(sorted(map(_name, definition.sources)))
        raise ReconcileError(f"{definition.name}: key_from names {unknown}, which it does not read: it reads {read}")
    return found


def _declared(said: str | Sequence[str], definition: Definition) -> Mapping:
    if isinstance(said, str) and said.lstrip().lower().startswith(("select", "with")):
        return Mapping(query=said)
    columns = (said,) if isinstance(said, str) else tuple(said)
    if len(columns) != len(definition.key):
        raise ReconcileError(
            f"{definition.name}: key_from gives {len(columns)} columns for a key of {len(definition.key)}: name one for"
            f" each of ({', '.join(definition.key)}), or a select from changed"
        )
    return Mapping(columns)


_Scans = list[dict[str, Any]]


def _scans(engine: PostgresEngine, definition: Definition, key: Sequence[Column]) -> tuple[_Scans, _Scans]:
    """The scans of a plan of the definition for one key, and of one for all; none where the key's type has no probe."""
    assert definition.sql is not None
    bound = []
    for column in key:
        probe = _PROBES.get(column.base)
        if probe is None:
            return [], []
        bound.append(f"{quote(column.name)} = cast('{probe}' as {column.unbounded})")
    sql = inlined(stored_sql(definition.sql, dict(definition.contract)))
    found = []
    for condition in (" and ".join(bound), "true"):
        statement = f"explain (format json) select * from (\n{sql}\n) as probed where {condition}"
        plan = engine.one(statement)[0][0]["Plan"]
        found.append([node for node in _nodes(plan) if "Relation Name" in node])
    return found[0], found[1]


def _proven(relation: str, scans: _Scans, all_scans: _Scans, key: Sequence[Column]) -> Mapping:
    name = _name(relation)
    own = [node for node in scans if node["Relation Name"] == name]
    if not any(node["Relation Name"] == name for node in all_scans):
        return Mapping()  # named in a comment only
    if len(own) != sum(node["Relation Name"] == name for node in all_scans):
        # a branch that yields this one key never, and another one from every row of the source
        return Mapping(why=f"the planner reads {name} otherwise for one key than for all")
    carried: tuple[str, ...] | None = None
    for node in own:
        columns = _carries(node, key)
        if columns is None or (carried is not None and columns != carried):
            return Mapping(why=f"the planner does not put the key on every scan of {name}")
        carried = columns
    if carried is None:
        return Mapping(why=f"no plan of one key shows how its rows carry the key of {name}")
    return Mapping(carried)


def _same_values(engine: PostgresEngine, relation: str, found: Mapping, key: Sequence[Column]) -> Mapping:
    """``found`` where its columns print their values as the key does: a char(n) is padded, and compares without."""
    if found.columns is None:
        return found
    bases = {column.name: column.base for column in engine.table_columns(relation) or ()}
    texts = {"text", "varchar"}
    for name, part in zip(found.columns, key, strict=True):
        if bases.get(name) != part.base and not {bases.get(name), part.base} <= texts:
            return Mapping(why=f"{_name(relation)}.{name} and the key {part.name} are of different types")
    return found


def _carries(scan: dict[str, Any], key: Sequence[Column]) -> tuple[str, ...] | None:
    """The columns that this scan binds to the probes; None where one is not bound."""
    terms = [
        term for name in ("Index Cond", "Recheck Cond", "Filter") if name in scan for term in conjuncts(scan[name])
    ]
    columns = []
    for part in key:
        probe = _PROBES[part.base]
        bound = next((column for term in terms if (column := _bound(term, probe)) is not None), None)
        if bound is None:
            return None
        columns.append(bound)
    return tuple(columns)


_COLUMN = r'\(?\(?(?:"(?P<quoted>(?:[^"]|"")+)"|(?P<plain>[a-z_][a-z0-9_$]*))\)?(?:::(?:text|character varying))?\)?'


def _bound(term: str, probe: str) -> str | None:
    value = rf"\(?'?{re.escape(probe)}'?\)?(?:::[a-z0-9 ]+(?:\(\d+(?:,\d+)?\))?)?"
    for pattern in (rf"{_COLUMN} = {value}", rf"{value} = {_COLUMN}"):
        match = re.fullmatch(pattern, term)
        if match:
            return match["plain"] or match["quoted"].replace('""', '"')
    return None


def conjuncts(condition: str) -> Iterator[str]:
    """The parts of a condition that must all hold, as EXPLAIN prints it."""
    inner = _unwrapped(condition)
    depth, start, quoted = 0, 0, False
    cuts = []
    for i, character in enumerate(inner):
        if character == "'":
            quoted = not quoted
        elif not quoted:
            depth += (character == "(") - (character == ")")
            if depth == 0 and inner.startswith(" AND ", i):
                cuts.append((start, i))
                start = i + len(" AND ")
            elif depth == 0 and inner.startswith(" OR ", i):
                return  # an alternative binds nothing
    parts = [inner[a:b] for a, b in [*cuts, (start, len(inner))]]
    if len(parts) == 1:
        yield parts[0]
        return
    for part in parts:
        yield from conjuncts(part)


def _unwrapped(text: str) -> str:
    """Without the parentheses around the whole of it."""
    while text.startswith("(") and _closes(text) == len(text) - 1:
        text = text[1:-1]
    return text


def _closes(text: str) -> int:
    depth, quoted = 0, False
    for i, character in enumerate(text):
        if character == "'":
            quoted = not quoted
        elif not quoted:
            depth += (character == "(") - (character == ")")
            if depth == 0:
                return i
    return len(text)


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from _nodes(child)


def _name(relation: str) -> str:
    """A relation's own name, of ``"database"."schema"."name"``."""
    return relation.rsplit(".", 1)[-1].strip('"').replace('""', '"')
