"""Two tables in one engine, and how to compare them: what most tests of reconcile start from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest

from reconcile.compare.align import prepare
from reconcile.compare.comparison import Compared, Step, judge
from reconcile.engines.base import Engine
from reconcile.engines.duckdb import DuckDBEngine
from reconcile.engines.factory import Connection
from reconcile.engines.postgres import PostgresEngine
from tests.conftest import Database
from tests.support.bench import Bench, on_lake, postgres, project_on
from tests.support.lake import Lake


@dataclass
class Tables:
    """An engine with an empty database. ``expected`` and ``actual`` are tables to be made by the test."""

    engine: Engine
    kind: str
    folder: Path | None = None
    made: int = 0

    def run(self, *statements: str) -> None:
        for statement in statements:
            self.engine.execute(statement)

    def make(self, columns: str, expected: list[tuple[Any, ...]], actual: list[tuple[Any, ...]]) -> None:
        """Both tables with the same columns; values are SQL literals."""
        for name, rows in (("expected", expected), ("actual", actual)):
            self.run(f"drop table if exists {name}", f"create table {name} ({columns}){self._stored(name)}")
            if rows:
                values = ", ".join("(" + ", ".join(map(str, row)) + ")" for row in rows)
                self.run(f"insert into {name} values {values}")

    def _stored(self, name: str) -> str:
        """On the lake a folder for each table: Sail leaves that of a table that is dropped."""
        if self.folder is None:
            return ""
        self.made += 1
        return f" using delta location '{self.folder}/{self.made}/{name}'"

    def judge(self, *key: str, samples: int = 100, step: Step = lambda done, whole: None, **more: Any) -> Compared:
        expected_columns = self.engine.table_columns("expected")
        actual_columns = self.engine.table_columns("actual")
        assert expected_columns is not None
        assert actual_columns is not None
        with self.engine.snapshot():
            prepared = prepare(
                self.engine,
                expected_sql="select * from expected",
                expected_columns=expected_columns,
                actual_sql="select * from actual",
                actual_columns=actual_columns,
                key=key,
                **more,
            )
            return judge(self.engine, prepared, samples, step)


@pytest.fixture
def tables(engine_kind: str, request: pytest.FixtureRequest) -> Iterator[Tables]:
    engine: Engine
    folder = None
    if engine_kind == "sail":
        from reconcile.engines.spark import SparkEngine

        lake: Lake = request.getfixturevalue("lake")
        engine, folder = SparkEngine(lake.remote), lake.folder
    elif engine_kind == "duckdb":
        engine = DuckDBEngine(":memory:")
    else:
        database: Database = request.getfixturevalue("database")
        engine = PostgresEngine(database.conninfo)
    yield Tables(engine, engine_kind, folder)
    engine.close()


@pytest.fixture
def pg_tables(database: Database) -> Iterator[Tables]:
    engine = PostgresEngine(database.conninfo)
    yield Tables(engine, "postgres")
    engine.close()


@pytest.fixture
def connection(engine_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Connection:
    if engine_kind == "duckdb":
        path = str(tmp_path / "w.duckdb")
        duckdb.connect(path).close()
        return Connection("duckdb", "dev", 1, SimpleNamespace(path=path, settings={}))
    if engine_kind == "sail":
        lake: Lake = request.getfixturevalue("lake")
        return on_lake(lake)
    database: Database = request.getfixturevalue("database")
    return postgres(database)


@pytest.fixture
def bench(connection: Connection) -> Bench:
    return Bench(project_on(connection))


@pytest.fixture
def pg(database: Database) -> Bench:
    return Bench(project_on(postgres(database)))
