"""A repair's rows as temporary tables of its session: however many there are, the client holds none of them.

``reconcile_given`` is the plan of all tables in the form of the plan file and of the journal: each row before and after
as JSON text of text values, so that no digit is lost. ``reconcile_plan`` is one table's part in that table's own types,
ready to be joined with it: position, action, reason, copies, b0, b1, ... the row before, a0, a1, ... the row after.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from reconcile.compare.multiset import Rows, surplus_sql
from reconcile.compare.sql import Comparison, planned_sql
from reconcile.engines.base import Column, Engine
from reconcile.repair.plan_file import PlannedRow, Values

PLAN, GIVEN = "reconcile_plan", "reconcile_given"
HEAD = ("position", "action", "reason", "copies")
FORM = "position bigint, action varchar, reason varchar, copies bigint"


@dataclass(frozen=True)
class Images:
    """Which of a table's columns a plan tells of, and how a row is found again.

    ``columns`` are the table's own, ``named`` those that the images hold, ``compared`` those that decide whether a row
    still is what it was, ``key`` what a row is found by (empty: by all of it).
    """

    columns: tuple[Column, ...]
    named: tuple[str, ...]
    compared: tuple[str, ...]
    key: tuple[str, ...]

    @property
    def cells(self) -> list[str]:
        """The columns of a plan table that hold the images."""
        return [f"{side}{i}" for side in "ba" for i in range(len(self.columns))]

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    def place(self, name: str) -> int:
        return next(i for i, column in enumerate(self.columns) if column.name == name)

    @property
    def rest(self) -> list[str]:
        """The table's columns that no image holds: its definition does not have them."""
        return [column.name for column in self.columns if column.name not in self.named]


class PlanTable:
    """The rows to write into one table: ``reconcile_plan`` of one session."""

    lasts = True  # what was filled in stands until it is dropped, also where it was not settled

    def __init__(self, engine: Engine, images: Images) -> None:
        self.images = images
        self._engine = engine
        self._given: int | None = None
        self._begin()

    @property
    def source(self) -> str:
        """The rows as a FROM clause names them."""
        return PLAN

    def _begin(self) -> None:
        self._engine.execute(f"drop table if exists {PLAN}")
        typed = [
            f"{side}{i} {column.type}{f' collate {column.collation}' if column.collation else ''}"
            for side in "ba"
            for i, column in enumerate(self.images.columns)
        ]
        self._engine.execute(f"create temporary table {PLAN} ({FORM}, {', '.join(typed)})")

    def _add(self, into: Sequence[str], select: str) -> None:
        self._engine.execute(f"insert into {PLAN} ({', '.join(into)})\n{select}")

    def _last_position(self) -> str:
        return f"(select coalesce(max(position), 0) from {PLAN})"

    def settle(self) -> None:
        """What was filled in stays as it is, whatever else is written. To be called inside ``engine.snapshot()``."""

    def fill(self, comparison: Comparison, unique: bool) -> None:
        """Everything that would make the table what the comparison expects: by key first, in its order, then copies.

        ``unique`` where no key is known to stand twice. To be called inside ``engine.snapshot()``.
        """
        places = {name: self.images.place(name) for name in self.images.named}
        names = [part.name for part in comparison.key] + [column.name for column in comparison.columns]
        into = [*HEAD, *(f"{side}{places[name]}" for side in "ba" for name in names)]
        if comparison.key:
            self._add(into, planned_sql(comparison, unique))
        kinds = {Rows.TWICE: "duplicate", Rows.NULL_KEYS: "null_key"} if comparison.key else {Rows.ALL: "copies"}
        if unique:
            kinds.pop(Rows.TWICE, None)
        for rows, reason in kinds.items():
            surplus = surplus_sql(comparison, self._engine.as_text, rows, None)
            texts = [self._engine.typed(f"texts[{i + 1}]", self.images.column(name)) for i, name in enumerate(names)]
            images = [f"case when wanted {sign} found then {text} end" for sign in ("<", ">") for text in texts]
            self._add(
                into,
                f"select\n  {self._last_position()} + row_number() over (order by texts),\n"
                f"  case when wanted > found then 'insert' else 'delete' end, '{reason}', abs(wanted - found),\n"
                f"  {', '.join(images)}\nfrom (\n{surplus}\n) as surplus (wanted, found, texts)",
            )

    def fill_from(self, images_sql: str) -> None:
        """Rows of a SELECT of position, action, reason, copies, row_before, row_after; the latter as in the journal."""
        cells = [
            self._engine.typed(self._engine.json_field(f"given.row_{side}", name), self.images.column(name))
            for side in ("before", "after")
            for name in self.images.named
        ]
        into = [f"{side}{self.images.place(name)}" for side in "ba" for name in self.images.named]
        self._add(
            [*HEAD, *into],
            f"select {', '.join(f'given.{name}' for name in HEAD)}, {', '.join(cells)}\n"
            f"from (\n{images_sql}\n) as given",
        )

    def rows_sql(self, source: str | None = None) -> str:
        """A SELECT of the rows (or of others in their form) as the journal has them; what swaps a unique value is an
        update there."""
        before, after = (
            f"case when action {other} then {self._json(side)} end"
            for side, other in (("b", "<> 'insert'"), ("a", "<> 'delete'"))
        )
        action = "case when action = 'swap' then 'update' else action end"
        images = f"{before} as row_before, {after} as row_after"
        return f"select position, {action} as action, reason, copies, {images} from {source or self.source} as planned"

    def are_given(self, part: int) -> None:
        """The plan of all tables holds just these rows, by position, as its table ``part``."""
        self._given = part

    def written_sql(self) -> str:
        """``rows_sql``, from texts that are there already where they are."""
        if self._given is None or self.images.rest:
            return self.rows_sql()
        names = ", ".join(f"g.{name}" for name in (*HEAD, "row_before", "row_after"))
        return (
            f"select {names} from {PLAN} as p join {GIVEN} as g on g.position = p.position and g.part = {self._given}"
        )

    def counts(self) -> dict[str, int]:
        """Rows by action, copies counted."""
        return {
            str(action): int(count)
            for action, count in self._engine.rows(
                f"select action, sum(greatest(copies, 1)) from {self.source} as planned group by action"
            )
        }

    def size(self) -> int:
        return int(self._engine.one(f"select count(*) from {self.source} as planned")[0])

    def drop(self) -> None:
        self._engine.execute(f"drop table {PLAN}")

    def texts(self, side: str) -> str:
        """The image before (``b``) or after (``a``) of a row of a table ``p`` in this one's form, as a list."""
        named = (self._engine.as_text(f"p.{side}{self.images.place(name)}") for name in self.images.named)
        return f"array[{', '.join(named)}]"

    def _json(self, side: str) -> str:
        # what the definition does not have is kept of rows that go, so that an undo brings it back
        plain = self._pairs(side, self.images.named)
        if side == "a" or not self.images.rest:
            return self._engine.json_of(plain)
        whole = self._engine.json_of([*plain, *self._pairs(side, self.images.rest)])
        return f"case when action = 'delete' and copies = 0 then {whole} else {self._engine.json_of(plain)} end"

    def _pairs(self, side: str, names: Iterable[str]) -> list[tuple[str, str]]:
        return [(name, self._engine.as_text(f"{side}{self.images.place(name)}")) for name in names]


