"""Our dbt project on an empty warehouse, loaded by hand."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from orchestrate.dbt import environment
from tests.conftest import ROOT, Database
from tests.support.dbt_projects import DbtProject, Templates
from tests.support.lake import Lake

START = datetime(2026, 7, 1, tzinfo=UTC)
CORE = {
    "tweet_metrics": "tweet_id",
    "learning_posts": "tweet_id",
    "outcomes": "decision_id",
    "tweet_metrics_history": "tweet_id, collected_at",
    "post_velocity_tracking": "tweet_id, checkpoint_hours",
    "follower_growth_attribution": "decision_id",
}
# as dlt makes it at its first load
_LOADS = (
    "create table if not exists staging._dlt_loads (load_id varchar not null, schema_name varchar,"
    " status bigint not null, inserted_at timestamp with time zone not null, schema_version_hash varchar)"
)


@dataclass
class Warehouse:
    """Our dbt project on an empty warehouse, with a loader that stamps loads as dlt does."""

    project: DbtProject
    variables: dict[str, str]
    loads: int = 0
    columns: dict[str, list[str]] = field(default_factory=dict)

    @property
    def database(self) -> Database:
        """The Postgres database that it is on."""
        assert isinstance(self.project.database, Database)
        return self.project.database

    def build(self, *more: str) -> None:
        with environment(self.variables):
            self.project.dbt("run", *more)

    def compile(self, *analyses: str) -> None:
        with environment(self.variables):
            self.project.dbt("compile", "-s", *analyses)

    def load(self, batches: dict[str, list[dict[str, Any]]], key: dict[str, str], load_id: str | None = None) -> None:
        """One load package: rows replace those of the same key. ``load_id`` None: a second after the one before."""
        self.loads += 1
        load_id = load_id or f"{START.timestamp() + 86_400 * 30 + self.loads:.3f}"
        statements: list[str] = []
        spelled = spark_literal if isinstance(self.project.database, Lake) else literal
        for table, rows in batches.items():
            unique = {row[key[table]]: row for row in rows}.values()
            told = [
                {**row, "_dlt_load_id": load_id, "_dlt_id": f"{table}{self.loads}_{i}"} for i, row in enumerate(unique)
            ]
            if isinstance(self.project.database, Lake):  # Sail inserts whole rows
                told = [dict.fromkeys(self.project.database.columns(f"staging.{table}")) | row for row in told]
            for names in dict.fromkeys(tuple(row) for row in told):
                same = [row for row in told if tuple(row) == names]
                keys = ", ".join(spelled(row[key[table]]) for row in same)
                values = ", ".join(f"({', '.join(spelled(value) for value in row.values())})" for row in same)
                statements.append(f"delete from staging.{table} where {key[table]} in ({keys})")
                statements.append(f"insert into staging.{table} ({', '.join(names)}) values {values}")
        if not isinstance(self.project.database, Lake):
            statements += [
                _LOADS,
                f"insert into staging._dlt_loads values ('{load_id}', 'engagement', 0, now(), 'none')",
            ]
        self.project.run(*statements)

    def contents(self) -> dict[str, list[tuple[object, ...]]]:
        return {
            table: self.project.rows(f"select * from analytics.{table} order by {key}") for table, key in CORE.items()
        }


def spark_literal(value: Any) -> str:
    if isinstance(value, datetime):
        return f"timestamp '{value.isoformat()}'"
    return literal(value)


def literal(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return f"timestamp with time zone '{value.isoformat()}'"
    if isinstance(value, list):
        return "'" + json.dumps(value) + "'"
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)


def build_empty(folder: Path, database: Database | Lake | None) -> DbtProject:
    """Our dbt project, built once over nothing: on a Postgres database, a lake, or a DuckDB file."""
    for name in ("dbt_project.yml", "profiles.yml"):
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "dbt_project", folder / "dbt_project")
    made = warehouse_of(DbtProject(folder, database))
    made.build("-s", "staging", "intermediate", "marts.engagement")
    return made.project


def warehouse_of(project: DbtProject) -> Warehouse:
    """The project with the variables that profiles.yml reads."""
    database = project.database
    variables = {"DBT_TARGET": "duckdb", "LEVELSET_DUCKDB": str(project.duckdb_file)}
    if isinstance(database, Lake):
        variables = {"DBT_TARGET": "lake", **database.environment}
    elif database is not None:
        variables = {
            "DBT_TARGET": "postgres",
            "PGHOST": database.host,
            "PGDATABASE": database.name,
            "PGUSER": "postgres",
        }
    return Warehouse(project, variables)


@contextmanager
def empty_warehouse(templates: Templates, engine_kind: str, folder: Path) -> Iterator[Warehouse]:
    """A copy of the project that ``build_empty`` built once on this engine."""
    with templates.copy(build_empty, engine_kind, folder) as project:
        yield warehouse_of(project)
