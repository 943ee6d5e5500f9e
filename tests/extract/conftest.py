from __future__ import annotations

from pathlib import Path

import dlt
import pytest

from tests.conftest import Database
from tests.extract.staging.test_pipeline import open_pipeline


@pytest.fixture
def address(engine_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """An empty warehouse: a DuckDB file's path, or a Postgres URL."""
    if engine_kind == "duckdb":
        return str(tmp_path / "w.duckdb")
    database: Database = request.getfixturevalue("database")
    return f"postgresql://postgres:x@localhost:5432/{database.name}?host={database.host}"


@pytest.fixture
def pipeline(address: str, tmp_path: Path) -> dlt.Pipeline:
    return open_pipeline(address, tmp_path)
