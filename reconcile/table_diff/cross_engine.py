"""How the two sides of a diff come to stand in one engine.

Two tables of one database are compared there. Otherwise both come into DuckDB: files and DuckDB tables are read in
place; of a Postgres table, only the rows travel whose bucket's checksum is not the other side's, through COPY into a
file that DuckDB reads with the table's own types. Both are read in one snapshot of that database.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from reconcile.compare.align import same_type
from reconcile.engines.base import Column, CopiesOut, Engine
from reconcile.engines.identifiers import quote
from reconcile.errors import EvaluationFailed, NotComparable
from reconcile.table_diff.checksums import Bucketed, Sum, how_many, unequal
from reconcile.table_diff.endpoints import READERS, Side

# Postgres types as DuckDB has them, value for value; whatever is not here travels as its text
_IN_DUCKDB = {
    "int2": "SMALLINT",
    "int4": "INTEGER",
    "int8": "BIGINT",
    "float4": "FLOAT",
    "float8": "DOUBLE",
    "bool": "BOOLEAN",
    "text": "VARCHAR",
    "varchar": "VARCHAR",
    "bpchar": "VARCHAR",
    "date": "DATE",
    "timestamp": "TIMESTAMP",
    "timestamptz": "TIMESTAMP WITH TIME ZONE",
    "time": "TIME",
    "uuid": "UUID",
    "json": "JSON",
    "jsonb": "JSON",
}
_WIDEST_DECIMAL = 38
# what a database may have set otherwise, so that its values would be printed otherwise: rounded doubles, for one
_PRINTED = {
    "timezone": "UTC",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
}
_SHORTEST_LINE = 65_536  # bytes: DuckDB's buffers are a multiple of the longest line
_WORTH_BUCKETS = 10_000  # rows: fewer travel whole
_PART = 100_000  # rows a side that are compared at once in this process
_TOO_MANY = 0.5  # of the rows in unequal buckets: then all of them travel


@dataclass(frozen=True)
class Look:
    """Both sides as SELECTs in one engine, in parts of bounded size: every key is in the same part on both sides.

    ``equal`` rows a side were told to be the other's by their checksums; ``buckets`` are the ones that were not, of how
    many; None where every row is here.
    """

    parts: list[tuple[str, str]]
    left_columns: list[Column]
    right_columns: list[Column]
    equal: tuple[int, int] = (0, 0)
    buckets: tuple[Sequence[int], int] | None = None
    relation: str | None = None  # RIGHT's table, where it is read in its own database


@dataclass(frozen=True)
class Wanted:
    """What of the sides is compared: ``renamed`` maps RIGHT's names to LEFT's. With ``whole`` every row must travel."""

    key: tuple[str, ...]
    renamed: dict[str, str] = field(default_factory=dict)
    whole: bool = False


class Meeting:
    """Two sides and the engine in which they meet. ``scratch`` is a folder for what has to travel."""

    def __init__(self, left: Side, right: Side, scratch: Path, wanted: Wanted) -> None:
        self._left, self._right, self._scratch, self._wanted = left, right, scratch, wanted
        self._together = left.connect is not None and (left.kind, left.where) == (right.kind, right.where)
        self.engine: Engine
        if self._together and left.connect is not None:
            self.engine = left.connect()
        else:
            from reconcile.engines.duckdb import DuckDBEngine  # only where it is needed: its import takes time

            self.engine = DuckDBEngine(":memory:", settings={"TimeZone": "UTC"})

    @property
    def between_databases(self) -> bool:
        """Whether the sides are read at two moments, so that a change on its way can look like a difference."""
        return not self._together and "file" not in (self._left.kind, self._right.kind)

    @contextmanager
    def look(self, again: Look | None = None) -> Iterator[Look]:
        """Both sides as they are now; of a look that is taken again, only the rows in its buckets.

        Raises NotComparable where a table does not exist or a file cannot be read.
        """
        if self._together:
            columns = [_columns(self.engine, side.table, side) for side in (self._left, self._right)]
            tables = [f"select * from {side.table}" for side in (self._left, self._right)]
            yield Look([(tables[0], tables[1])], columns[0], columns[1], relation=self._right.table)
            return
        with ExitStack() as stack:
            left, right = self._guests(stack)
            yield self._met((left, right), again)

    def _guests(self, stack: ExitStack) -> list[_Guest]:
        """Both sides, described as DuckDB will have them."""
        made: dict[str, _Guest] = {}
        sides = ((self._left, "left"), (self._right, "right"))
        # a csv has no types of its own, a lake's times have either clock: the other side, whose they take, comes first
        for side, name in sorted(sides, key=lambda item: _takes_types(item[0])):
            # the other side's types by the names that this side has for the columns
            renamed = self._wanted.renamed
            names = renamed if name == "right" else {there: here for here, there in renamed.items()}
            others = {column.name: column.type for guest in made.values() for column in guest.columns}
            known = {**others, **{here: others[there] for here, there in names.items() if there in others}}
            if side.connect is not None:
                made[name] = _from_server(side, self._scratch / name, stack, known)
            else:
                source = _in_place(self.engine, side, name, known)
                columns = self.engine.query_columns(f"select * from {source}")
                made[name] = _Guest(self.engine, source, columns, columns)
        return [made["left"], made["right"]]

    def _met(self, guests: tuple[_Guest, _Guest], again: Look | None) -> Look:
        if again is not None:
            buckets, equal, parts = again.buckets, again.equal, len(again.parts)
        else:
            buckets, equal, travelling = self._bucketed(guests)
            parts = max(1, -(-travelling // _PART))
        sides = self._sides(guests, buckets[1] if buckets is not None else how_many(parts * _PART))
        if sides is None:
            parts = 1
        selects = []
        for i, guest in enumerate(guests):
            where = sides[i].within(buckets[0]) if sides is not None and buckets is not None else None
            selects.append(guest.selects(where, sides[i].bucket if sides is not None else "0", parts))
        return Look(list(zip(*selects, strict=True)), guests[0].columns, guests[1].columns, equal, buckets)

    def _bucketed(self, guests: tuple[_Guest, _Guest]) -> tuple[tuple[Sequence[int], int] | None, tuple[int, int], int]:
        """The buckets that are not equal and of how many, the rows a side in the equal ones, and about how many rows a
        side are left to compare."""
        rows = max(guest.estimate() for guest in guests)
        sides = self._sides(guests, how_many(rows))
        if self._wanted.whole or sides is None or rows < _WORTH_BUCKETS:
            return None, (0, 0), rows
        with ThreadPoolExecutor(2) as pool:
            one, other = pool.map(Bucketed.sums, sides)
        different = unequal(one, other)
        here = [sum(sums[bucket][0] for bucket in different if bucket in sums) for sums in (one, other)]
        if max(here) > _TOO_MANY * rows:
            return None, (0, 0), max(_count(one), _count(other))
        return (different, sides[0].buckets), (_count(one) - here[0], _count(other) - here[1]), max(here)

    def _sides(self, guests: tuple[_Guest, _Guest], buckets: int) -> tuple[Bucketed, Bucketed] | None:
        """Both sides for checksums, with every column that will be compared; None where keys cannot be told."""
        if not self._wanted.key or not any(guest.folder for guest in guests):
            return None
        left = {column.name: column for column in guests[0].columns}
        renamed = self._wanted.renamed
        right = {renamed.get(column.name, column.name): column for column in guests[1].columns}
        shared = [name for name in left if name in right and same_type(left[name], right[name], widths_matter=False)]
        if not set(self._wanted.key) <= set(shared):
            return None  # the comparison itself says why
        others = [name for name in shared if name not in self._wanted.key]
        kinds = {(guest.engine.kind, guest.engine.version()) for guest in guests}
        native = len(kinds) == 1 and guests[0].engine.kind == "postgres"
        made = []
        for guest, names in zip(guests, (left, right), strict=True):
            own = {column.name: column for column in guest.own}
            key, columns = ([own[names[name].name] for name in group] for group in (self._wanted.key, others))
            made.append(Bucketed(guest.engine, guest.source, key, columns, buckets, native))
        return made[0], made[1]


@dataclass(frozen=True)
class _Guest:
    """One side on its way into DuckDB: ``own`` columns as its engine has them, ``columns`` as DuckDB will."""

    engine: Engine
    source: str
    own: list[Column]
    columns: list[Column]
    folder: Path | None = None  # where its rows travel to

    def estimate(self) -> int:
        plan = self.engine.plan(f"select * from {self.source}")
        if plan is not None:
            return plan.rows
        return int(self.engine.one(f"select count(*) from {self.source}")[0])

    def selects(self, where: str | None, bucket: str, parts: int) -> list[str]:
        """The SELECTs by which DuckDB reads the side's rows, a part each; rows that have to travel do so now."""
        if self.folder is None:
            of = [f"{bucket} % {parts} = {part}" for part in range(parts)] if parts > 1 else ["true"]
            return [f"select * from {self.source} where {where or 'true'} and {part}" for part in of]
        assert isinstance(self.engine, CopiesOut)
        self.folder.mkdir(exist_ok=True)
        files = [self.folder / f"{part}.csv" for part in range(parts)]
        longest = self.engine.copy_out(self.source, self.own, files, f"{bucket} % {parts}", where)
        types = ", ".join(f"{_literal(column.name)}: {_literal(column.type)}" for column in self.columns)
        options = (
            f"header = false, allow_quoted_nulls = false, columns = {{{types}}}, auto_detect = false, quote = '\"',"
            f" escape = '\"', max_line_size = {max(_SHORTEST_LINE, longest + 1)}"
        )
        return [f"select * from read_csv({_literal(str(file))}, {options})" for file in files]


