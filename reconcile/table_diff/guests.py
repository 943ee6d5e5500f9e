"""One side of a diff on its way into DuckDB: where its rows are, and the SELECTs that read them there."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from reconcile.engines.base import Column, CopiesOut, Engine
from reconcile.engines.identifiers import quote
from reconcile.errors import EvaluationFailed, NotComparable
from reconcile.table_diff.endpoints import Side
from reconcile.table_diff.text_files import FILE, LINE, Dialect, TextCopy, copy_text

# Postgres types as DuckDB has them, value for value; a type that is not here travels as its text
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
# of these types, Postgres prints years before Christ in another way than DuckDB
_WITH_ERA = frozenset({"DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE"})
# a database or role may have other settings, by which its values print otherwise: rounded doubles, for one
_PRINTED = {
    "timezone": "UTC",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
}
SCRATCH = "reconcile_scratch"  # the database of what has to be kept during a diff
_SHORTEST_LINE = 65_536  # bytes: DuckDB's buffers are a multiple of the longest line


@dataclass(frozen=True)
class Guest:
    """One side: ``own`` columns as its engine has them, ``columns`` as DuckDB has them.

    ``source`` is what a FROM takes: in the side's engine, or in DuckDB for files and DuckDB tables. ``folder`` is where
    the rows of a server's table are copied to; ``text`` the copy of a csv or json file.
    """

    side: Side
    engine: Engine
    source: str
    own: list[Column]
    columns: list[Column]
    folder: Path | None = None
    text: TextCopy | None = None

    def estimate(self) -> int:
        """About how many rows it has."""
        plan = self.engine.plan(f"select * from {self.source}")
        if plan is not None:
            return plan.rows
        return int(self.engine.one(f"select count(*) from {self.source}")[0])

    def selects(self, where: str | None, bucket: str, parts: int) -> list[str]:
        """The SELECTs by which DuckDB reads its rows, one per part; the rows of a server's table are copied now."""
        if self.folder is None:
            of = [f"{bucket} % {parts} = {part}" for part in range(parts)] if parts > 1 else ["true"]
            return [f"select * from {self.source} where {where or 'true'} and {part}" for part in of]
        assert isinstance(self.engine, CopiesOut)
        self.folder.mkdir(exist_ok=True)
        files = [self.folder / f"{part}.csv" for part in range(parts)]
        longest = self.engine.copy_out(self.source, self.own, files, f"{bucket} % {parts}", where)
        # read as texts and cast here: DuckDB 2.0 answers cast(c as varchar) of a csv column with the file's own text
        types = {column.name: "VARCHAR" for column in self.columns}
        selected = ", ".join(f"{_from_copy(column)} as {quote(column.name)}" for column in self.columns)
        return [f"select {selected} from {read_csv(file, types, longest)}" for file in files]


def _from_copy(column: Column) -> str:
    name = quote(column.name)
    if column.type == "VARCHAR":
        return name
    return f"cast({f'before_christ({name})' if column.type in _WITH_ERA else name} as {column.type})"


def read_csv(file: Path, types: dict[str, str], longest: int, delimiter: str = ",", more: str = "") -> str:
    """A csv file of ours without a header, as a FROM takes it: nothing of it is guessed."""
    columns = ", ".join(f"{literal(name)}: {literal(kind)}" for name, kind in types.items())
    return (
        f"read_csv({literal(str(file))}, header = false, auto_detect = false, columns = {{{columns}}}, "
        f"delim = {literal(delimiter)}, quote = '\"', escape = '\"', new_line = '\\n', allow_quoted_nulls = false, "
        f"max_line_size = {max(_SHORTEST_LINE, longest + 1)}{more})"
    )


def on_server(side: Side, folder: Path, stack: ExitStack, known: dict[str, str]) -> Guest:
    """A table that a server has, read in one snapshot until ``stack`` ends. ``known`` are the other side's types."""
    assert side.connect is not None
    engine = side.connect()
    stack.callback(engine.close)
    stack.enter_context(engine.snapshot())
    if side.kind == "postgres":
        for name, value in _PRINTED.items():
            engine.execute(f"set local {name} = {literal(value)}")
    own = columns_of(engine, side.table, side)
    kinds = [
        "TIMESTAMP" if column.either_clock and known.get(column.name) == "TIMESTAMP" else _duckdb_type(column)
        for column in own
    ]
    columns = [Column(c.name, kind, kind.split("(")[0]) for c, kind in zip(own, kinds, strict=True)]
    return Guest(side, engine, side.table, own, columns, folder)


