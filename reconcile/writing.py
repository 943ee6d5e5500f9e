"""Write planned rows into one table: only those that still are what the plan saw, all in the caller's transaction.

The rows go into a temporary table first, as text, and from there set by set: an update, an insert and a delete, each
joined on the key and on the whole before-image. Locks are row locks and ROW EXCLUSIVE, nothing stronger.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reconcile.definition import quote
from reconcile.engines.base import Column, Engine
from reconcile.errors import EvaluationFailed
from reconcile.plan import PlannedRow

_PLAN = "reconcile_plan"


@dataclass(frozen=True)
class Written:
    """What was written, and the positions of the rows that were not: they are no longer what the plan saw."""

    inserted: int
    updated: int
    deleted: int
    stale: tuple[int, ...]


class RowWriter:
    """Writes planned rows into one table. ``columns`` are the table's own, ``compared`` the names the plan compares.

    To be used inside ``engine.transaction()``, once.
    """

    def __init__(
        self, engine: Engine, relation: str, columns: Sequence[Column], key: Sequence[str], compared: Sequence[str]
    ) -> None:
        self._engine = engine
        self._relation = relation
        self._columns = list(columns)
        self._by_name = {column.name: column for column in columns}
        self._key = list(key)
        self._compared = [name for name in compared if name in self._by_name]

    def write(self, rows: Sequence[PlannedRow]) -> Written:
        """Lock, look again, write. Raises EvaluationFailed where the database refuses; then nothing is to be kept."""
        self._load(rows)
        self._engine.lock_rows(
            f"select 1 from {self._relation} as t join {_PLAN} as p on {self._same_key('b')} "
            f"where p.copies = 0 and p.action <> 'insert' order by p.position"
        )
        fresh = {row[0] for row in self._engine.stream(self._applicable())}
        stale = tuple(i for i in range(len(rows)) if i not in fresh)
        if stale:
            self._engine.execute_many(f"delete from {_PLAN} where position = $1", [(i,) for i in stale])
        # deletes first: a unique value that one row gives up may be another's new one
        deleted = self._engine.execute(self._delete()) + self._engine.execute(self._delete_copies())
        updated = self._engine.execute(self._update(rows)) if self._changed(rows) else 0
        inserted = self._engine.execute(self._insert())
        written = [row for i, row in enumerate(rows) if i in fresh]
        wanted = {a: sum(row.copies or 1 for row in written if row.action == a) for a in ("insert", "update", "delete")}
        found = {"insert": inserted, "update": updated, "delete": deleted}
        if found != wanted:
            raise EvaluationFailed(f"{self._relation}: planned {wanted}, but the database wrote {found}: rolled back")
        self._engine.execute(f"drop table {_PLAN}")
        return Written(inserted, updated, deleted, stale)

    def _load(self, rows: Sequence[PlannedRow]) -> None:
        names = [c.name for c in self._columns]
        texts = [f"b{i}" for i in range(len(names))] + [f"a{i}" for i in range(len(names))]
        self._engine.execute(
            f"create temporary table {_PLAN} (position bigint, action varchar, copies bigint, "
            + ", ".join(f"{name} varchar" for name in texts)
            + ")"
        )
        self._engine.load(
            _PLAN,
            ["position", "action", "copies", *texts],
            [
                [
                    i,
                    row.action,
                    row.copies,
                    *[(row.before or {}).get(n) for n in names],
                    *[(row.after or {}).get(n) for n in names],
                ]
                for i, row in enumerate(rows)
            ],
        )

    def _value(self, side: str, name: str) -> str:
        index = next(i for i, column in enumerate(self._columns) if column.name == name)
        return f"cast(p.{side}{index} as {self._by_name[name].type})"

    def _same_key(self, side: str) -> str:
        return " and ".join(f"t.{quote(name)} = {self._value(side, name)}" for name in self._key) or "false"

    def _same_row(self) -> str:
        """The row is what it was before: every compared column, by the equality that the comparison used."""
        return " and ".join(
            f"{self._engine.comparable('t.' + quote(name), self._by_name[name])} is not distinct from "
            f"{self._engine.comparable(self._value('b', name), self._by_name[name])}"
            for name in dict.fromkeys([*self._key, *self._compared])
        )

    def _applicable(self) -> str:
        """The positions of the rows that still are what the plan saw."""
        one = f"select 1 from {self._relation} as t where {self._same_key('b')} and {self._same_row()}"
        none = f"select 1 from {self._relation} as t where {self._same_key('a')}"
        copies = f"select count(*) from {self._relation} as t where {self._same_row()}"
        return (
            f"select p.position from {_PLAN} as p where\n"
            f"  (p.copies = 0 and p.action <> 'insert' and exists ({one}))\n"
            f"  or (p.copies = 0 and p.action = 'insert' and not exists ({none}))\n"
            f"  or (p.copies > 0 and p.action = 'delete' and ({copies}) >= p.copies)\n"
            f"  or (p.copies > 0 and p.action = 'insert')"
        )

    def _changed(self, rows: Sequence[PlannedRow]) -> list[str]:
        """The columns that some row changes; generated ones are the database's own to write."""
        updates = [row for row in rows if row.action == "update" and row.before and row.after]
        return [
            name
            for name in self._compared
            if not self._by_name[name].generated
            and any((row.before or {}).get(name) != (row.after or {}).get(name) for row in updates)
        ]

    def _update(self, rows: Sequence[PlannedRow]) -> str:
        assignments = ", ".join(f"{quote(name)} = {self._value('a', name)}" for name in self._changed(rows))
        return (
            f"update {self._relation} as t set {assignments} from {_PLAN} as p\n"
            f"where p.action = 'update' and {self._same_key('b')} and {self._same_row()}"
        )

    def _delete(self) -> str:
        return (
            f"delete from {self._relation} as t using {_PLAN} as p\n"
            f"where p.action = 'delete' and p.copies = 0 and {self._same_key('b')} and {self._same_row()}"
        )

    def _delete_copies(self) -> str:
        row_id = self._engine.row_id
        return (
            f"delete from {self._relation} where {row_id} in (\n"
            f"  select id from (\n    select t.{row_id} as id, p.copies,\n"
            f"      row_number() over (partition by p.position order by t.{row_id}) as nth\n"
            f"    from {self._relation} as t\n"
            f"    join {_PLAN} as p on p.action = 'delete' and p.copies > 0 and {self._same_row()}\n"
            f"  ) as numbered where nth <= copies\n)"
        )

    def _insert(self) -> str:
        names = [column.name for column in self._columns if not column.generated]
        listed = ", ".join(map(quote, names))
        values = ", ".join(self._value("a", name) for name in names)
        overriding = " overriding system value" if any(c.identity_always for c in self._columns) else ""
        return (
            f"insert into {self._relation} ({listed}){overriding}\nselect {values}\nfrom {_PLAN} as p\n"
            f"cross join lateral generate_series(1, greatest(p.copies, 1)) as copy\n"
            f"where p.action = 'insert'"
        )
