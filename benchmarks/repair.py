"""Repairing a tenth of a table against the bare upsert of the same rows, on the embedded Postgres, or on the lake.

    uv run benchmarks/repair.py [--rows 1000000] [--runs 3] [--lake | --missing]

With --missing every row of the table is missing: a repair and its undo, against the bare `insert ... select`.

The upsert knows which rows to write and keeps no record. Ours is shown in its parts: find and plan (two comparisons),
apply (locks, looks at each row again, writes, looks at the table again, keeps every row before and after in the
journal), and the comparison that proves the result. Wall times in one run: compare the ratios, not the seconds.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg

from orchestrate.dbt import environment
from orchestrate.servers import lake
from orchestrate.servers import postgres as warehouse
from reconcile.dbt.project import Project
from reconcile.definition.model import Definition, ModelSettings
from reconcile.engines.factory import Connection, open_engine
from reconcile.model_check.judge_model import judge_definition
from reconcile.repair.guards import Guards
from reconcile.repair.session import Applied, repair_session
from reconcile.repair.undo import undo
from reconcile.report.model import Verdict

COLUMNS = {
    "id": "n",
    "likes": "n % 1000",
    "retweets": "n % 100",
    "replies": "n % 10",
    "views": "n * 7",
    "rate": "n / 3.0",
    "at": "timestamptz '2026-01-01' + n * interval '1 second'",
    "source": "'source ' || n % 7",
    "note": "md5(n::text)",
    "ok": "n % 2 = 0",
}
SPARKS = {  # what Spark spells otherwise
    "rate": "n / 3.0D",
    "at": "timestamp_seconds(1767225600 + n)",
    "source": "concat('source ', n % 7)",
    "note": "md5(cast(n as string))",
}
TYPES = (
    "id bigint primary key, likes bigint, retweets bigint, replies bigint, views bigint, rate double precision, "
    "at timestamptz, source text, note text, ok boolean"
)


def make(database: psycopg.Connection, rows: int) -> None:
    """``truth``, the table ``kept`` with a tenth of its rows broken, and ``bare``, which is the same as ``kept``."""
    for name in ("truth", "kept", "bare"):
        database.execute(f"drop table if exists {name}")
        database.execute(f"create table {name} ({TYPES})")
    database.execute(f"insert into truth select {', '.join(COLUMNS.values())} from generate_series(1, {rows}) n")
    for name in ("kept", "bare"):
        database.execute(f"insert into {name} select * from truth")
        database.execute(f"update {name} set likes = likes + 1, note = 'x' where id % 10 = 0")
    for name in ("truth", "kept", "bare"):
        database.execute(f"vacuum analyze {name}")
    database.execute("checkpoint")


def upsert(database: psycopg.Connection) -> float:
    started = time.perf_counter()
    taken = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name != "id")
    database.execute(f"insert into bare select * from truth where id % 10 = 0 on conflict (id) do update set {taken}")
    taken_seconds = time.perf_counter() - started
    database.execute("checkpoint")
    return taken_seconds


def planned_and_applied(project: Project, rows: int) -> tuple[Applied, float, float]:
    """What was written, and the seconds to find and plan and to apply."""
    with repair_session(project) as session:
        started = time.perf_counter()
        session.make(brief=True)
        planned = time.perf_counter()
        done = session.apply(Guards(max_rows=rows, max_percent=100))
        return done, planned - started, time.perf_counter() - planned


def repair(project: Project, rows: int) -> tuple[float, float, float]:
    """Seconds to find and plan, to apply, and to compare again."""
    done, plan, apply = planned_and_applied(project, rows)
    assert (done.updated, done.stale) == (rows // 10, 0), done
    engine = open_engine(project.connection)
    again = time.perf_counter()
    assert judge_definition(engine, project.definitions[0]).verdict is Verdict.LEVEL
    engine.close()
    return plan, apply, time.perf_counter() - again


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--lake", action="store_true", help="on Delta tables behind Sail, against a bare MERGE")
    parser.add_argument("--missing", action="store_true", help="every row is missing; also undo the repair")
    options = parser.parse_args()
    if options.lake:
        measure_lake(options.rows, options.runs)
        return
    with tempfile.TemporaryDirectory() as folder:
        server = warehouse.start(Path(folder))
        try:
            (measure_missing if options.missing else measure)(server, options.rows, options.runs)
        finally:
            warehouse.stop(Path(folder))


def embedded(server: warehouse.Server) -> Project:
    names = ("role", "search_path", "sslmode", "sslcert", "sslkey", "sslrootcert")
    where = {"host": str(server.socket), "port": 5432, "user": "postgres", "password": "", "database": "postgres"}
    credentials = SimpleNamespace(**where, connect_timeout=5, **dict.fromkeys(names))
    return project_on(Connection("postgres", "bench", 1, credentials))


def measure_missing(server: warehouse.Server, rows: int, runs: int) -> None:
    project = embedded(server)
    with psycopg.connect(server.conninfo, dbname="postgres", autocommit=True) as database:
        for _ in range(runs):
            make(database, rows)
            database.execute("truncate kept, bare")
            started = time.perf_counter()
            database.execute("insert into bare select * from truth")
            bare = time.perf_counter() - started
            done, plan, apply = planned_and_applied(project, rows)
            assert (done.inserted, done.stale) == (rows, 0), done
            started = time.perf_counter()
            undone = undo(project, done.run_id, apply=True)
            undo_seconds = time.perf_counter() - started
            assert (undone.deleted, undone.stale) == (rows, 0), undone
            parts = {"plan": plan, "apply": apply, "undo": undo_seconds}
            print(
                f"bare insert {bare:.2f} s; " + "; ".join(f"{k} {v:.2f} s, {v / bare:.1f} x" for k, v in parts.items())
            )
    print(f"client memory, at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")


def measure(server: warehouse.Server, rows: int, runs: int) -> None:
    with psycopg.connect(server.conninfo, dbname="postgres", autocommit=True) as database:
        project = embedded(server)
        tell(rows, runs, project, lambda: make(database, rows), lambda: upsert(database))


def measure_lake(rows: int, runs: int) -> None:
    remote = f"sc://127.0.0.1:15301/;user_id=bench;session_id={uuid.uuid4()}"
    parameters = {"spark.remote": remote}
    credentials = SimpleNamespace(method="session", schema="bench", server_side_parameters=parameters)
    with tempfile.TemporaryDirectory() as folder, environment({"SPARK_REMOTE": remote, "LEVELSET_LAKE": folder}):
        session = lake.session(lake.start(Path(folder)))
        try:
            session.sql(f"create schema bench location '{folder}/bench'")
            session.sql("use database bench")
            project = project_on(Connection("spark", "bench", 1, credentials))
            tell(rows, runs, project, lambda: make_lake(session, rows), lambda: merge(session))
        finally:
            session.stop()
            lake.stop(Path(folder))


def make_lake(session: Any, rows: int) -> None:
    columns = ", ".join(f"{value} as {name}" for name, value in {**COLUMNS, **SPARKS}.items())
    session.sql(f"create or replace table truth using delta as select {columns} from range(1, {rows + 1}) as t (n)")
    broken = (
        COLUMNS
        | {name: name for name in COLUMNS}
        | {
            "likes": "case when id % 10 = 0 then likes + 1 else likes end",
            "note": "case when id % 10 = 0 then 'x' else note end",
        }
    )
    columns = ", ".join(f"{value} as {name}" for name, value in broken.items())
    for name in ("kept", "bare"):
        session.sql(f"create or replace table {name} using delta as select {columns} from truth")
    session.sql("create or replace table wanted using delta as select * from truth where id % 10 = 0")


def merge(session: Any) -> float:
    started = time.perf_counter()
    session.sql("merge into bare as t using wanted as w on t.id = w.id when matched then update set *")
    return time.perf_counter() - started


def project_on(connection: Connection) -> Project:
    definition = Definition(
        unique_id="model.bench.kept",
        name="kept",
        relation_name="kept",
        key=("id",),
        sql="select * from truth",
        contract={},
        settings=ModelSettings(),
        path="kept.sql",
    )
    return Project(connection, (definition,), Path())


def tell(rows: int, runs: int, project: Project, again: Callable[[], None], bare_write: Callable[[], float]) -> None:
    taken: dict[str, list[float]] = {}
    for _ in range(runs):
        again()
        taken.setdefault("bare upsert, no journal", []).append(bare_write())
        plan, apply, prove = repair(project, rows)
        for name, seconds in (("find and plan", plan), ("apply, journaled", apply), ("compare again", prove)):
            taken.setdefault(name, []).append(seconds)
        taken.setdefault("the whole repair", []).append(plan + apply + prove)
    medians = {name: statistics.median(seconds) for name, seconds in taken.items()}
    bare = medians["bare upsert, no journal"]
    print(f"{rows // 10:,} of {rows:,} rows, median of {runs}")
    for name, seconds in medians.items():
        print(f"{name:26}{seconds:8.2f} s{seconds / bare:8.2f} x")
    print(f"client memory, at most    {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024:8} MB")


if __name__ == "__main__":
    main()
