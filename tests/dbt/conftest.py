from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import ROOT, Database
from tests.dbt.warehouse import Warehouse
from tests.dbt_projects import DbtProject


@pytest.fixture
def warehouse(engine_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Warehouse:
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("dbt_project.yml", "profiles.yml"):
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "dbt_project", folder / "dbt_project")
    if engine_kind == "duckdb":
        project = DbtProject(folder, None)
        variables = {"DBT_TARGET": "duckdb", "LEVELSET_DUCKDB": str(project.duckdb_file)}
    else:
        database: Database = request.getfixturevalue("database")
        project = DbtProject(folder, database)
        variables = {
            "DBT_TARGET": "postgres",
            "PGHOST": database.host,
            "PGDATABASE": database.name,
            "PGUSER": "postgres",
        }
    made = Warehouse(project, variables)
    made.build("-s", "staging", "intermediate", "core")
    return made
