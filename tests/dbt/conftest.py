from __future__ import annotations

from pathlib import Path

import pytest

from tests.dbt.warehouse import Warehouse, empty_warehouse


@pytest.fixture
def warehouse(engine_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Warehouse:
    database = request.getfixturevalue("database") if engine_kind == "postgres" else None
    return empty_warehouse(tmp_path / "project", database)
