"""A table and its definition whose changes are captured: what the tests of capture start from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg

from reconcile.capture.session import name_of
from reconcile.capture.setup import setup, teardown
from reconcile.dbt.project import Project
from reconcile.definition.model import Definition
from reconcile.model_check.judge_model import CheckRequest
from reconcile.model_check.run import check_tables
from reconcile.report.diagnosis import Diagnosis, Level
from reconcile.report.model import TableReport, Verdict
from tests.conftest import Database
from tests.support.bench import Bench, model, postgres

SUMS = "select id, sum(v) as v from public.raw group by id"
AUTO, CAPTURE = CheckRequest("auto"), CheckRequest("capture")


class CaptureBench(Bench):
    """``kept`` holds the sum of ``raw``'s values for each id; three ids to begin with."""

    database: Database

    @property
    def name(self) -> str:
        return name_of(self.project)

    def check(self, request: CheckRequest = AUTO) -> TableReport:
        return check_tables(self.project, asked=request)[0]

    def judged(self, request: CheckRequest = AUTO) -> tuple[str, str]:
        """The scope that the model was judged in, and the verdict."""
        found = self.check(request)
        return found.scope.mode, found.verdict.value

    def setup(self) -> list[Diagnosis]:
        return list(setup(self.project))

    def define(self, sql: str, **more: object) -> None:
        definition = replace(self.project.definitions[0], sql=sql, **more)  # type: ignore[arg-type]
        self.project = replace(self.project, definitions=(definition,))

    def prove(self) -> None:
        """One sweep, after which the table is captured."""
        found = self.check()
        assert (found.verdict, found.scope.mode) == (Verdict.LEVEL, "sweep"), (found.error, found.scope.reason)
        assert found.scope.reason.endswith("from now on its changes are captured"), found.scope.reason


def sums(
    name: str = "kept", sql: str = SUMS, sources: tuple[str, ...] = ("public.raw",), **settings: object
) -> Definition:
    found = model(name, sql, **settings)
    return replace(found, relation_name=f"public.{name}", sources=dict.fromkeys(sources))


def project_of(database: Database, root: Path, definition: Definition | None = None) -> Project:
    return Project(postgres(database), (definition or sums(),), root, "shop")


@contextmanager
def captured(database: Database, root: Path, definition: Definition | None = None) -> Iterator[CaptureBench]:
    """A bench whose capture is set up and whose table was proven level once; taken down at the end."""
    bench = CaptureBench(project_of(database, root, definition))
    bench.database = database
    bench.run(
        "create table raw (n integer primary key, id integer not null, v numeric)",
        "alter table raw replica identity full",
        "insert into raw select n, n % 3 + 1, n from generate_series(1, 9) n",
        "create table kept (id integer primary key, v numeric)",
        f"insert into kept {SUMS}",
    )
    try:
        assert not [finding for finding in bench.setup() if finding.level is Level.TROUBLE]
        yield bench
    finally:
        list(teardown(bench.project))
        assert state_left(database) == []


def state_left(database: Database) -> list[tuple[object, ...]]:
    with psycopg.connect(database.conninfo) as connection:
        return connection.execute(
            "select slot_name::text from pg_replication_slots where database = current_database()"
            " union all select pubname::text from pg_publication"
            " union all select relname::text from pg_class"
            " where relnamespace = to_regnamespace('reconcile') and relname like 'capture%'"
        ).fetchall()
