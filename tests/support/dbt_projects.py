"""Small dbt projects written by tests, and dbt run on them in this process."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import yaml

from orchestrate.dbt import environment
from orchestrate.servers.postgres import Server
from reconcile.dbt.project import Options, invoke_dbt, run_command
from reconcile.errors import ProjectError
from reconcile.model_check.judge_model import CheckRequest
from reconcile.model_check.run import check
from reconcile.report.model import Report, TableReport
from tests.conftest import Database
from tests.support.forkserver import close_dbts_duckdb
from tests.support.lake import Lake

_FAILED = ("error", "fail", "partial success")


@dataclass
class DbtProject:
    """A dbt project on one warehouse: a Postgres database, a lake or a DuckDB file."""

    folder: Path
    database: Database | Lake | None

    @property
    def duckdb_file(self) -> Path:
        return self.folder / "warehouse.duckdb"

    def write(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def profile(self, name: str) -> None:
        output: dict[str, object] = {"type": "duckdb", "path": str(self.duckdb_file), "schema": "main", "threads": 2}
        if isinstance(self.database, Lake):
            output = self.database.output
        elif self.database is not None:
            output = {
                "type": "postgres",
                "host": self.database.host,
                "port": 5432,
                "user": "postgres",
                "password": "",
                "dbname": self.database.name,
                "schema": "public",
                "threads": 2,
            }
        body = {name: {"target": "dev", "outputs": {"dev": output}}}
        (self.folder / "profiles.yml").write_text(yaml.safe_dump(body))

    def run(self, *statements: str) -> None:
        if self.database is not None:
            self.database.run(*statements)
            return
        with duckdb.connect(str(self.duckdb_file)) as connection:
            for statement in statements:
                connection.execute(statement)

    def rows(self, query: str) -> list[tuple[object, ...]]:
        if self.database is not None:
            return self.database.rows(query)
        with duckdb.connect(str(self.duckdb_file)) as connection:
            return connection.execute(query).fetchall()

    def dbt(self, *arguments: str, **variables: str) -> None:
        """Run dbt on the project; fails the test with dbt's words where it fails."""
        where = ["--project-dir", str(self.folder), "--profiles-dir", str(self.folder)]
        with environment(variables):
            outcome = invoke_dbt([*arguments, *where, "--quiet", "--log-level", "none"])
        results = getattr(outcome.result, "results", None) or []
        failed = [
            f"{r.node.name}: {r.message}" for r in results if str(r.status) in ("error", "fail", "partial success")
        ]
        assert outcome.exception is None, outcome.exception
        assert not failed, "\n".join(failed)


Builder = Callable[[Path, Database | None], DbtProject]


class Templates:
    """Projects that are built once per run and engine: a test gets a copy, database and all.

    Every copy has the folder and the database name under which its template was built, one copy after another: dbt
    then finds the project parsed already. (A DuckDB file at another path is another connection to dbt, which parses
    everything again: 12 CPU seconds per test instead of 5.)
    """

    def __init__(self, server: Server, folder: Path) -> None:
        self._server, self._folder = server, folder
        self._made: dict[tuple[str, str], DbtProject] = {}

    @contextmanager
    def copy(self, build: Builder, engine_kind: str, folder: Path) -> Iterator[DbtProject]:
        """A project as ``build`` left it; ``folder`` links to it."""
        template = self._template(build, engine_kind)
        shutil.copytree(_stored(template.folder), template.folder, symlinks=True)
        folder.symlink_to(template.folder, target_is_directory=True)
        if template.database is not None:
            name = template.database.name
            self._run(f"create database {name} template {name}_template")
        yield DbtProject(template.folder, template.database)
        close_dbts_duckdb()  # or the next copy would see the file of this one
        folder.unlink()
        shutil.rmtree(template.folder)
        if template.database is not None:
            self._run(f"drop database {template.database.name} with (force)")

    def drop(self) -> None:
        for project in self._made.values():
            if project.database is not None:
                self._run(f"drop database {project.database.name}_template with (force)")

    def _template(self, build: Builder, engine_kind: str) -> DbtProject:
        key = (f"{build.__module__.rpartition('.')[2]}_{build.__name__}", engine_kind)
        if key not in self._made:
            database = None
            if engine_kind == "postgres":
                database = Database(f"copy_of_{key[0]}", str(self._server.socket))
                self._run(f"create database {database.name}")
            folder = self._folder / "_".join(key)
            folder.mkdir()
            self._made[key] = build(folder, database)
            # as a check parses it, beside dbt's own: no copy parses dbt's macros again
            with suppress(ProjectError):  # a project whose profile wants variables
                run_command(
                    Options(project_dir=folder, profiles_dir=folder), None, "parse", resolve_root=folder.resolve()
                )
            close_dbts_duckdb()
            folder.rename(_stored(folder))
            if database is not None:
                name = database.name
                self._run(f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}'")
                self._run(f"alter database {name} rename to {name}_template")
        return self._made[key]

    def _run(self, statement: str) -> None:
        with psycopg.connect(self._server.conninfo, dbname="postgres", autocommit=True) as connection:
            connection.execute(statement)


def _stored(folder: Path) -> Path:
    """Where a template is kept while copies of it have its folder."""
    return folder.with_name(f"{folder.name}_template")


def judged(project: DbtProject, *select: str, asked: CheckRequest | None = None, **more: Any) -> Report:
    """The report of a check of the project."""
    options = Options(project_dir=project.folder, profiles_dir=project.folder, select=select, **more)
    return check(options, asked=asked or CheckRequest())


def table(report: Report, name: str) -> TableReport:
    return next(table for table in report.tables if table.name == name)


def now() -> str:
    return datetime.now(UTC).isoformat()
