"""Rows of other tables that a deletion drags along: ``on delete cascade``, ``set null`` and ``set default``.

They are found before the deletion, level by level, in temporary tables. With ``--cascade`` they are journaled with the
deleted rows, so that an undo restores both. The counters of the database then prove that no other row was changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from reconcile.engines.base import Column, Engine, Reference, RowCounts
from reconcile.engines.identifiers import quote
from reconcile.errors import Refused
from reconcile.repair.guards import DRAGGED, shape_of
from reconcile.repair.journal import Entry, write_head, write_rows
from reconcile.repair.plan_file import Dragged
from reconcile.repair.plan_tables import BEFORE, PLAN, Images
from reconcile.repair.row_writer import Written, same_key


@dataclass(frozen=True)
class DraggedRows:
    """Rows of ``table`` that a deletion changes, kept in the temporary table ``rows``; ``action`` as in Dragged."""

    table: str
    action: str
    rows: str
    count: int


def rows_to_delete(engine: Engine, relation: str, images: Images) -> str:
    """A SELECT of the rows that a plan would delete by their key, before they are locked."""
    return (
        f"select t.* from {relation} as t join {PLAN} as p on {same_key(engine, images, BEFORE)}"
        " where p.action = 'delete' and p.copies = 0"
    )


def deleted_rows(images: Images) -> str:
    """A SELECT of the rows that a locked plan deletes, with all columns of their table."""
    cells = ", ".join(f"{images.cell(BEFORE, column.name)} as {quote(column.name)}" for column in images.columns)
    return f"select {cells} from {PLAN} where action = 'delete'"


class Cascades:
    """What the deletion of rows of ``relation`` changes elsewhere. To be used once, inside a transaction."""

    def __init__(self, engine: Engine, relation: str, images: Images) -> None:
        self._engine = engine
        self._relation = engine.same_table(relation)
        self._images = images
        self._before: dict[str, RowCounts | None] = {}
        self.found: list[DraggedRows] = []

    def find(self, deleted_sql: str | None) -> None:
        """Find the rows that the deletion of these rows changes, and in turn the rows that those deletions change.

        Without a deletion only the foreign keys that act on updates are noted, for ``prove``.
        """
        queue: list[tuple[str, str | None]] = [
            (self._relation, f"({deleted_sql})" if deleted_sql is not None else None)
        ]
        while queue:
            parent, rows = queue.pop(0)
            for reference in self._engine.references(parent):
                self._before.setdefault(reference.child, self._engine.row_counts(reference.child))
                dragged = self._dragged(reference, rows) if reference.action is not None and rows is not None else None
                if dragged is None or not dragged.count:
                    continue
                self.found.append(dragged)
                if dragged.action == "delete":
                    queue.append((dragged.table, dragged.rows))

    @property
    def counts(self) -> tuple[Dragged, ...]:
        totals: dict[tuple[str, str], int] = {}
        for part in self.found:
            totals[part.table, part.action] = totals.get((part.table, part.action), 0) + part.count
        return tuple(Dragged(table, action, rows) for (table, action), rows in totals.items())

    def in_table(self) -> RowCounts:
        """What the deletion changes in the table itself, through a foreign key to itself."""
        return self._planned(self._relation)

    def prove(self) -> None:
        """Refuse if foreign keys changed other rows than those that were found. To be called after the deletion."""
        for child, before in self._before.items():
            after = self._engine.row_counts(child)
            if child == self._relation or before is None or after is None:
                continue
            planned = self._planned(child)
            if (after.made - before.made, after.ended - before.ended) != (planned.made, planned.ended):
                raise Refused(f"rows of {child} that are not in the plan were changed by a foreign key: rolled back")

    def _planned(self, table: str) -> RowCounts:
        deleted, updated = (
            sum(part.count for part in self.found if part.table == table and (part.action == "delete") is deletes)
            for deletes in (True, False)
        )
        return RowCounts(0, updated, deleted)

    def _dragged(self, reference: Reference, rows: str) -> DraggedRows:
        name, child = f"reconcile_cascade_{len(self.found)}", reference.child
        here = ", ".join(f"c.{quote(column)}" for column in reference.columns)
        there = ", ".join(f"d.{quote(column)}" for column in reference.referenced)
        ids = ", ".join(f"c.{row_id} as reconcile_id{i}" for i, row_id in enumerate(self._engine.row_id))
        same = " and ".join(f"k.reconcile_id{i} = c.{row_id}" for i, row_id in enumerate(self._engine.row_id))
        known = [f"{part.rows} as k where {same}" for part in self.found if part.table == child]
        if child == self._relation and self._images.key:
            pairs = ((quote(key), self._images.cell(BEFORE, key)) for key in self._images.key)
            same_key = " and ".join(f"k.{cell} = c.{key}" for key, cell in pairs)
            known.append(f"{PLAN} as k where k.action = 'delete' and {same_key}")
        fresh = "".join(f"\nand not exists (select 1 from {one})" for one in known)
        self._engine.execute(f"drop table if exists {name}")
        self._engine.execute(
            f"create temporary table {name} as select {ids}, c.* from {child} as c\n"
            f"where ({here}) in (select {there} from {rows} as d){fresh}"
        )
        count = int(self._engine.one(f"select count(*) from {name}")[0])
        return DraggedRows(child, str(reference.action), name, count)

    def journal(self, entry: Entry) -> None:
        """Add the rows to the journal, inside the transaction and after the deletion."""
        for number, part in enumerate(self.found):
            columns = self._engine.table_columns(part.table) or []
            key = self._key_of(part.table, columns)
            if not key and part.action != "delete":
                raise Refused(
                    f"{part.count} rows of {part.table} would be {DRAGGED[part.action]}, and it has no primary key by "
                    "which an undo could find them: rolled back"
                )
            child = replace(
                entry,
                unique_id=f"{entry.unique_id}/{part.table}/{number}",
                relation=part.table,
                key=key,
                shape=shape_of(self._engine, part.table),
            )
            write_rows(self._engine, child, self._rows_sql(part, columns, key))
            deleted = part.count if part.action == "delete" else 0
            write_head(self._engine, child, Written(0, part.count - deleted, deleted, 0))

    def _rows_sql(self, part: DraggedRows, columns: Sequence[Column], key: tuple[str, ...]) -> str:
        before, after = (
            self._engine.json_of([(c.name, self._engine.as_text(f"{one}.{quote(c.name)}")) for c in columns])
            for one in ("b", "a")
        )
        head = f"row_number() over () as position, 'cascade' as reason, {0 if key else 1} as copies"
        if part.action == "delete":
            return f"select {head}, 'delete' as action, {before} as row_before, null as row_after from {part.rows} as b"
        same = " and ".join(f"a.{quote(name)} = b.{quote(name)}" for name in key)
        return (
            f"select {head}, 'update' as action, {before} as row_before, {after} as row_after\n"
            f"from {part.rows} as b join {part.table} as a on {same}"
        )

    def _key_of(self, table: str, columns: Sequence[Column]) -> tuple[str, ...]:
        nullable = {column.name for column in columns if column.nullable}
        return next((names for names in self._engine.unique_sets(table) if not nullable & set(names)), ())
