"""A repair's rows as temporary tables of its session: however many there are, the client holds none of them.

``reconcile_given`` is the plan of all tables in the form of the plan file and of the journal: each row before and after
as JSON text of text values, so that no digit is lost. ``reconcile_plan`` is one table's part in that table's own types,
ready to be joined with it: position, action, reason, copies, b0, b1, ... the row before, a0, a1, ... the row after.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from reconcile.engines.base import Column, Engine
from reconcile.multiset import Rows, surplus_sql
from reconcile.plan import PlannedRow, Values
from reconcile.statements import Comparison, planned_sql

PLAN, _GIVEN = "reconcile_plan", "reconcile_given"
_HEAD = ("position", "action", "reason", "copies")
_FORM = "position bigint, action varchar, reason varchar, copies bigint"


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

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)

    def place(self, name: str) -> int:
        return next(i for i, column in enumerate(self.columns) if column.name == name)

    @property
    def rest(self) -> list[str]:
        """The table's columns that no image holds: its definition does not have them."""
        return [column.name for column in self.columns if column.name not in self.named]


class PlanTable:
    """``reconcile_plan`` of one session: the rows to write into one table."""

    def __init__(self, engine: Engine, images: Images) -> None:
        self.images = images
        self._engine = engine
        self._given: int | None = None
        engine.execute(f"drop table if exists {PLAN}")
        typed = [
            f"{side}{i} {column.type}{f' collate {column.collation}' if column.collation else ''}"
            for side in "ba"
            for i, column in enumerate(images.columns)
        ]
        engine.execute(f"create temporary table {PLAN} ({_FORM}, {', '.join(typed)})")

    def fill(self, comparison: Comparison, unique: bool) -> None:
        """Everything that would make the table what the comparison expects: by key first, in its order, then copies.

        ``unique`` where no key is known to stand twice. To be called inside ``engine.snapshot()``.
        """
        places = {name: self.images.place(name) for name in self.images.named}
        names = [part.name for part in comparison.key] + [column.name for column in comparison.columns]
        into = [f"b{places[name]}" for name in names] + [f"a{places[name]}" for name in names]
        insert = f"insert into {PLAN} ({', '.join([*_HEAD, *into])})\n"
        if comparison.key:
            self._engine.execute(insert + planned_sql(comparison, unique))
        kinds = {Rows.TWICE: "duplicate", Rows.NULL_KEYS: "null_key"} if comparison.key else {Rows.ALL: "copies"}
        if unique:
            kinds.pop(Rows.TWICE, None)
        for rows, reason in kinds.items():
            surplus = surplus_sql(comparison, self._engine.as_text, rows, None)
            texts = [f"cast(texts[{i + 1}] as {self.images.column(name).unbounded})" for i, name in enumerate(names)]
            images = [f"case when wanted {sign} found then {text} end" for sign in ("<", ">") for text in texts]
            self._engine.execute(
                f"{insert}select\n"
                f"  (select coalesce(max(position), 0) from {PLAN}) + row_number() over (order by texts),\n"
                f"  case when wanted > found then 'insert' else 'delete' end, '{reason}', abs(wanted - found),\n"
                f"  {', '.join(images)}\nfrom (\n{surplus}\n) as surplus (wanted, found, texts)"
            )

    def fill_from(self, images_sql: str, parameters: Sequence[object] = ()) -> None:
        """Rows of a SELECT of position, action, reason, copies, row_before, row_after; the latter as in the journal."""
        cells = [
            f"cast({self._engine.json_field(f'given.row_{side}', name)} as {self.images.column(name).unbounded})"
            for side in ("before", "after")
            for name in self.images.named
        ]
        into = [f"{side}{self.images.place(name)}" for side in "ba" for name in self.images.named]
        self._engine.execute(
            f"insert into {PLAN} ({', '.join([*_HEAD, *into])})\n"
            f"select {', '.join(f'given.{name}' for name in _HEAD)}, {', '.join(cells)}\n"
            f"from (\n{images_sql}\n) as given",
            parameters,
        )

    def keep_given(self, index: int) -> int:
        """Leave only the rows that the plan of table ``index`` holds too, value for value; how many those are."""
        here = [self._list(f"p.{side}{{}}") for side in "ba"]
        given = [
            ", ".join(self._engine.json_field(f"g.row_{side}", name) for name in self.images.named)
            for side in ("before", "after")
        ]
        same = " and ".join(f"array[{there}] = {one}" for one, there in zip(here, given, strict=True))
        self._engine.execute(
            f"delete from {PLAN} as p where not exists (\n  select 1 from {_GIVEN} as g where g.part = {index}\n"
            f"    and g.action = p.action and g.copies = p.copies and {same}\n)"
        )
        return int(self._engine.one(f"select count(*) from {PLAN}")[0])

    def rows_sql(self) -> str:
        """A SELECT of the rows in the journal's form; a row that swaps a unique value is an update there."""
        before, after = (
            f"case when action {other} then {self._json(side)} end"
            for side, other in (("b", "<> 'insert'"), ("a", "<> 'delete'"))
        )
        action = "case when action = 'swap' then 'update' else action end"
        images = f"{before} as row_before, {after} as row_after"
        return f"select position, {action} as action, reason, copies, {images} from {PLAN}"

    def are_given(self, part: int) -> None:
        """The plan of all tables holds just these rows, by position, as its table ``part``."""
        self._given = part

    def written_sql(self) -> str:
        """``rows_sql``, from texts that are there already where they are."""
        if self._given is None or self.images.rest:
            return self.rows_sql()
        names = ", ".join(f"g.{name}" for name in (*_HEAD, "row_before", "row_after"))
        return (
            f"select {names} from {PLAN} as p join {_GIVEN} as g on g.position = p.position and g.part = {self._given}"
        )

    def counts(self) -> dict[str, int]:
        """Rows by action, copies counted."""
        return {
            str(action): int(count)
            for action, count in self._engine.rows(
                f"select action, sum(greatest(copies, 1)) from {PLAN} group by action"
            )
        }

    def drop(self) -> None:
        self._engine.execute(f"drop table {PLAN}")

    def _list(self, template: str) -> str:
        texts = [self._engine.as_text(template.format(self.images.place(name))) for name in self.images.named]
        return f"array[{', '.join(texts)}]"

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
        engine.execute(f"create temporary table {_GIVEN} (part bigint, {_FORM}, row_before varchar, row_after varchar)")

    def take(self, index: int, table: PlanTable) -> None:
        """Add the rows of a table that is not written yet."""
        self._engine.execute(f"insert into {_GIVEN} select {index}, planned.* from ({table.rows_sql()}) as planned")
        table.are_given(index)

    def load(self, rows: Iterable[tuple[int, PlannedRow]]) -> None:
        """Add rows, each with the number of its table. Memory stays flat."""
        names = ["part", *_HEAD, "row_before", "row_after"]
        self._engine.load(
            _GIVEN,
            names,
            (
                [index, i, row.action, row.reason, row.copies, _packed(row.before), _packed(row.after)]
                for i, (index, row) in enumerate(rows)
            ),
        )

    def counts(self, index: int) -> dict[str, int]:
        sql = f"select action, sum(greatest(copies, 1)) from {_GIVEN} where part = {index} group by action"
        return {str(action): int(count) for action, count in self._engine.rows(sql)}

    def size(self, index: int) -> int:
        return int(self._engine.one(f"select count(*) from {_GIVEN} where part = {index}")[0])

    def rows(self, index: int, limit: int | None = None, action: str | None = None) -> Iterator[PlannedRow]:
        """The rows of one table, in key order; with ``action`` only those that it writes."""
        which = f"part = {index}" + (f" and action = '{action}'" if action else "")
        sql = f"select action, reason, copies, row_before, row_after from {_GIVEN} where {which} order by position"
        for does, reason, copies, before, after in self._engine.stream(sql + (f" limit {limit}" if limit else "")):
            yield PlannedRow(does, reason, _unpacked(before), _unpacked(after), copies)


def _packed(values: Values | None) -> str | None:
    return None if values is None else json.dumps(values, ensure_ascii=False)


def _unpacked(text: str | None) -> Values | None:
    return None if text is None else json.loads(text)
