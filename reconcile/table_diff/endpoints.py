"""The two sides of a diff: what LEFT and RIGHT may name.

postgresql://user@host/db#schema.table     a table or view of a Postgres database
service=NAME#schema.table                  the same, as libpq's key=value parameters
duckdb:path/to/file.duckdb#schema.table    a table or view of a DuckDB file
TARGET:schema.table                        a table or view of a target of the dbt profile
file.csv  file.parquet  file.jsonl         a file; csv and json also as .gz; * ? [] match several files; - is stdin
"""

from __future__ import annotations

import glob
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from reconcile.engines.base import Engine
from reconcile.engines.factory import Connection, engine_of, open_engine
from reconcile.errors import NotComparable
from reconcile.masking import PARAMETERS, POSTGRES, masked, misread, shown_address

TEXT_FORMATS = {".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "json", ".ndjson": "json"}
_TARGET = re.compile(r"(?P<target>[A-Za-z_][\w-]*):(?P<table>[^/]+)")
_FORMS = (
    "postgresql://...#schema.table, duckdb:FILE#schema.table, TARGET:schema.table of the dbt profile, or a .csv, .tsv,"
    " .parquet, .json or .jsonl file"
)


@dataclass(frozen=True)
class Files:
    """The files of a side, in order; ``format`` is parquet, csv or json. ``paths`` is empty for stdin."""

    format: str
    paths: tuple[Path, ...]


@dataclass(frozen=True)
class Side:
    """One side as named by the user. ``kind``: file, or a dbt adapter. ``where`` never shows a secret.

    ``connect`` opens the server that has the table, ``path`` is the DuckDB file that has it; ``files`` are the files.
    """

    kind: str
    where: str
    table: str
    connect: Callable[[], Engine] | None = None
    path: Path | None = None
    files: Files | None = None

    @property
    def name(self) -> str:
        if self.files is None:
            return self.table.split(".")[-1].strip('"')
        return self.files.paths[0].name.split(".")[0] if len(self.files.paths) == 1 else self.where

    @property
    def is_text(self) -> bool:
        """Whether its values have no types: csv and json."""
        return self.files is not None and self.files.format != "parquet"


def parse_side(text: str, target_connection: Callable[[str], Connection]) -> Side:
    """What ``text`` names. ``target_connection`` gives the connection of a target of the dbt profile.

    Raises NotComparable if it names nothing that can be compared, or the file does not exist.
    """
    address, table = _split(text)
    if address.startswith(POSTGRES) or (table and PARAMETERS.match(address)):
        return _postgres_side(address, table)
    if address.startswith("duckdb:") and table is not None:  # without # it is a target named duckdb
        path = Path(address.removeprefix("duckdb:"))
        _need_table(str(path), table)
        return Side("duckdb", str(path), table, path=path)
    files = _files(text)
    if files is not None:
        return Side("file", text, text, files=files)
    match = _TARGET.fullmatch(text)
    if match is None or "://" in text:
        raise NotComparable(f"{masked(text)!r} names no table: give {_FORMS}")
    connection = target_connection(match["target"])
    adapter, credentials = connection.adapter, connection.credentials
    if adapter == "duckdb":
        path = Path(credentials.path)
        return Side(adapter, str(path), match["table"], path=path)
    return Side(adapter, engine_of(adapter).address(credentials), match["table"], lambda: open_engine(connection))


def _split(text: str) -> tuple[str, str | None]:
    """The address and the table: what follows the last ``#`` outside double quotes (a password may hold one)."""
    parts = re.split(r'#(?=(?:[^"]*"[^"]*")*[^"]*$)', text)
    return ("#".join(parts[:-1]), parts[-1]) if len(parts) > 1 else (text, None)


def _postgres_side(address: str, table: str | None) -> Side:
    shown = shown_address(address)
    if shown.endswith("..."):
        why = "a raw @ or / in its password" if misread(address) else "libpq cannot read it"
        raise NotComparable(
            f"the address {shown} is not valid ({why}): percent-encode special characters (%40 for @, %2F for /)"
        )
    return Side("postgres", shown, _need_table(shown, table), lambda: _postgres(address))


def _files(text: str) -> Files | None:
    """The files that a side names; None if it is not the name of a file that can be read."""
    if text == "-":
        return Files("csv", ())
    suffixes = [suffix.lower() for suffix in Path(text).suffixes]
    kind = suffixes[-2] if suffixes[-1:] == [".gz"] and len(suffixes) > 1 else "".join(suffixes[-1:])
    if kind == ".parquet" and suffixes[-1] != ".gz":
        form = "parquet"
    elif kind in TEXT_FORMATS:
        form = TEXT_FORMATS[kind]
    else:
        return None
    path = Path(text)
    if path.is_dir():
        raise NotComparable(f"{text} is a folder: name its files, for example {text.rstrip('/')}/*{kind}")
    if path.exists():
        return Files(form, (path,))  # a file whose name holds * or [ is that file
    found = sorted(map(Path, glob.glob(text, recursive=True)))
    if not found:
        raise NotComparable(f"no file {text}: check the path")
    return Files(form, tuple(found))


def _postgres(address: str) -> Engine:
    from reconcile.engines.postgres import PostgresEngine  # imported here: it takes 0.1 s

    return PostgresEngine(address)


def _need_table(shown: str, table: str | None) -> str:
    if not table:
        raise NotComparable(f"{shown} names a database and no table: add #schema.table")
    return table
