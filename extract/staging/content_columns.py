"""The posting bot's own table, content_metadata, out of its database or a file. What does not fit is kept apart."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from dlt.common.exceptions import DltException
from dlt.common.normalizers.naming.snake_case import NamingConvention

from extract.errors import ExtractError, innermost_line
from extract.reading.storable import is_bigint, json_problem, text_problem
from extract.staging.tables import CONTENT_TYPES, refused_row

ContentRow = tuple[int, str, dict[str, Any] | None]  # line, the row as it came, the row (None: no object)
Content = Callable[[], Iterator[ContentRow]]
_NAMING = NamingConvention()
_ROUNDED = re.compile(r"\d+(?:\.\d+)?[eE]\+?\d+|\d+\.\d+")


def read_content(path: Path) -> Iterator[ContentRow]:
    """``(line, raw text, row)`` of a .csv or .jsonl file; the row is None where the line is no object.

    A byte that is no UTF-8 becomes a lone surrogate, with which a row is refused, and no other. A byte order mark is no
    part of the first line.

    Raises ExtractError where the file is missing, unreadable or of another kind.
    """
    try:
        if path.suffix == ".csv":
            with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
                for line, row in enumerate(csv.DictReader(file), start=2):
                    yield line, json.dumps(row), {k: v for k, v in row.items() if v != ""}
        elif path.suffix in (".jsonl", ".ndjson"):
            with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
                for line, text in enumerate(file, start=1):
                    if text.strip():
                        yield line, text.rstrip("\n"), _object(text)
        else:
            raise ExtractError(f"{path} is neither .csv nor .jsonl: convert it, or rename it to what it is")
    except (OSError, csv.Error) as error:
        raise ExtractError(f"cannot read {path}: {error}") from error


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def read_table(credentials: str | None, table: str) -> Content:
    """The rows of a table of the posting bot's own database, all of them: what changed is found by comparing.

    Raises ExtractError where no credentials are set, or, when the rows are asked for, where it cannot be read.
    """
    if credentials is None:
        raise ExtractError(
            f"no database to read {table} from: set content_credentials under [sources.engagement] in "
            ".dlt/secrets.toml, or SOURCES__ENGAGEMENT__CONTENT_CREDENTIALS"
        )

    def rows() -> Iterator[ContentRow]:
        from dlt.sources.sql_database import sql_table
        from sqlalchemy import create_engine
        from sqlalchemy.exc import SQLAlchemyError

        schema, _, name = table.rpartition(".")
        try:
            found = sql_table(create_engine(credentials), table=name, schema=schema or None)
            for line, row in enumerate(found, start=1):
                yield line, json.dumps(row, default=str), dict(row)
        except (SQLAlchemyError, DltException, ImportError, ValueError) as error:
            raise ExtractError(f"cannot read the posting bot's table {table}: {innermost_line(error)}") from None

    return rows


class ContentScreen:
    """Sorts content rows by whether every value is of its column's type.

    ``known``: the types of the columns that staging has by now. A column it does not have is taken as it comes
    (``evolve``: its first value's type is its type), left out (``discard``), or refused with its row
    (``quarantine``); ``learned`` are the types of the former.
    """

    def __init__(self, known: Mapping[str, str], new_columns: str = "evolve") -> None:
        self._types = {**known, **CONTENT_TYPES}
        self._new_columns = new_columns
        self.learned: dict[str, str] = {}

    def rows(self, rows: Iterable[ContentRow], now: datetime) -> Iterator[tuple[str, dict[str, Any]]]:
        """``("content_metadata", row)``, or ``("quarantined_content", refusal)`` with its reason."""
        for line, raw, row in rows:
            try:
                yield "content_metadata", self._fitting(row)
            except ValueError as error:
                yield "quarantined_content", refused_row(line, str(error), raw, now)

    def _fitting(self, row: dict[str, Any] | None) -> dict[str, Any]:
        if row is None:
            raise ValueError("the line is no JSON object")
        if not row.get("decision_id"):
            raise ValueError("no decision_id")
        fitting: dict[str, Any] = dict.fromkeys(CONTENT_TYPES)
        learned: dict[str, str] = {}
        taken: dict[str, Any] = {}
        for name, value in row.items():
            column = _NAMING.normalize_identifier(name) if name else ""
            if value is not None and (first := taken.setdefault(column, value)) is not value and first != value:
                raise ValueError(f"{name!r:.60} is a second column {column}, with another value")
            if value is None and column in taken:
                continue
            kind = self._types.get(column) or self.learned.get(column)
            if kind is None and self._new_columns == "quarantine":
                raise ValueError(f"{name!r:.60} is a column that staging does not have (new_columns = quarantine)")
            if kind is None and (self._new_columns == "discard" or value is None or not column):
                continue
            if kind is None:
                kind = learned[column] = _kind_of(value)
            if column.endswith("id") and _ROUNDED.fullmatch(str(value)):
                raise ValueError(f"{name} is {value!r:.60}, a rounded number: write ids as text")
            fitting[column] = _typed(value, kind, name)
        self.learned |= learned
        return fitting


def _kind_of(value: Any) -> str:
    kinds = ((bool, "bool"), (int, "bigint"), (float, "double"), (datetime, "timestamp"), ((list, dict), "json"))
    return next((kind for types, kind in kinds if isinstance(value, types)), "text")


def _typed(value: Any, kind: str | None, name: str) -> Any:
    if value is None:
        return None
    try:
        match kind:
            case "text":
                text = value if isinstance(value, str) else str(value)
                return _held(text, text_problem(text))
            case "bool":
                if not isinstance(value, bool) and str(value).lower() not in ("true", "false"):
                    raise ValueError("no truth value")
                return value if isinstance(value, bool) else str(value).lower() == "true"
            case "bigint":
                whole = int(value)
                if whole != (value if isinstance(value, int | float) else Decimal(str(value))):
                    raise ValueError("a fraction")
                return _held(whole, None if is_bigint(whole) else "is beyond 64 bits")
            case "double":
                number = float(value)
                return _held(number, None if math.isfinite(number) else "is not finite")
            case "timestamp":
                instant = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
                return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
            case "json":
                loaded = json.loads(value) if isinstance(value, str) else value
                return _held(loaded, json_problem(loaded))
            case _:
                return value
    except _Unstorable as problem:
        raise ValueError(f"{name} is {value!r:.60}, which {problem}: no database holds that") from problem
    except (TypeError, ValueError, ArithmeticError, RecursionError) as error:
        raise ValueError(f"{name} is {value!r:.60}, which is no {kind}") from error


class _Unstorable(Exception):
    """A value of its column's type that no database holds."""


def _held(value: Any, problem: str | None) -> Any:
    if problem is not None:
        raise _Unstorable(problem)
    return value
