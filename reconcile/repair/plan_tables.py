"""The rows of a repair as temporary tables of its session, so that the client holds none of them.

``reconcile_plan`` holds the rows of one table in the types of that table, ready to be joined with it: position, action,
reason, copies, then b0, b1, ... the row before and a0, a1, ... the row after. ``reconcile_plan_text`` holds the plan of
all tables in the form of the plan file and of the journal: each row before and after as JSON text of text values.

The definition is evaluated into ``reconcile_plan`` under the settings of dbt's session, without any conversion to text.
Everything that converts between values and texts runs under ``engine.pinned()``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from reconcile.compare.multiset import Rows, planned_copies_sql
from reconcile.compare.sql import Comparison, planned_sql
from reconcile.engines.base import Column, Engine
from reconcile.errors import Refused
from reconcile.repair.plan_file import PlannedRow, Values

PLAN, PLAN_TEXT = "reconcile_plan", "reconcile_plan_text"
BEFORE, AFTER = "b", "a"
HEAD = ("position", "action", "reason", "copies")
FORM = "position bigint, action varchar, reason varchar, copies bigint"
# Types (pg_type.typname, and DuckDB's names) whose text is known to give the value back. For any other type each
# planned value is converted to text and back, and compared, before the plan is accepted.
_PROVEN = frozenset(
    {"int2", "int4", "int8", "numeric", "float4", "float8", "bool", "text", "varchar", "date", "timestamp", "uuid"}
    | {"timestamptz", "bytea", "jsonb", "bpchar", "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"}
    | {"DOUBLE", "FLOAT", "DECIMAL", "VARCHAR", "DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "UUID", "BLOB"}
)


@dataclass(frozen=True)
class Images:
    """Which columns of a table the images of a plan hold, and how a row is found again.

    ``columns`` are all columns of the table, ``named`` those that an image holds, ``compared`` those that decide
    whether a row is unchanged, ``key`` what a row is found by (empty: by all compared columns).
    """

    columns: tuple[Column, ...]
    named: tuple[str, ...]
    compared: tuple[str, ...]
    key: tuple[str, ...]

    @property
    def cells(self) -> list[str]:
        """The columns of a plan table that hold the images."""
        return [f"{side}{i}" for side in (BEFORE, AFTER) for i in range(len(self.columns))]

    def cells_of(self, side: str, names: Iterable[str]) -> list[str]:
        return [self.cell(side, name) for name in names]

    def cell(self, side: str, name: str) -> str:
        """The column of a plan table that holds this column before or after."""
        return f"{side}{next(i for i, column in enumerate(self.columns) if column.name == name)}"

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    @property
    def exact(self) -> list[str]:
        """The columns that identify a row: the key and what is compared."""
        return list(dict.fromkeys([*self.key, *self.compared]))

    @property
    def uncompared(self) -> list[str]:
        """The columns that are ignored, or that only the table has: never planned, but kept for an undo."""
        return [column.name for column in self.columns if column.name not in self.exact]


class PlanTable:
    """The rows to write into one table: ``reconcile_plan`` of one session."""

    lasts = True  # the rows stay until ``drop``, also if ``settle`` was not called

    def __init__(self, engine: Engine, images: Images) -> None:
        self.images = images
        self._engine = engine
        self._part: int | None = None
        self._begin()

    @property
    def source(self) -> str:
        """The rows as a FROM clause names them."""
        return PLAN

    def _begin(self) -> None:
        self._engine.execute(f"drop table if exists {PLAN}")
        typed = [
            f"{side}{i} {column.unbounded}{f' collate {column.collation}' if column.collation else ''}"
            for side in (BEFORE, AFTER)
            for i, column in enumerate(self.images.columns)
        ]
        self._engine.execute(f"create temporary table {PLAN} ({FORM}, {', '.join(typed)})")

    def _add(self, into: Sequence[str], select: str) -> None:
        self._engine.execute(f"insert into {PLAN} ({', '.join(into)})\n{select}")

    def _last_position(self) -> str:
        return f"(select coalesce(max(position), 0) from {PLAN})"

    def settle(self) -> None:
        """Keep the rows as they are, whatever else is written. To be called inside ``engine.snapshot()``."""

    def fill(self, comparison: Comparison, unique: bool) -> None:
        """Add every row that makes the table what the comparison expects: first by key in key order, then copies.

        ``unique``: no key is known to occur twice. To be called inside ``engine.snapshot()``, with the settings under
        which the definition is evaluated.
        """
        names = [part.name for part in comparison.key] + [column.name for column in comparison.columns]
        into = [*HEAD, *self.images.cells_of(BEFORE, names), *self.images.cells_of(AFTER, names)]
        if comparison.key:
            self._add(into, planned_sql(comparison, unique))
        kinds = {Rows.TWICE: "duplicate", Rows.NULL_KEYS: "null_key"} if comparison.key else {Rows.ALL: "copies"}
        if unique:
            kinds.pop(Rows.TWICE, None)
        for rows, reason in kinds.items():
            self._add(into, planned_copies_sql(comparison, self._engine.as_text, rows, reason, self._last_position()))

    def check_texts(self) -> None:
        """Refuse a type whose values their texts do not give back: a plan and the journal hold texts."""
        for column in self.images.columns:
            if column.name not in self.images.named or column.base in _PROVEN:
                continue
            lost = []
            for side in (BEFORE, AFTER):
                cell = self.images.cell(side, column.name)
                text = self._engine.as_text(cell)
                back = self._engine.typed(text, column)
                same = f"{self._engine.comparable(back, column)} is not distinct from "
                same += self._engine.comparable(cell, column)
                lost.append(f"count(*) filter (where not ({same}) or {self._engine.as_text(back)} <> {text})")
            if any(self._engine.one(f"select {', '.join(lost)} from {self.source} as planned")):
                raise Refused(
                    f"its column {column.name} is of type {column.type}, and the text of a value of it does not give "
                    "the value back, so the journal could not restore it: run `dbt build --full-refresh`"
                )

    def fill_from(self, images_sql: str) -> None:
        """Add the rows of a SELECT of position, action, reason, copies, row_before, row_after (as in the journal)."""
        cells = [
            self._engine.typed(self._engine.json_field(f"given.row_{side}", name), self.images.column(name))
            for side in ("before", "after")
            for name in self.images.named
        ]
        into = [cell for side in (BEFORE, AFTER) for cell in self.images.cells_of(side, self.images.named)]
        self._add(
            [*HEAD, *into],
            f"select {', '.join(f'given.{name}' for name in HEAD)}, {', '.join(cells)}\n"
            f"from (\n{images_sql}\n) as given",
        )

    def rows_sql(self, source: str | None = None) -> str:
        """A SELECT of the rows (or of others in their form) as a plan has them."""
        copy = f"case when copies > 0 then {self._json(BEFORE, self.images.exact)} else "
        copy += f"{self._json(BEFORE, self.images.named)} end"
        before = copy if set(self.images.exact) < set(self.images.named) else self._json(BEFORE, self.images.named)
        return self._rows_sql(source or self.source, f"case when action = 'delete' then {before} else ")

    def journal_sql(self, source: str | None = None) -> str:
        """A SELECT of rows that were written, as the journal has them: of a deleted row every column of the table."""
        whole = self._json(BEFORE, [column.name for column in self.images.columns])
        rows = self._rows_sql(source or self.source, f"case when action = 'delete' then {whole} else ")
        if self._part is None or source is not None:
            return rows
        # an inserted or updated row has its texts already
        names = ", ".join(f"g.{name}" for name in (*HEAD, "row_before", "row_after"))
        return (
            f"select * from ({rows}) as planned where action = 'delete'\nunion all\n"
            f"select {names} from {PLAN} as p join {PLAN_TEXT} as g\n"
            f"on g.position = p.position and g.part = {self._part} and p.action <> 'delete'"
        )

    def _rows_sql(self, source: str, deleted: str) -> str:
        before = f"case when action <> 'insert' then {deleted}{self._json(BEFORE, self.images.named)} end end"
        after = f"case when action <> 'delete' then {self._json(AFTER, self.images.named)} end"
        # a row that is deleted and inserted again to swap a unique value is an update
        action = "case when action = 'swap' then 'update' else action end"
        images = f"{before} as row_before, {after} as row_after"
        return f"select position, {action} as action, reason, copies, {images} from {source} as planned"

    def stored_as(self, part: int) -> None:
        """Note that the plan of all tables holds these rows, by position, as its table ``part``."""
        self._part = part

    def counts(self) -> dict[str, int]:
        """Rows by action, with their copies."""
        return {
            str(action): int(count)
            for action, count in self._engine.rows(
                f"select action, sum(greatest(copies, 1)) from {self.source} as planned group by action"
            )
        }

    def size(self) -> int:
        return int(self._engine.one(f"select count(*) from {self.source} as planned")[0])

    def unneeded(self) -> int:
        """Copies that the plan deletes and inserts again although they are equal in every compared column."""
        deleted, inserted = (
            f"(select {self.texts(side, self.images.exact)} as image, sum(copies) as copies\n"
            f"from {self.source} as p where copies > 0 and action = '{action}' group by 1)"
            for side, action in ((BEFORE, "delete"), (AFTER, "insert"))
        )
        least = "select coalesce(sum(least(d.copies, i.copies)), 0)"
        return int(self._engine.one(f"{least} from {deleted} as d join {inserted} as i on i.image = d.image")[0])

    def drop(self) -> None:
        self._engine.execute(f"drop table {PLAN}")

    def texts(self, side: str, names: Sequence[str]) -> str:
        """Columns of a row before or after of a table ``p`` in this one's form, as a list of texts."""
        return f"array[{', '.join(self._engine.as_text(f'p.{cell}') for cell in self.images.cells_of(side, names))}]"

    def _json(self, side: str, names: Iterable[str]) -> str:
        return self._engine.json_of([(name, self._engine.as_text(self.images.cell(side, name))) for name in names])