def in_duckdb(engine: Engine, side: Side, alias: str) -> Guest:
    """A table of a DuckDB file, read in place."""
    assert side.path is not None
    if side.path.is_dir():
        raise NotComparable(f"{side.path} is a folder, not a DuckDB file")
    if not side.path.exists():
        raise NotComparable(f"no DuckDB file {side.path}: check the path")
    try:
        engine.execute(f"attach if not exists {literal(str(side.path))} as {alias} (read_only)")
    except EvaluationFailed as error:
        why = "another process has it open for writing" if "lock" in str(error) else str(error)
        raise NotComparable(f"cannot open the DuckDB file {side.path}: {why}") from error
    table = side.table if side.table.count(".") > 1 else f"{alias}.{side.table}"
    columns = columns_of(engine, table, side)
    return Guest(side, engine, table, columns, columns)


def parquet(engine: Engine, side: Side, folder: Path, ignored: Callable[[str], bool]) -> Guest:
    """Parquet files, read in place. Raises NotComparable for decimals that DuckDB rounds, unless they are ignored."""
    assert side.files is not None
    paths = ", ".join(literal(str(_without_pattern(path, folder / str(i)))) for i, path in enumerate(side.files.paths))
    source = f"read_parquet([{paths}])"
    try:
        schema = f"select distinct name from parquet_schema([{paths}]) where precision > {_WIDEST_DECIMAL}"
        wide = [name for (name,) in engine.rows(schema) if not ignored(name)]
        columns = engine.query_columns(f"select * from {source}")
    except EvaluationFailed as error:
        raise NotComparable(f"cannot read {side.where}: {error}") from error
    if wide:
        raise NotComparable(
            f"{side.where} column {wide[0]} holds decimals of more than {_WIDEST_DECIMAL} digits, which DuckDB rounds: "
            f"export it as text, or leave it out with --ignore {wide[0]}"
        )
    return Guest(side, engine, source, columns, columns)


def _without_pattern(path: Path, link: Path) -> Path:
    """A path that DuckDB does not read as a pattern: a link where a name holds * ? [ or a backslash."""
    if not re.search(r"[*?\[\\]", str(path)):
        return path
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(path.resolve())
    return link


def text_file(engine: Engine, side: Side, name: str, folder: Path, dialect: Dialect) -> Guest:
    """csv or json files, checked and loaded as texts into a table of the scratch database."""
    assert side.files is not None
    folder.mkdir(exist_ok=True)
    copy = copy_text(side.files, folder / f"{name}.csv", dialect)
    types = dict.fromkeys([FILE, LINE], "BIGINT") | dict.fromkeys(copy.columns, "VARCHAR")
    more = f", nullstr = {literal(copy.null_text)}" if copy.null_text else ""
    more += ", null_padding = true, parallel = false" if copy.ragged else ""
    source = f"{SCRATCH}.{name}_text"
    try:
        engine.execute(
            f"create or replace table {source} as "
            f"select * from {read_csv(copy.path, types, copy.longest, copy.delimiter, more)}"
        )
    except EvaluationFailed as error:
        raise NotComparable(f"cannot read {side.where}: {error}") from error
    copy.path.unlink()
    loaded = int(engine.one(f"select count(*) from {source}")[0])
    if loaded != copy.records:
        raise NotComparable(
            f"{side.where} holds {copy.records:,} records, and DuckDB read {loaded:,}: please report it"
        )
    columns = [Column(column, "VARCHAR", "VARCHAR") for column in copy.columns]
    return Guest(side, engine, source, columns, columns, text=copy)


def columns_of(engine: Engine, table: str, side: Side) -> list[Column]:
    """The columns of a table. Raises NotComparable if it does not exist."""
    found = engine.table_columns(table)
    if found is None:
        raise NotComparable(f"there is no table {side.table} in {side.where}")
    return found


def _duckdb_type(column: Column) -> str:
    if column.base == "numeric":
        match = re.fullmatch(r"numeric\((\d+),(\d+)\)", column.type)
        fits = match is not None and int(match[1]) <= _WIDEST_DECIMAL and int(match[2]) <= int(match[1])
        return f"DECIMAL({match[1]},{match[2]})" if fits and match else "VARCHAR"
    if column.base == "DECIMAL":
        return column.type.upper()
    return _IN_DUCKDB.get(column.base, column.base if column.base in _IN_DUCKDB.values() else "VARCHAR")


def literal(text: str) -> str:
    """A text as DuckDB's SQL has it."""
    return "'" + text.replace("'", "''") + "'"


def names_of(columns: Sequence[Column]) -> str:
    return ", ".join(column.name for column in columns)
