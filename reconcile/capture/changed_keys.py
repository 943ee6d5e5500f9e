"""From changed rows to the keys that they may have changed, each with the transaction that did it.

A key is clean again once it was compared in a snapshot that sees that transaction. If the changing transaction is
unknown, minus the highest transaction id that had started by then is stored.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from reconcile.capture.key_columns import canonical_keys_sql
from reconcile.capture.key_mapping import Mapping
from reconcile.capture.pgoutput import Change, RelationMessage, Row
from reconcile.engines.identifiers import quote
from reconcile.engines.postgres import PostgresEngine
from reconcile.errors import EvaluationFailed

# "key_from" is evaluated as the definition is, in the time zone and the order of day and month that sessions have by
# default; the style stays ISO, in which a printed key has one meaning.
_DEFAULT_SETTINGS = """
    select pg_catalog.set_config(
        name,
        case name when 'TimeZone' then reset_val else 'ISO, ' || pg_catalog.split_part(reset_val, ', ', 2) end,
        true
    )
    from pg_catalog.pg_settings where name in ('TimeZone', 'DateStyle')
"""
_FEW = 20  # transactions that are stored one by one

Key = tuple[str | None, ...]
Marked = set[tuple[Key, int]]


@dataclass(frozen=True)
class Model:
    """A model whose changes are stored: the tables that it depends on (by oid) and how their rows name its keys."""

    name: str
    key: tuple[str, ...]
    key_types: tuple[str, ...]
    mappings: dict[int, Mapping]
    relations: dict[int, str]


class Dirty:
    """Collects the dirty keys of models. ``xmax``: every transaction of the changes is below it."""

    def __init__(self, engine: PostgresEngine, models: list[Model], xmax: int) -> None:
        self._engine, self._models, self._xmax = engine, models, xmax
        self._printed: dict[tuple[str, int], Marked] = {}
        self._queried: dict[tuple[str, int], list[tuple[Row, int]]] = {}
        self._null: dict[str, set[int]] = {}
        self._why: dict[str, tuple[str, set[int]]] = {}

    def every_key_of(self, oid: int, why: str, xid: int) -> None:
        for model in self._models:
            if oid in model.relations:
                self._every(model, f"{plain(model.relations[oid])}: {why}", xid)

    def every_key(self, why: str) -> None:
        for model in self._models:
            self._every(model, why, -self._xmax)

    def add(self, change: Change, shape: RelationMessage, xid: int) -> None:
        sides = [side for side in (change.before, change.after) if side is not None]
        for model in self._models:
            mapping = model.mappings.get(change.oid)
            if mapping is None:
                continue
            if mapping.null_keys:
                self._null.setdefault(model.name, set()).add(xid)
            if mapping.why is not None:
                self._every(model, f"{plain(model.relations[change.oid])} changed, and {mapping.why}", xid)
            elif mapping.columns is not None or mapping.query is not None:
                if not _is_complete(change, shape, mapping):
                    why = "the old row of a change was not sent (its replica identity was another one)"
                    self._every(model, f"{plain(model.relations[change.oid])}: {why}", xid)
                elif mapping.columns is not None:
                    self._by_columns(model, change.oid, mapping.columns, sides, xid)
                else:
                    rows = self._queried.setdefault((model.name, change.oid), [])
                    rows.extend((side, xid) for side in sides)

    def keys_of(self, model: Model) -> Marked:
        """The model's dirty keys in canonical text."""
        found: Marked = set()
        for (name, oid), rows in self._queried.items():
            if name == model.name:
                found |= self._by_query(model, oid, rows)
        for (name, oid), printed in self._printed.items():
            if name == model.name:
                types = model.mappings[oid].types or model.key_types
                found |= self._canonical(model, oid, tuple(zip(types, model.key_types, strict=True)), printed)
        no_key: Key = (None,) * len(model.key)
        return found | {(no_key, xid) for xid in self._marks(self._null.get(model.name, set()))}

    def why_every_key(self, model: Model) -> tuple[str, set[int]] | None:
        """Why any key of the model may have changed, and what marks that; None if only its dirty keys may."""
        found = self._why.get(model.name)
        return (found[0], self._marks(found[1])) if found else None

    def _every(self, model: Model, why: str, xid: int) -> None:
        self._why.setdefault(model.name, (why, set()))[1].add(xid)

    def _marks(self, xids: set[int]) -> set[int]:
        return xids if len(xids) <= _FEW else {-self._xmax}

    def _by_columns(self, model: Model, oid: int, columns: tuple[str, ...], sides: list[Row], xid: int) -> None:
        for side in sides:
            if all(name in side for name in columns):
                key = tuple(side[name] for name in columns)
                self._printed.setdefault((model.name, oid), set()).add((key, xid))
            else:
                self._every(model, f"{plain(model.relations[oid])}: the key of a changed row was not sent", xid)

    def _canonical(self, model: Model, oid: int, types: tuple[tuple[str, str], ...], printed: Marked) -> Marked:
        try:
            with self._engine.transaction():
                body = json.dumps([[list(key), xid] for key, xid in printed])
                return {(tuple(key), xid) for key, xid in self._engine.rows(canonical_keys_sql(types), [body])}
        except EvaluationFailed as error:
            for xid in self._marks({xid for _, xid in printed}):
                self._every(model, f"{plain(model.relations[oid])}: a changed key cannot be stored ({error})", xid)
            return set()

    def _by_query(self, model: Model, oid: int, rows: list[tuple[Row, int]]) -> Marked:
        """Run the model's own ``select ... from changed`` over the changed rows, old and new."""
        relation, query = model.relations[oid], model.mappings[oid].query
        marks = self._marks({xid for _, xid in rows})
        columns = [column for column in self._engine.table_columns(relation) or () if not column.generated]
        if not columns or any(column.name not in row for row, _ in rows for column in columns):
            for xid in marks:
                self._every(model, f"{plain(relation)}: a changed row was not sent whole", xid)
            return set()
        typed = ", ".join(
            f"cast(entry ->> {self._engine.literal(column.name)} as {column.type}) as {quote(column.name)}"
            for column in columns
        )
        parts = [f"k{i}" for i in range(len(model.key))]
        statement = (
            f"with changed as (select {typed} from jsonb_array_elements($1::jsonb) as entry)\n"
            f"select distinct {', '.join(f'{part}::text' for part in parts)}"
            f" from (\n{query}\n) as named ({', '.join(parts)})"
        )
        try:
            with self._engine.transaction():
                self._engine.rows(_DEFAULT_SETTINGS)
                found = self._engine.rows(statement, [json.dumps([row for row, _ in rows])])
        except EvaluationFailed as error:
            for xid in marks:  # an error here would stop the slot for every model
                self._every(model, f"key_from of {plain(relation)} does not run ({error})", xid)
            return set()
        printed = {(tuple(key), xid) for key in found for xid in marks}
        return self._canonical(model, oid, tuple((kind, kind) for kind in model.key_types), printed)


def _is_complete(change: Change, shape: RelationMessage, mapping: Mapping) -> bool:
    """Whether every key that the change touches was sent. An update without its old row left its identity as it was:
    that is enough only if the identity holds the key."""
    if change.kind == "I":
        return True
    if mapping.columns is None:
        return shape.identity == "f" and change.before is not None
    if change.before is not None and shape.identity == "f":
        return True
    return shape.identity != "f" and set(mapping.columns) <= shape.key


def plain(relation: str) -> str:
    """A relation's name without quotes and database."""
    return ".".join(part.strip('"') for part in relation.split(".")[-2:])
