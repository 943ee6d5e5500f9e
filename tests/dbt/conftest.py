from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.dbt_projects import DbtProject, Templates
from tests.support.warehouse import Warehouse, build_empty, empty_warehouse, warehouse_of


@pytest.fixture
def warehouse(
    engine_kind: str, templates: Templates, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Warehouse]:
    """Our dbt project, built over nothing; on the lake without a template."""
    if engine_kind == "sail":
        folder = tmp_path / "project"
        folder.mkdir()
        project: DbtProject = build_empty(folder, request.getfixturevalue("lake"))
        yield warehouse_of(project)
    else:
        with empty_warehouse(templates, engine_kind, tmp_path / "project") as made:
            yield made


@pytest.fixture
def pg_warehouse(templates: Templates, tmp_path: Path) -> Iterator[Warehouse]:
    with empty_warehouse(templates, "postgres", tmp_path / "project") as made:
        yield made
