"""From changed rows to the keys that they may have changed, each with the transaction that did it.

A key is clean again once it was compared in a snapshot that sees that transaction. Where nothing tells which of many
transactions changed it, it is marked with the end of all that had begun by then, as a negative number.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from reconcile.capture.key_mapping import Mapping
from reconcile.capture.pgoutput import Change, Row
from reconcile.engines.identifiers import quote
from reconcile.engines.postgres import PostgresEngine
from reconcile.errors import EvaluationFailed, ReconcileError

_FEW = 20  # transactions that are told apart

Key = tuple[str | None, ...]
Marked = set[tuple[Key, int]]


@dataclass(frozen=True)
class Model:
    """A model whose changes are stored: the tables that it depends on (by oid) and how their rows name its keys."""

    name: str
    key: tuple[str, ...]
    mappings: dict[int, Mapping]
    relations: dict[int, str]


class Dirty:
    """Collects the dirty keys of models. ``xmax``: no transaction of the changes is at or above it."""

    def __init__(self, engine: PostgresEngine, models: list[Model], xmax: int) -> None:
        self._engine, self._models, self._xmax = engine, models, xmax
        self._keys: dict[str, Marked] = {model.name: set() for model in models}
        self._why: dict[str, tuple[str, set[int]]] = {}
        self._queried: dict[tuple[str, int], list[tuple[Row, int]]] = {}

    def every_key_of(self, oid: int, why: str, xid: int) -> None:
        for model in self._models:
            if oid in model.relations:
                self._every(model, f"{plain(model.relations[oid])}: {why}", xid)

    def every_key(self, why: str) -> None:
        for model in self._models:
            self._every(model, why, -self._xmax)

    def add(self, change: Change, xid: int) -> None:
        sides = [side for side in (change.before, change.after) if side is not None]
        for model in self._models:
            mapping = model.mappings.get(change.oid)
            if mapping is None:
                continue
            if mapping.columns is not None:
                self._by_columns(model, mapping.columns, sides, xid)
            elif mapping.query is not None:
                self._queried.setdefault((model.name, change.oid), []).extend((side, xid) for side in sides)
            elif mapping.why is not None:
                self._every(model, f"{plain(model.relations[change.oid])} changed, and {mapping.why}", xid)

    def keys_of(self, model: Model) -> Marked:
        for (name, oid), rows in self._queried.items():
            if name == model.name:
                self._by_query(model, oid, rows)
        return self._keys[model.name]

    def why_every_key(self, model: Model) -> tuple[str, set[int]] | None:
        """Why any key of the model may have changed, and what marks that; None where only its dirty keys may."""
        found = self._why.get(model.name)
        return (found[0], self._marks(found[1])) if found else None

    def _every(self, model: Model, why: str, xid: int) -> None:
        self._why.setdefault(model.name, (why, set()))[1].add(xid)

    def _marks(self, xids: set[int]) -> set[int]:
        return xids if len(xids) <= _FEW else {-self._xmax}

    def _by_columns(self, model: Model, columns: tuple[str, ...], sides: list[Row], xid: int) -> None:
        for side in sides:
            if all(name in side for name in columns):
                self._keys[model.name].add((tuple(side[name] for name in columns), xid))
            else:
                self._every(model, "a changed row did not tell its key", xid)

    def _by_query(self, model: Model, oid: int, rows: list[tuple[Row, int]]) -> None:
        """Run the model's own ``select ... from changed`` over the changed rows, old and new."""
        relation, query = model.relations[oid], model.mappings[oid].query
        marks = self._marks({xid for _, xid in rows})
        columns = [column for column in self._engine.table_columns(relation) or () if not column.generated]
        if not columns or any(column.name not in row for row, _ in rows for column in columns):
            for xid in marks:
                self._every(model, f"{plain(relation)}: a changed row was not told whole", xid)
            return
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
            found = self._engine.rows(statement, [json.dumps([row for row, _ in rows])])
        except EvaluationFailed as error:
            raise ReconcileError(f"key_from of {model.name} for {plain(relation)} does not run: {error}") from None
        self._keys[model.name] |= {(tuple(key), xid) for key in found for xid in marks}


def plain(relation: str) -> str:
    """A relation's name without quotes and database."""
    return ".".join(part.strip('"') for part in relation.split(".")[-2:])
