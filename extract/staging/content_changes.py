"""Which decisions of the posting bot staging does not hold as they are: found by comparing, never by a cursor.

What an ``updated_at`` says is not believed: one ahead of the clock would hide every later decision, and a decision that
comes late has an older one than its neighbours.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from extract.staging.tables import DATASET

Row = dict[str, Any]
Fetch = Callable[[str, Sequence[Any]], Iterable[Sequence[Any]]]  # runs a statement with %s for its parameters
_BATCH = 500  # decisions a query


@dataclass
class Changes:
    """``rows``: what is to be loaded, by decision_id. The others: decisions that staging holds as they are, and those
    of which it holds a version with a later ``updated_at``."""

    rows: dict[str, Row] = field(default_factory=dict)
    unchanged: int = 0
    older: int = 0


def changes_in(rows: Iterable[Row], columns: Mapping[str, str], fetch: Fetch, now: datetime) -> Changes:
    """Compare decisions with staging's, a few hundred at a time. Of one that comes twice the later version counts.

    ``columns``: staging's, with dlt's type of each. A value of a column that staging does not have yet is a change.
    """
    newest: dict[str, Row] = {}
    for row in rows:
        before = newest.get(row["decision_id"])
        if before is None or not _is_older(row, before, now):
            newest[row["decision_id"]] = row
    found = Changes()
    for batch in _batches(newest.values()):
        held = _held(batch, columns, fetch)
        for row in batch:
            staged = held.get(row["decision_id"])
            if staged is not None and _same(row, staged, columns):
                found.unchanged += 1
            elif staged is not None and _is_older(row, staged, now):
                found.older += 1
            else:
                found.rows[row["decision_id"]] = row
    return found


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    for row in rows:
        batch.append(row)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _held(batch: list[Row], columns: Mapping[str, str], fetch: Fetch) -> dict[str, Row]:
    names = [name for name in columns if not name.startswith("_dlt")]
    places = ", ".join(["%s"] * len(batch))
    quoted = ", ".join(f'"{name}"' for name in names)
    query = f"select {quoted} from {DATASET}.content_metadata where decision_id in ({places})"
    staged = (dict(zip(names, values, strict=True)) for values in fetch(query, [row["decision_id"] for row in batch]))
    return {row["decision_id"]: row for row in staged}


def _is_older(row: Row, other: Row, now: datetime) -> bool:
    """Whether ``row`` is an earlier version than ``other`` by what both say; a time ahead of the clock says nothing."""
    times = [_plain(version["updated_at"], "timestamp") for version in (row, other)]
    return all(at is not None and at <= now for at in times) and times[0] < times[1]


def _same(row: Row, staged: Row, columns: Mapping[str, str]) -> bool:
    return all(
        value is None if name not in staged else _plain(value, columns[name]) == _plain(staged[name], columns[name])
        for name, value in row.items()
    )


def _plain(value: Any, kind: str) -> Any:
    """A value as both sides of the comparison have it: databases give times in the session's zone, and JSON as text or
    as its parts."""
    if kind == "json" and value is not None:
        return json.loads(value) if isinstance(value, str) else value
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    return value
