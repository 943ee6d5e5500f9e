from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.warehouse import Warehouse, empty_warehouse


@pytest.fixture
def warehouse(engine_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Warehouse:
    wanted = {"postgres": "database", "sail": "lake"}.get(engine_kind)
    database = request.getfixturevalue(wanted) if wanted else None
    return empty_warehouse(tmp_path / "project", database)
