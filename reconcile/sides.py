"""The two sides of a diff: what LEFT and RIGHT may name, and how both come to stand in one engine.

    postgresql://user@host/db#schema.table     a table or view of a Postgres database
    duckdb:path/to/file.duckdb#schema.table    one of a DuckDB file
    TARGET:schema.table                        one of a target of the dbt profile
    file.csv  file.parquet  file.jsonl         a file

Two tables of one database are compared there. Otherwise both sides are brought into DuckDB: files and DuckDB tables are
read in place, a Postgres table is streamed through COPY into a file that DuckDB reads with the table's own types.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconcile.definition import quote
from reconcile.engines.base import Column, Engine
from reconcile.engines.duckdb import DuckDBEngine
from reconcile.engines.postgres import PostgresEngine
from reconcile.errors import EvaluationFailed, NotComparable

_READERS = {
    ".csv": "read_csv",
    ".parquet": "read_parquet",
    ".json": "read_json",
    ".jsonl": "read_json",
    ".ndjson": "read_json",
}
_TARGET = re.compile(r"(?P<target>[A-Za-z_][\w-]*):(?P<table>[^/]+)")

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


@dataclass(frozen=True)
class Side:
    """One side as named by the user. ``kind``: postgres, duckdb or file; ``where`` never shows a password."""

    kind: str
    where: str
    table: str
    connect: Callable[[], Engine] | None = None
    path: Path | None = None

    @property
    def name(self) -> str:
        return self.table.split(".")[-1].strip('"') if self.path is None or self.kind == "duckdb" else self.path.stem


def parse_side(text: str, target_connection: Callable[[str], tuple[str, Any]]) -> Side:
    """What ``text`` names. ``target_connection`` gives (adapter, credentials) of a target of the dbt profile.

    Raises NotComparable where it is nothing of the kind, or the file does not exist.
    """
    address, has_table, table = text.partition("#")
    if address.startswith(("postgresql://", "postgres://")):
        _need_table(text, has_table and table)
        return Side("postgres", _without_password(address), table, lambda: PostgresEngine(address))
    if address.startswith("duckdb:") and has_table:  # without # it is a target that is called duckdb
        _need_table(text, table)
        path = Path(address.removeprefix("duckdb:"))
        return Side("duckdb", str(path), table, lambda: DuckDBEngine(str(path)), path)
    if Path(text).suffix.lower() in _READERS:
        if not Path(text).is_file():
            raise NotComparable(f"no file {text}: mend its path")
        return Side("file", text, text, path=Path(text))
    match = _TARGET.fullmatch(text)
    if match is None:
        kinds = "a URL with #schema.table, TARGET:schema.table, or a .csv, .parquet or .jsonl file"
        raise NotComparable(f"{_without_password(text)!r} names no table: give {kinds}")
    adapter, credentials = target_connection(match["target"])
    if adapter == "postgres":
        where = f"{credentials.host}:{credentials.port}/{credentials.database}"
        return Side("postgres", where, match["table"], lambda: PostgresEngine.from_dbt(credentials))
    if adapter == "duckdb":
        path = Path(credentials.path)
        return Side("duckdb", str(path), match["table"], lambda: DuckDBEngine.from_dbt(credentials), path)
    raise NotComparable(f"the adapter {adapter} of target {match['target']} is not supported: postgres or duckdb")


def _need_table(text: str, table: object) -> None:
    if not table:
        raise NotComparable(f"{_without_password(text)} names a database and no table: add #schema.table")


def _without_password(address: str) -> str:
    return re.sub(r"(://[^:/@]+):[^@]*@", r"\1:***@", address)


@dataclass(frozen=True)
class Stand:
    """Both sides in one engine: a SELECT and its columns each."""

    engine: Engine
    left: str
    left_columns: list[Column]
    right: str
    right_columns: list[Column]


def bring_together(left: Side, right: Side, scratch: Path, renamed: dict[str, str]) -> Stand:
    """Open both sides in one engine. ``scratch`` is a folder for what has to travel; ``renamed`` maps right to left.

    Raises NotComparable where a table does not exist or a file cannot be read.
    """
    same_server = left.kind == right.kind == "postgres" and left.where == right.where
    if same_server and left.connect is not None:
        engine = left.connect()
        columns = [_columns(engine, side.table, side) for side in (left, right)]
        return Stand(engine, f"select * from {left.table}", columns[0], f"select * from {right.table}", columns[1])
    engine = DuckDBEngine(":memory:", settings={"TimeZone": "UTC"})
    made: dict[str, tuple[str, list[Column]]] = {}
    # a csv has no types of its own: it is read with those of the other side, so that one comes first
    for side, name in sorted(((left, "left"), (right, "right")), key=lambda item: _has_no_types(item[0])):
        # the other side's types by the names that this side has for the columns
        names = renamed if name == "right" else {there: here for here, there in renamed.items()}
        others = {column.name: column.type for _, columns in made.values() for column in columns}
        known = {**others, **{here: others[there] for here, there in names.items() if there in others}}
        select = _in_duckdb(engine, side, name, scratch, known)
        made[name] = (select, engine.query_columns(select))
    return Stand(engine, *made["left"], *made["right"])


def _has_no_types(side: Side) -> bool:
    return side.path is not None and side.path.suffix.lower() == ".csv"


def _columns(engine: Engine, table: str, side: Side) -> list[Column]:
    found = engine.table_columns(table)
    if found is None:
        raise NotComparable(f"there is no table {table} in {side.where}")
    return found


def _in_duckdb(engine: DuckDBEngine, side: Side, name: str, scratch: Path, known: dict[str, str]) -> str:
    if side.kind == "postgres":
        return _copied(side, scratch / f"{name}.csv")
    if side.kind == "duckdb":
        if not Path(side.where).exists():
            raise NotComparable(f"no DuckDB file {side.where}: mend its path")
        engine.execute(f"attach {_literal(side.where)} as {name}_db (read_only)")
        table = side.table if side.table.count(".") > 1 else f"{name}_db.{side.table}"
        _columns(engine, table, side)
        return f"select * from {table}"
    assert side.path is not None
    reader = _READERS[side.path.suffix.lower()]
    if reader != "read_csv":
        return f"select * from {reader}({_literal(str(side.path))})"
    # RFC 4180, fixed: guessing would read a file with a field that is never closed as one without quoting
    quoting = "delim = ',', quote = '\"', escape = '\"', allow_quoted_nulls = false"
    plain = f"select * from read_csv({_literal(str(side.path))}, {quoting}, header = true)"
    try:
        found = engine.query_columns(plain)
    except EvaluationFailed as error:
        raise NotComparable(f"{side.path} is no CSV with commas and double quotes (RFC 4180): {error}") from error
    shared = {c.name: known[c.name] for c in found if c.name in known}
    types = ", ".join(f"{_literal(column)}: {_literal(kind)}" for column, kind in shared.items())
    typed = f", types = {{{types}}}" if types else ""
    return plain.removesuffix(")") + f"{typed})"


def _copied(side: Side, file: Path) -> str:
    """Stream a Postgres table into ``file``; returns the SELECT by which DuckDB reads it with the same types."""
    assert side.connect is not None
    engine = side.connect()
    assert isinstance(engine, PostgresEngine)
    try:
        columns = _columns(engine, side.table, side)
        engine.copy_out(side.table, columns, file)
    finally:
        engine.close()
    types = ", ".join(f"{_literal(column.name)}: {_literal(_duckdb_type(column))}" for column in columns)
    options = f"header = false, allow_quoted_nulls = false, columns = {{{types}}}, auto_detect = false, quote = '\"'"
    return f"select * from read_csv({_literal(str(file))}, {options}, escape = '\"', max_line_size = 268435456)"


def _duckdb_type(column: Column) -> str:
    if column.base == "numeric":
        match = re.fullmatch(r"numeric\((\d+),(\d+)\)", column.type)
        fits = match is not None and int(match[1]) <= _WIDEST_DECIMAL
        return f"DECIMAL({match[1]},{match[2]})" if fits and match else "VARCHAR"
    return _IN_DUCKDB.get(column.base, "VARCHAR")


def rename(select: str, columns: list[Column], names: dict[str, str]) -> str:
    """``select`` with columns under other names. Raises NotComparable for a column that is not there."""
    unknown = [name for name in names if name not in {column.name for column in columns}]
    if unknown:
        raise NotComparable(f"no column {unknown[0]!r} to rename: there are {', '.join(c.name for c in columns)}")
    listed = ", ".join(f"{quote(c.name)} as {quote(names.get(c.name, c.name))}" for c in columns)
    return f"select {listed} from (\n{select}\n) as named"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
