"""The posting bot's own table, content_metadata, out of a CSV or JSON-lines file. What does not fit is kept apart."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from extract.errors import ExtractError
from extract.staging import CONTENT_TYPES, refused_row


def read_content(path: Path) -> Iterator[tuple[int, str, dict[str, Any] | None]]:
    """``(line, raw text, row)`` of a .csv or .jsonl file; the row is None where the line is no object.

    Raises ExtractError where the file is missing, unreadable or of another kind.
    """
    try:
        if path.suffix == ".csv":
            with path.open(newline="", encoding="utf-8") as file:
                for line, row in enumerate(csv.DictReader(file), start=2):
                    yield line, json.dumps(row), {k: v for k, v in row.items() if v != ""}
        elif path.suffix in (".jsonl", ".ndjson"):
            with path.open(encoding="utf-8") as file:
                for line, text in enumerate(file, start=1):
                    if text.strip():
                        yield line, text.rstrip("\n"), _object(text)
        else:
            raise ExtractError(f"{path} is neither .csv nor .jsonl: convert it, or rename it to what it is")
    except (OSError, UnicodeDecodeError) as error:
        raise ExtractError(f"cannot read {path}: {error}") from error


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def screen_content(
    rows: Iterable[tuple[int, str, dict[str, Any] | None]], now: datetime
) -> Iterator[tuple[str, dict[str, Any]]]:
    """``("content_metadata", row)`` with every value of its declared type, or ``("quarantined_content", refusal)``.

    Unknown columns are passed on as they are: staging grows a column for them.
    """
    for line, raw, row in rows:
        if row is None:
            yield "quarantined_content", refused_row(line, "the line is no JSON object", raw, now)
            continue
        if not row.get("decision_id"):
            yield "quarantined_content", refused_row(line, "no decision_id", raw, now)
            continue
        try:
            typed = {name: _typed(value, CONTENT_TYPES.get(name), name) for name, value in row.items()}
        except ValueError as error:
            yield "quarantined_content", refused_row(line, str(error), raw, now)
            continue
        yield "content_metadata", {**dict.fromkeys(CONTENT_TYPES), **typed}


def _typed(value: Any, kind: str | None, name: str) -> Any:
    if value is None:
        return None
    try:
        match kind:
            case "text":
                return value if isinstance(value, str) else str(value)
            case "bigint":
                whole = int(value)
                if whole != float(value):
                    raise ValueError("a fraction")
                return whole
            case "double":
                return float(value)
            case "timestamp":
                instant = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
                return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
            case "json":
                return json.loads(value) if isinstance(value, str) else value
            case _:
                return value
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} is {value!r:.60}, which is no {kind}") from error
