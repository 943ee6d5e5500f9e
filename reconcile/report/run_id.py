"""The name and the times of a run."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

_named: list[str] = []


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_run_id() -> str:
    """Sorts by time, and is unique beside other runs of the same second; in a named run it is that run's id."""
    return _named[-1] if _named else _fresh()


@contextmanager
def named_run() -> Iterator[str]:
    """One command is one run: report, plan, journal and log lines of it bear one id."""
    _named.append(_fresh())
    try:
        yield _named[-1]
    finally:
        _named.pop()


def _fresh() -> str:
    at = datetime.now(UTC)
    return f"{at:%Y%m%dT%H%M%S}-{at.microsecond:05x}{uuid.uuid4().hex[:4]}"