class Given:
    """``reconcile_given`` of one session: the rows of a whole plan, table by table."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        engine.execute(f"create temporary table {GIVEN} (part bigint, {FORM}, row_before varchar, row_after varchar)")

    def take(self, index: int, table: PlanTable) -> None:
        """Add the rows of a table that is not written yet."""
        self._engine.execute(f"insert into {GIVEN} select {index}, planned.* from ({table.rows_sql()}) as planned")
        table.are_given(index)

    def keep(self, index: int, table: PlanTable) -> int:
        """Leave in a plan table only the rows that the plan of table ``index`` holds, value for value; how many."""
        given = [
            ", ".join(self._engine.json_field(f"g.row_{side}", name) for name in table.images.named)
            for side in ("before", "after")
        ]
        same = " and ".join(f"array[{there}] = {table.texts(side)}" for side, there in zip("ba", given, strict=True))
        self._engine.execute(
            f"delete from {PLAN} as p where not exists (\n  select 1 from {GIVEN} as g where g.part = {index}\n"
            f"    and g.action = p.action and g.copies = p.copies and {same}\n)"
        )
        return table.size()

    def load(self, rows: Iterable[tuple[int, PlannedRow]]) -> None:
        """Add rows, each with the number of its table. Memory stays flat."""
        names = ["part", *HEAD, "row_before", "row_after"]
        self._engine.load(
            GIVEN,
            names,
            (
                [index, i, row.action, row.reason, row.copies, _packed(row.before), _packed(row.after)]
                for i, (index, row) in enumerate(rows)
            ),
        )

    def counts(self, index: int) -> dict[str, int]:
        sql = f"select action, sum(greatest(copies, 1)) from {GIVEN} where part = {index} group by action"
        return {str(action): int(count) for action, count in self._engine.rows(sql)}

    def size(self, index: int) -> int:
        return int(self._engine.one(f"select count(*) from {GIVEN} where part = {index}")[0])

    def rows(self, index: int, limit: int | None = None, action: str | None = None) -> Iterator[PlannedRow]:
        """The rows of one table, in key order; with ``action`` only those that it writes."""
        which = f"part = {index}" + (f" and action = '{action}'" if action else "")
        sql = f"select action, reason, copies, row_before, row_after from {GIVEN} where {which} order by position"
        for does, reason, copies, before, after in self._engine.stream(sql + (f" limit {limit}" if limit else "")):
            yield PlannedRow(does, reason, _unpacked(before), _unpacked(after), copies)


def _packed(values: Values | None) -> str | None:
    return None if values is None else json.dumps(values, ensure_ascii=False)


def _unpacked(text: str | None) -> Values | None:
    return None if text is None else json.loads(text)