def _count(sums: dict[int, Sum]) -> int:
    return sum(count for count, _ in sums.values())


def _takes_types(side: Side) -> bool:
    if side.path is not None:
        return side.path.suffix.lower() == ".csv"
    return side.kind != "postgres"


def _columns(engine: Engine, table: str, side: Side) -> list[Column]:
    found = engine.table_columns(table)
    if found is None:
        raise NotComparable(f"there is no table {table} in {side.where}")
    return found


def _from_server(side: Side, folder: Path, stack: ExitStack, known: dict[str, str]) -> _Guest:
    assert side.connect is not None
    engine = side.connect()
    stack.callback(engine.close)
    stack.enter_context(engine.snapshot())
    if side.kind == "postgres":
        for name, value in _PRINTED.items():
            engine.execute(f"set local {name} = {_literal(value)}")
    own = _columns(engine, side.table, side)
    kinds = [
        "TIMESTAMP" if column.either_clock and known.get(column.name) == "TIMESTAMP" else _duckdb_type(column)
        for column in own
    ]
    columns = [Column(c.name, kind, kind.split("(")[0]) for c, kind in zip(own, kinds, strict=True)]
    return _Guest(engine, side.table, own, columns, folder)


def _in_place(engine: Engine, side: Side, name: str, known: dict[str, str]) -> str:
    """What a FROM in DuckDB takes to read a DuckDB table or a file where it is."""
    if side.kind == "duckdb":
        if not Path(side.where).exists():
            raise NotComparable(f"no DuckDB file {side.where}: mend its path")
        engine.execute(f"attach if not exists {_literal(side.where)} as {name}_db (read_only)")
        table = side.table if side.table.count(".") > 1 else f"{name}_db.{side.table}"
        _columns(engine, table, side)
        return table
    assert side.path is not None
    reader = READERS[side.path.suffix.lower()]
    if reader != "read_csv":
        return f"{reader}({_literal(str(side.path))})"
    # RFC 4180, fixed: guessing would read a file with a field that is never closed as one without quoting
    quoting = "delim = ',', quote = '\"', escape = '\"', allow_quoted_nulls = false"
    plain = f"read_csv({_literal(str(side.path))}, {quoting}, header = true)"
    try:
        found = engine.query_columns(f"select * from {plain}")
    except EvaluationFailed as error:
        raise NotComparable(f"{side.path} is no CSV with commas and double quotes (RFC 4180): {error}") from error
    shared = {c.name: known[c.name] for c in found if c.name in known}
    types = ", ".join(f"{_literal(column)}: {_literal(kind)}" for column, kind in shared.items())
    return plain.removesuffix(")") + (f", types = {{{types}}}" if types else "") + ")"


def _duckdb_type(column: Column) -> str:
    if column.base == "numeric":
        match = re.fullmatch(r"numeric\((\d+),(\d+)\)", column.type)
        fits = match is not None and int(match[1]) <= _WIDEST_DECIMAL
        return f"DECIMAL({match[1]},{match[2]})" if fits and match else "VARCHAR"
    if column.base == "DECIMAL":
        return column.type.upper()
    return _IN_DUCKDB.get(column.base, column.base if column.base in _IN_DUCKDB.values() else "VARCHAR")


def rename(select: str, columns: list[Column], names: dict[str, str]) -> str:
    """``select`` with columns under other names. Raises NotComparable for a column that is not there."""
    unknown = [name for name in names if name not in {column.name for column in columns}]
    if unknown:
        raise NotComparable(f"no column {unknown[0]!r} to rename: there are {', '.join(c.name for c in columns)}")
    listed = ", ".join(f"{quote(c.name)} as {quote(names.get(c.name, c.name))}" for c in columns)
    return f"select {listed} from (\n{select}\n) as named"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
