"""A table and its definition on one engine, to be repaired: what the tests of repair start from."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from reconcile.dbt.project import Project
from reconcile.definition.model import Definition, ModelSettings
from reconcile.engines.factory import Connection, open_engine
from reconcile.model_check.judge_model import judge_definition
from reconcile.repair.guards import Guards
from reconcile.repair.plan_file import RepairPlan, write_plan
from reconcile.repair.session import Applied, repair_session
from reconcile.report.model import Drift, Verdict
from tests.conftest import Database
from tests.support.lake import Lake

LOOSE = Guards(max_rows=1000, max_percent=100, allow_delete=True)


class Bench:
    """A table ``kept`` whose definition is the table ``truth``, on one engine."""

    def __init__(self, project: Project) -> None:
        self.project = project

    def run(self, *statements: str) -> None:
        engine = open_engine(self.project.connection)
        for statement in statements:
            engine.execute(statement)
        engine.close()

    def rows(self, query: str = "select * from kept order by 1, 2") -> list[tuple[Any, ...]]:
        engine = open_engine(self.project.connection)
        found = list(engine.stream(query))
        engine.close()
        return found

    def make(self, columns: str, truth: str, kept: str) -> None:
        self.run(f"create table truth ({columns})", f"create table kept ({columns})")
        self.run(*(f"insert into {name} values {rows}" for name, rows in (("truth", truth), ("kept", kept)) if rows))

    def verdict(self) -> tuple[Verdict, Drift]:
        engine = open_engine(self.project.connection)
        found = judge_definition(engine, self.project.definitions[0])
        engine.close()
        return found.verdict, found.drift

    def repair(self, guards: Guards = LOOSE) -> Applied:
        """Plan and apply at once, as ``--apply --yes`` does."""
        with repair_session(self.project) as session:
            session.make()
            return session.apply(guards)

    def plan(self, path: Path) -> RepairPlan:
        with repair_session(self.project) as session:
            session.make()
            write_plan(session.plan, session.rows(), path)
            return session.plan

    def apply(self, path: Path, guards: Guards = LOOSE) -> Applied:
        """Apply the plan of a file, as ``--plan FILE --apply`` does."""
        with repair_session(self.project) as session:
            session.read(path)
            return session.apply(guards)


def project_on(connection: Connection, key: tuple[str, ...] = ("id",), **settings: Any) -> Project:
    return Project(connection, (model("kept", "select * from truth", key, **settings),), Path("."))


def model(name: str, sql: str, key: tuple[str, ...] = ("id",), **settings: Any) -> Definition:
    return Definition(
        unique_id=f"model.shop.{name}",
        name=name,
        relation_name=name,
        key=key,
        sql=sql,
        contract={},
        settings=ModelSettings(**settings),
        path=f"models/{name}.sql",
    )


def postgres(database: Database, user: str = "postgres") -> Connection:
    names = ("role", "search_path", "sslmode", "sslcert", "sslkey", "sslrootcert")
    where = {
        "host": database.host,
        "port": 5432,
        "user": user,
        "password": "",
        "database": database.name,
        "schema": "public",
    }
    return Connection("postgres", "dev", 1, SimpleNamespace(**where, connect_timeout=5, **dict.fromkeys(names)))


def on_lake(lake: Lake) -> Connection:
    parameters = lake.output["server_side_parameters"]
    credentials = SimpleNamespace(method="session", schema="main", server_side_parameters=parameters)
    return Connection("spark", "dev", 1, credentials)


def ten(bench: Bench) -> None:
    """Ten right rows, then one of each kind of accident."""
    rows = ", ".join(f"({i}, 'v{i}', {i}.5)" for i in range(1, 11))
    bench.make("id integer, v varchar, x double precision", rows, rows)
    bench.run(
        "delete from kept where id = 1",
        "update kept set v = null, x = 0 where id = 2",
        "insert into kept values (99, 'fabricated', 68000)",
        "insert into kept values (3, 'v3', 3.5)",
        "insert into kept values (4, 'other', 4.5)",
        "insert into kept values (null, 'anonymous', 1)",
    )
