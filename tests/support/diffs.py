"""A diff of two sides in one call, and sides to compare."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

from reconcile.dbt.project import Options
from reconcile.report.model import TableReport
from reconcile.table_diff.run import DiffRequest, diff
from tests.conftest import Database


def compared(
    left: str | Path, right: str | Path, key: str = "id", wait: Callable[[], None] = lambda: None, **more: Any
) -> TableReport:
    request = DiffRequest(str(left), str(right), tuple(filter(None, key.split(","))), **more)
    return diff(request, Options(), wait=wait).tables[0]


def postgres(database: Database, table: str) -> str:
    return f"{database.url}#{table}"


def duck(path: Path, *statements: str) -> Path:
    with duckdb.connect(str(path)) as connection:
        for statement in statements:
            connection.execute(statement)
    return path