class PlanTexts:
    """``reconcile_plan_text`` of one session: the rows of a whole plan, table by table."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        engine.execute(
            f"create temporary table {PLAN_TEXT} (part bigint, {FORM}, row_before varchar, row_after varchar)"
        )

    def take(self, index: int, table: PlanTable) -> None:
        """Add the rows of a table, under pinned settings and before any of them is written."""
        self._engine.execute(f"insert into {PLAN_TEXT} select {index}, planned.* from ({table.rows_sql()}) as planned")
        table.stored_as(index)

    def keep(self, index: int, table: PlanTable) -> int:
        """Drop from a plan table what the plan of table ``index`` does not hold; return how many rows are left.

        A row with a key is the planned one if its key and its compared columns are equal; what it inserts into the
        other columns comes from the plan, because an ignored column may differ at every evaluation.
        """
        images = table.images
        keyed, copies = (
            " and ".join(
                f"array[{', '.join(self._engine.json_field(f'g.row_{there}', name) for name in names)}] = "
                f"{table.texts(side, names)}"
                for side, there in ((BEFORE, "before"), (AFTER, "after"))
            )
            for names in (images.exact, images.named)
        )
        planned = f"g.part = {index} and g.action = p.action and g.copies = p.copies"
        # without statistics, or with both kinds in one CASE, Postgres joined 2,000 rows in a nested loop (12 minutes)
        self._engine.execute(f"analyze {PLAN} (copies)")
        self._engine.execute(f"analyze {PLAN_TEXT} (part, action, copies)")
        for kind, equal in (("p.copies = 0", keyed), ("p.copies <> 0", copies)):
            self._engine.execute(
                f"delete from {PLAN} as p where {kind} and not exists (\n"
                f"  select 1 from {PLAN_TEXT} as g where {planned}\n    and {equal}\n)"
            )
        others = [name for name in images.named if name not in images.exact]
        if others:
            values = [
                self._engine.typed(self._engine.json_field("g.row_after", name), images.column(name)) for name in others
            ]
            cells = zip(images.cells_of(AFTER, others), values, strict=True)
            self._engine.execute(
                f"update {PLAN} as p set {', '.join(f'{cell} = {value}' for cell, value in cells)}\n"
                f"from {PLAN_TEXT} as g where {planned} and p.copies = 0 and p.action = 'insert' and {keyed}"
            )
        return table.size()

    def load(self, rows: Iterable[tuple[int, PlannedRow]]) -> None:
        """Add rows, each with the number of its table. Memory stays flat."""
        names = ["part", *HEAD, "row_before", "row_after"]
        self._engine.load(
            PLAN_TEXT,
            names,
            (
                [index, i, row.action, row.reason, row.copies, _packed(row.before), _packed(row.after)]
                for i, (index, row) in enumerate(rows)
            ),
        )

    def forget(self, index: int) -> None:
        """Drop the rows of one table."""
        self._engine.execute(f"delete from {PLAN_TEXT} where part = {index}")

    def counts(self, index: int) -> dict[str, int]:
        sql = f"select action, sum(greatest(copies, 1)) from {PLAN_TEXT} where part = {index} group by action"
        return {str(action): int(count) for action, count in self._engine.rows(sql)}

    def size(self, index: int) -> int:
        return int(self._engine.one(f"select count(*) from {PLAN_TEXT} where part = {index}")[0])

    def rows(self, index: int, limit: int | None = None, action: str | None = None) -> Iterator[PlannedRow]:
        """The rows of one table, in key order; with ``action`` only those of that action."""
        which = f"part = {index}" + (f" and action = '{action}'" if action else "")
        sql = f"select action, reason, copies, row_before, row_after from {PLAN_TEXT} where {which} order by position"
        for does, reason, copies, before, after in self._engine.stream(sql + (f" limit {limit}" if limit else "")):
            yield PlannedRow(does, reason, _unpacked(before), _unpacked(after), copies)


def _packed(values: Values | None) -> str | None:
    return None if values is None else json.dumps(values, ensure_ascii=False)


def _unpacked(text: str | None) -> Values | None:
    return None if text is None else json.loads(text)
