"""A plan as an SQL script, to review or to run by hand: one statement per row, each with the guard of the repair."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from reconcile.atomic_files import write_whole
from reconcile.engines.identifiers import quote
from reconcile.errors import Refused
from reconcile.repair.plan_file import PlannedRow, PlannedTable, RepairPlan, Values

if TYPE_CHECKING:
    from reconcile.engines.base import Column, Engine
    from reconcile.repair.session import RepairSession


def write_script(session: RepairSession, path: Path) -> None:
    """Write the plan's statements, in the order in which they would run. Memory stays flat.

    Raises Refused if the file cannot be written, or if the engine has no name for one of several equal rows.
    """
    if not session.engine.row_id:
        raise Refused(
            f"{session.engine.kind} has no name for one of several equal rows, so no statements can be written to "
            f"{path}: review the plan that --plan writes; nothing was changed"
        )

    def write(file: TextIO) -> None:
        file.write(_head(session.plan))
        for index in session.order():
            table = session.plan.tables[index]
            writer = _Writer(session.engine, table)
            file.write(f"\n-- {_comment(table.name)}: {table.inserts} to insert, {table.updates} to update, ")
            file.write(f"{table.deletes} to delete\nbegin;\n")
            file.writelines(f"{statement};\n" for statement in session.engine.pinning_sql())
            # deletes first, as in the repair
            for action in ("delete", "update", "insert"):
                for row in session.rows_of(index, action):
                    file.writelines(f"{statement};\n" for statement in writer.statements(row))
            file.write("commit;\n")

    try:
        write_whole(path, write)
    except OSError as error:
        raise Refused(f"cannot write the statements to {path} ({error.strerror}): nothing was changed") from error


def _head(plan: RepairPlan) -> str:
    return (
        f"-- reconcile repair, plan {plan.plan_id} for {_comment(plan.database)}, made {plan.created_at}\n"
        "-- Each statement writes its row only if that row is as it was when the plan was made. Rows written by this\n"
        "-- script are not in the repair journal: `reconcile undo` cannot restore them. Run it once: a statement with\n"
        "-- `limit` deletes some of several equal rows, and a second run would delete more of them.\n"
    )


def _comment(text: str) -> str:
    return text.replace("\n", " ").replace("\r", " ")


class _Writer:
    """Statements for one table's rows."""

    def __init__(self, engine: Engine, table: PlannedTable) -> None:
        self._engine = engine
        self._table = table
        self._columns = {column.name: column for column in engine.table_columns(table.relation) or []}

    def statements(self, row: PlannedRow) -> Iterator[str]:
        """The statements that write a row: for copies to insert, one per copy."""
        relation = self._table.relation
        if row.action == "delete" and row.before is not None:
            if not row.copies:
                yield f"delete from {relation} as t where {self._is(row.before)}"
                return
            ids = ", ".join(self._engine.row_id)
            yield (
                f"delete from {relation} where ({ids}) in (select {ids} from {relation} as t where "
                f"{self._is(row.before)} order by {ids} limit {row.copies})"
            )
        elif row.action == "update" and row.before is not None and row.after is not None:
            changed = {
                name: value
                for name, value in row.after.items()
                if value != row.before[name] and not self._columns[name].generated
            }
            if not changed:
                return  # only generated columns differ: the database writes them
            if any(self._columns[name].identity_always for name in changed):  # which no UPDATE can write
                yield f"delete from {relation} as t where {self._is(row.before)}"
                yield self._insert(row.after, keyed=True)
                return
            assignments = ", ".join(f"{quote(name)} = {self._value(name, value)}" for name, value in changed.items())
            yield f"update {relation} as t set {assignments} where {self._is(row.before)}"
        elif row.after is not None:
            yield from [self._insert(row.after, keyed=row.copies == 0)] * max(row.copies, 1)

    def _insert(self, values: Values, keyed: bool) -> str:
        written = {name: value for name, value in values.items() if not self._columns[name].generated}
        names = ", ".join(map(quote, written))
        listed = ", ".join(self._value(name, value) for name, value in written.items())
        overriding = " overriding system value" if any(self._columns[n].identity_always for n in written) else ""
        same_key = " and ".join(f"t.{quote(n)} = {self._value(n, values[n])}" for n in self._table.key)
        guard = f" where not exists (select 1 from {self._table.relation} as t where {same_key})" if keyed else ""
        return f"insert into {self._table.relation} ({names}){overriding} select {listed}{guard}"

    def _is(self, values: Values) -> str:
        keyed = [f"t.{quote(n)} = {self._value(n, values[n])}" for n in self._table.key if values[n] is not None]
        same = [
            f"{self._engine.comparable(f't.{quote(name)}', self._columns[name])} is not distinct from "
            f"{self._engine.comparable(self._value(name, value), self._columns[name])}"
            for name, value in values.items()
            if name in self._columns and (name not in self._table.key or value is None)
        ]
        return " and ".join([*keyed, *same])

    def _value(self, name: str, value: str | None) -> str:
        column: Column = self._columns[name]
        return self._engine.typed(self._engine.literal(value), column)
