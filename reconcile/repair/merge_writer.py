"""A repair on an engine that commits each statement: one MERGE per table, and its intent is recorded before it.

Tables in our schema hold what other engines keep in temporary tables and in one transaction: the plan, then the rows of
it that are still as planned. The journal gets these rows and the intent, the MERGE writes them, then the head of the
journal replaces the intent. After an interruption the table decides: a MERGE is one commit, so its rows are either all
as before or all as planned.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice

from reconcile.engines.base import CommitsStatements, Engine
from reconcile.engines.identifiers import quote
from reconcile.engines.own_schema import SCHEMA
from reconcile.errors import EvaluationFailed, Refused
from reconcile.repair import journal
from reconcile.repair.journal import Entry
from reconcile.repair.plan_tables import AFTER, BEFORE, HEAD, PLAN_TEXT, Images, PlanTable, PlanTexts
from reconcile.repair.row_writer import Written, joinable, same_key, same_row

_INTENT = f"{SCHEMA}.repair_intent"
_PLANNED = "action in ('insert', 'update', 'delete')"
_BATCH = 10_000  # rows in memory
_AT_ONCE = 1_000  # positions that one statement names


class StoredPlan(PlanTable):
    """A plan that is a SELECT until it is settled, and then a table in our schema."""

    lasts = False

    @property
    def source(self) -> str:
        return self._settled or f"(\n{self._selected()}\n)"

    def __init__(self, engine: Engine, images: Images) -> None:
        self._parts: list[str] = []
        self._tables: list[str] = []
        self._settled: str | None = None
        super().__init__(engine, images)

    def settle(self) -> None:
        self._settled = self.store(f"select * from {self.source} as planned")

    def store(self, sql: str) -> str:
        """A table in our schema with the result of a SELECT; ``drop`` deletes it."""
        assert isinstance(self._engine, CommitsStatements)
        name = self._engine.store(sql)
        self._tables.append(name)
        return name

    def drop(self) -> None:
        for name in self._tables:
            self._engine.execute(f"drop table if exists {name}")
        self._tables, self._settled = [], None

    def _begin(self) -> None:
        """Nothing to create yet."""

    def _add(self, into: Sequence[str], select: str) -> None:
        cells = [
            f"{self._engine.typed(name if name in into else 'null', column)} as {name}"
            for name, column in zip(self.images.cells, self.images.columns * 2, strict=True)
        ]
        part, shown = len(self._parts), ", ".join([*HEAD, *cells])
        self._parts.append(f"select {part} as part, {shown}\nfrom (\n{select}\n) as part{part} ({', '.join(into)})")

    def _selected(self) -> str:
        position = "cast(row_number() over (order by part, position) as bigint) as position"
        names = ", ".join([position, *HEAD[1:], *self.images.cells])
        return f"select {names}\nfrom (\n" + "\nunion all\n".join(self._parts) + "\n) as parts"

    def _last_position(self) -> str:
        return "0"


class LocalPlanTexts(PlanTexts):
    """The rows of a whole plan in a DuckDB database of the client: only rows that drifted are transferred."""

    def __init__(self, engine: Engine) -> None:
        from reconcile.engines.duckdb import DuckDBEngine  # imported here because its import takes time

        self._there = engine
        self._here = DuckDBEngine(":memory:")
        super().__init__(self._here)

    def take(self, index: int, table: PlanTable) -> None:
        rows = self._there.stream(table.rows_sql())
        while batch := list(islice(rows, _BATCH)):
            self._here.append(PLAN_TEXT, [[index] * len(batch), *map(list, zip(*batch, strict=True))])

    def keep(self, index: int, table: PlanTable) -> int:
        fresh = -1 - index
        self.take(fresh, table)
        # one text can be written in several ways in JSON
        fields = ("{}.action", "{}.copies", "json({}.row_before)", "json({}.row_after)")
        same = " and ".join(f"{one.format('g')} is not distinct from {one.format('f')}" for one in fields)
        others = self._engine.rows(
            f"select f.position from {PLAN_TEXT} as f where f.part = {fresh} and not exists (\n"
            f"  select 1 from {PLAN_TEXT} as g where g.part = {index} and {same}\n)"
        )
        _take_out(self._there, table.source, [position for (position,) in others])
        return table.size()


@dataclass(frozen=True)
class TableCounts:
    """The rows of a table, and how many of them equal a row without a key that is to be deleted, or to be inserted."""

    rows: int
    deletes: int
    inserts: int


class Merge:
    """Writes the rows of a plan into ``entry.relation``. To be used once, while ``engine.repair_lock()`` is held."""

    def __init__(self, engine: Engine, entry: Entry, plan: StoredPlan) -> None:
        self._engine = engine
        self._entry = entry
        self._plan = plan
        self._images = plan.images

    def look(self) -> Written:
        """How many rows would be written, and how many are stale. Writes nothing."""
        live = f"(\n{self._live()}\n)"
        rows = self._engine.one(f"select count(*) from {live} as live where {_PLANNED}")[0]
        return _written(self._counts(f"{live} as live where {_PLANNED}"), self._plan.size() - int(rows))

    def write(self) -> Written:
        """Drop what is stale, record the rest, write it and read the table again.

        Raises EvaluationFailed if the database refuses (with a message if the table is not whole after it), Refused if
        a key occurs twice now; the journal then has no rows of it.
        """
        size = self._plan.size()
        live = self._plan.store(self._live())
        rows, positions = self._engine.one(f"select count(*), count(distinct position) from {live} where {_PLANNED}")
        if rows != positions:
            raise Refused(f"{self._entry.relation}: {rows - positions} keys occur more than once now: plan again")
        if not rows:
            return Written(0, 0, 0, size)
        self._look_for_nulls(live)
        before = self._table_counts(live)
        self._intend(live, before)
        try:
            self._engine.execute(self._merge(live))
        except EvaluationFailed as error:
            counts = self._counts(f"{live} where {_PLANNED}")
            now = self._table_counts(live)
            if now.rows in (before.rows, before.rows + counts.get("insert", 0) - counts.get("delete", 0)):
                self.finish(live, before)  # it was refused as a whole, or its answer was lost
                raise
            self._forget()
            raise EvaluationFailed(
                f"{error}; and the server did not leave the table whole ({before.rows} rows before, {now.rows} now): "
                "build it anew with `dbt build --full-refresh`"
            ) from error
        written, missed = self.finish(live, before)
        return Written(written.inserted, written.updated, written.deleted, size - int(rows) + missed)

    def finish(self, live: str, before: TableCounts) -> tuple[Written, int]:
        """Replace the intent by the head of the journal if the MERGE was committed; delete both if it was not.

        ``live`` names the rows to write, ``before`` the counts before it. Rows that are not as the MERGE wrote them are
        removed from the journal, and counted.
        """
        missed = [position for (position,) in self._engine.rows(self._unlike(live))]
        keyed = int(self._engine.one(f"select count(*) from {live} as p where {_PLANNED} and p.copies = 0")[0])
        entry = f"where {journal.is_of(self._engine, self._entry)}"
        now = self._table_counts(live)
        if len(missed) == keyed and (now.deletes, now.inserts) == (before.deletes, before.inserts):
            self._forget()
            return Written(0, 0, 0, 0), len(missed)
        _take_out(self._engine, f"{SCHEMA}.repair_row", missed, entry)
        written = _written(self._counts(f"{SCHEMA}.repair_row {entry}"), 0)
        journal.write_head(self._engine, self._entry, written)
        self._engine.execute(f"delete from {_INTENT} {entry}")
        return written, len(missed)

    def _forget(self) -> None:
        for table in (f"{SCHEMA}.repair_row", _INTENT):
            self._engine.execute(f"delete from {table} where {journal.is_of(self._engine, self._entry)}")

    def _look_for_nulls(self, live: str) -> None:
        """Refuse a NULL that the table refuses: Sail 0.7.2 fails the MERGE then, and may empty the table by it."""
        required = [name for name in self._images.named if not self._images.column(name).nullable]
        wanted = {name: f"{self._images.cell(AFTER, name)}" for name in required}
        if wanted:
            counts = ", ".join(f"count(*) filter (where {place} is null)" for place in wanted.values())
            found = self._engine.one(f"select {counts} from {live} where action <> 'delete'")
            for name, count in zip(wanted, found, strict=True):
                if count:
                    raise EvaluationFailed(
                        f"{count} rows would have no value in {name}, which {self._entry.relation} does not allow"
                    )

    def _counts(self, rows: str) -> dict[str, int]:
        counted = self._engine.rows(f"select action, sum(greatest(copies, 1)) from {rows} group by action")
        return {str(action): int(count) for action, count in counted}

    def _intend(self, live: str, before: TableCounts) -> None:
        body = json.dumps({"entry": asdict(self._entry), "standing": asdict(before)})
        self._engine.execute(
            f"insert into {_INTENT} values ($1, $2, $3)", [self._entry.run_id, self._entry.unique_id, body]
        )
        rows = self._plan.journal_sql(f"(select * from {live} where {_PLANNED})")
        journal.write_rows(self._engine, self._entry, rows)

    def _live(self) -> str:
        """The rows of the plan that are still as planned, as a SELECT in the form of the plan, with two more actions.

        copy: one row to insert per copy. again: a row to keep that equals rows to delete: a MERGE cannot delete one of
        several equal rows, so it deletes all of them and inserts the others again.
        """
        kinds = self._kinds(self._plan.source)
        plan, table = f"{self._plan.source} as p", f"{self._entry.relation} as t"
        head = ", ".join(f"p.{name}" for name in HEAD)
        planned = f"select {head}, {self._cells('p')}"
        parts = []
        if {("update", False), ("delete", False)} & kinds:
            same = f"{self._same_key(BEFORE)} and {self._same_row(BEFORE)}"
            whole = f"select {head}, {self._cells('p', rest='t')}"
            parts.append(f"{whole}\nfrom {plan} join {table} on {same}\nwhere p.copies = 0 and p.action <> 'insert'")
        if ("insert", False) in kinds:
            absent = f"t.{quote(self._images.key[0])} is null"
            parts.append(
                f"{planned}\nfrom {plan} left join {table} on {self._same_key(AFTER)}\n"
                f"where p.copies = 0 and p.action = 'insert' and {absent}"
            )
        if ("delete", True) in kinds and self._images.uncompared:
            raise Refused(
                f"{self._entry.relation}: copies of a row cannot be deleted here, because an undo could not restore "
                f"their column {self._images.uncompared[0]}, which is not compared: run `dbt build --full-refresh`"
            )
        if ("delete", True) in kinds:
            equal = f"{plan} join {table} on {self._same_copy(BEFORE)} where p.action = 'delete' and p.copies > 0"
            found_sql = f"select p.position, count(*) as found from {equal} group by p.position"
            parts.append(
                f"{planned}\nfrom {plan} join (\n{found_sql}\n) as f on f.position = p.position\n"
                "where f.found >= p.copies"
            )
            columns = ", ".join(f"t.{quote(column.name)} as c{i}" for i, column in enumerate(self._images.columns))
            nth = "row_number() over (partition by p.position order by p.position) as nth"
            nulls = [f"{self._engine.typed('null', c)} as b{i}" for i, c in enumerate(self._images.columns)]
            images = ", ".join([*nulls, *(f"n.c{i} as a{i}" for i in range(len(self._images.columns)))])
            parts.append(
                f"select n.position, 'again' as action, n.reason, cast(0 as bigint) as copies, {images}\n"
                f"from (\n  select p.position, p.reason, p.copies, {columns}, {nth} from {equal}\n) as n\n"
                "where n.nth > n.copies"
            )
        if ("insert", True) in kinds:
            those = "where p.action = 'insert' and p.copies > 0"
            parts.append(f"{planned}\nfrom {plan} {those}")
            parts.append(
                f"select p.position, 'copy' as action, p.reason, cast(0 as bigint) as copies, {self._cells('p')}\n"
                f"from {plan} cross join lateral generate_series(1, p.copies) as copy {those}"
            )
        return "\nunion all\n".join(parts) or f"{planned} from {plan} where false"

    def _cells(self, alias: str, rest: str | None = None) -> str:
        """The images of a row of the plan; with ``rest``, columns that are not compared are those of this alias."""
        return ", ".join(
            f"{alias}.{side}{i} as {side}{i}"
            if rest is None or column.name in self._images.exact
            else f"{rest}.{quote(column.name)} as {side}{i}"
            for side in "ba"
            for i, column in enumerate(self._images.columns)
        )

    def _merge(self, live: str) -> str:
        if not any(copies for _, copies in self._kinds(live)):
            same = " and ".join(f"t.{quote(name)} = {self._either(name)}" for name in self._images.key)
        else:
            by_key = self._same_texts([(name, self._either(name)) for name in self._images.key])
            same = by_key if self._images.key else self._same_copy(BEFORE)
        bound = "p.action in ('update', 'delete') or (p.action = 'insert' and p.copies = 0)"
        assignments = [
            f"{quote(name)} = p.{self._images.cell(AFTER, name)}"
            for name in self._images.compared
            if name not in self._images.key and not self._images.column(name).generated
        ]
        update = (
            f"when matched and p.action = 'update' then update set {', '.join(assignments)}\n" if assignments else ""
        )
        whole, named = (
            [column.name for column in self._images.columns if column.name in names and not column.generated]
            for names in ([column.name for column in self._images.columns], self._images.named)
        )
        return (
            f"merge into {self._entry.relation} as t using {live} as p\n"
            f"on ({bound}) and {same} and (p.action = 'insert' or ({self._same_row(BEFORE)}))\n"
            f"when matched and p.action = 'delete' then delete\n{update}"
            f"when not matched and p.action = 'again' then insert {self._values(whole)}\n"
            "when not matched and (p.action = 'copy' or (p.action = 'insert' and p.copies = 0))\n"
            f"  then insert {self._values(named)}"
        )

    def _values(self, names: Sequence[str]) -> str:
        values = ", ".join(f"p.{self._images.cell(AFTER, name)}" for name in names)
        return f"({', '.join(map(quote, names))}) values ({values})"

    def _unlike(self, live: str) -> str:
        """The positions of rows with a key that are not as they were to be written."""
        if not self._images.key:
            return f"select p.position from {live} as p where false"
        table = self._entry.relation
        as_before = f"{self._same_key(BEFORE)} and {self._same_row(BEFORE)}"
        as_after = f"{self._same_key(AFTER)} and {self._same_row(AFTER)}"
        absent = f"t.{quote(self._images.key[0])} is null"
        return (
            f"select p.position from {live} as p left join {table} as t on {as_after}\n"
            f"where p.copies = 0 and p.action in ('insert', 'update') and {absent}\nunion all\n"
            f"select p.position from {live} as p join {table} as t on {as_before}\n"
            "where p.copies = 0 and p.action = 'delete'"
        )

    def _table_counts(self, live: str) -> TableCounts:
        kinds = self._kinds(live)
        counts = [
            (action, True) in kinds
            and self._engine.one(
                f"select count(*) from {live} as p join {self._entry.relation} as t on {self._same_copy(side)}\n"
                f"where p.copies > 0 and p.action = '{action}'"
            )[0]
            for side, action in (("b", "delete"), ("a", "insert"))
        ]
        return TableCounts(int(self._engine.one(f"select count(*) from {self._entry.relation}")[0]), *map(int, counts))

    def _kinds(self, rows: str) -> set[tuple[str, bool]]:
        """Which actions there are, on rows that their key names and on copies."""
        found = self._engine.rows(f"select distinct action, copies > 0 from {rows} as p")
        return {(action, bool(copies)) for action, copies in found}

    def _either(self, name: str) -> str:
        before, after = (self._images.cell(side, name) for side in (BEFORE, AFTER))
        return f"case when p.action = 'insert' then p.{after} else p.{before} end"

    def _same_key(self, side: str) -> str:
        return same_key(self._engine, self._images, side)

    def _same_row(self, side: str) -> str:
        return same_row(self._engine, self._images, side)

    def _same_copy(self, side: str) -> str:
        """The same row, of such as no key names: with an equality to join by, for which NULL is a value as well."""
        texts = self._same_texts([(name, f"p.{self._images.cell(side, name)}") for name in joinable(self._images)])
        return f"{texts} and {self._same_row(side)}"

    def _same_texts(self, pairs: Iterable[tuple[str, str]]) -> str:
        both = [(self._engine.as_text(f"t.{quote(name)}"), self._engine.as_text(planned)) for name, planned in pairs]
        return " and ".join(f"coalesce({here}, '') = coalesce({there}, '')" for here, there in both) or "true"


def ensure_tables(engine: Engine) -> None:
    """Create the table of intents."""
    columns = ", ".join(f"{name} varchar not null" for name in ("run_id", "unique_id", "body"))
    engine.execute(f"create table if not exists {_INTENT} ({columns})")


def recover(engine: Engine) -> None:
    """Bring the journal up to date with what an interrupted run has written. The repair lock must be held."""
    if engine.table_columns(_INTENT) is None:
        return
    for (body,) in engine.rows(f"select body from {_INTENT} order by run_id, unique_id"):
        noted = json.loads(body)
        entry = Entry(**{**noted["entry"], "key": tuple(noted["entry"]["key"]), "shape": None})
        is_it = f"where {journal.is_of(engine, entry)}"
        columns = engine.table_columns(entry.relation) or []
        head = engine.rows(f"select 1 from {SCHEMA}.repair {is_it}")
        noted_rows = engine.one(f"select count(*) from {SCHEMA}.repair_row {is_it}")[0]
        if not head and noted_rows and columns and set(entry.key) <= {column.name for column in columns}:
            plan = StoredPlan(engine, journal.images_of(engine, entry, columns))
            plan.fill_from(journal.rows_of(engine, entry))
            Merge(engine, entry, plan).finish(plan.source, TableCounts(**noted["standing"]))
            continue
        if not head:  # nothing was written; or the table is another one now, and nothing can be restored
            engine.execute(f"delete from {SCHEMA}.repair_row {is_it}")
        engine.execute(f"delete from {_INTENT} {is_it}")


def _written(counts: dict[str, int], stale: int) -> Written:
    return Written(counts.get("insert", 0), counts.get("update", 0), counts.get("delete", 0), stale)


def _take_out(engine: Engine, table: str, positions: Sequence[int], where: str = "where true") -> None:
    for first in range(0, len(positions), _AT_ONCE):
        listed = ", ".join(str(position) for position in positions[first : first + _AT_ONCE])
        engine.execute(f"delete from {table} {where} and position in ({listed})")
