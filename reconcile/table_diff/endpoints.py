"""The two sides of a diff: what LEFT and RIGHT may name.

postgresql://user@host/db#schema.table     a table or view of a Postgres database
duckdb:path/to/file.duckdb#schema.table    one of a DuckDB file
TARGET:schema.table                        one of a target of the dbt profile
file.csv  file.parquet  file.jsonl         a file
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from reconcile.engines.base import Engine
from reconcile.engines.factory import Connection, engine_of, open_engine
from reconcile.errors import NotComparable

READERS = {
    ".csv": "read_csv",
    ".parquet": "read_parquet",
    ".json": "read_json",
    ".jsonl": "read_json",
    ".ndjson": "read_json",
}
_TARGET = re.compile(r"(?P<target>[A-Za-z_][\w-]*):(?P<table>[^/]+)")


@dataclass(frozen=True)
class Side:
    """One side as named by the user. ``kind``: file, or a dbt adapter. ``where`` never shows a password; ``connect`` is
    there where a server has the table."""

    kind: str
    where: str
    table: str
    connect: Callable[[], Engine] | None = None
    path: Path | None = None

    @property
    def name(self) -> str:
        return self.table.split(".")[-1].strip('"') if self.path is None or self.kind == "duckdb" else self.path.stem


def parse_side(text: str, target_connection: Callable[[str], Connection]) -> Side:
    """What ``text`` names. ``target_connection`` gives the connection of a target of the dbt profile.

    Raises NotComparable where it is nothing of the kind, or the file does not exist.
    """
    address, has_table, table = text.partition("#")
    if address.startswith(("postgresql://", "postgres://")):
        _need_table(text, has_table and table)
        return Side("postgres", _without_password(address), table, lambda: _postgres(address))
    if address.startswith("duckdb:") and has_table:  # without # it is a target that is called duckdb
        _need_table(text, table)
        path = Path(address.removeprefix("duckdb:"))
        return Side("duckdb", str(path), table, path=path)
    if Path(text).suffix.lower() in READERS:
        if not Path(text).is_file():
            raise NotComparable(f"no file {text}: mend its path")
        return Side("file", text, text, path=Path(text))
    match = _TARGET.fullmatch(text)
    if match is None:
        kinds = "a URL with #schema.table, TARGET:schema.table, or a .csv, .parquet or .jsonl file"
        raise NotComparable(f"{_without_password(text)!r} names no table: give {kinds}")
    connection = target_connection(match["target"])
    adapter, credentials = connection.adapter, connection.credentials
    if adapter == "duckdb":
        path = Path(credentials.path)
        return Side(adapter, str(path), match["table"], path=path)
    return Side(adapter, engine_of(adapter).address(credentials), match["table"], lambda: open_engine(connection))


def _postgres(address: str) -> Engine:
    from reconcile.engines.postgres import PostgresEngine  # only where it is needed: its import takes time

    return PostgresEngine(address)


def _need_table(text: str, table: object) -> None:
    if not table:
        raise NotComparable(f"{_without_password(text)} names a database and no table: add #schema.table")


def _without_password(address: str) -> str:
    return re.sub(r"(://[^:/@]+):[^@]*@", r"\1:***@", address)
