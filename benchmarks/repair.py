"""Repairing a tenth of a table against the bare upsert of the same rows, on the embedded Postgres.

    uv run benchmarks/repair.py [--rows 1000000] [--runs 3]

The upsert knows which rows to write and keeps no record. Ours is told in its parts: find and plan (two comparisons),
apply (locks, looks at each row again, writes, looks at what stands now, keeps every row before and after in the
journal), and the comparison that proves the result. Wall times in one run: compare the ratios, not the seconds.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import psycopg

from orchestrate import warehouse
from reconcile.definition import Definition, Settings
from reconcile.engines.connect import open_engine
from reconcile.project import Connection, Project
from reconcile.repair import Guards, repair_session
from reconcile.report import Verdict
from reconcile.verdict import judge_definition

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


def repair(project: Project, rows: int) -> tuple[float, float, float]:
    """Seconds to find and plan, to apply, and to compare again."""
    with repair_session(project) as session:
        started = time.perf_counter()
        session.make(brief=True)
        planned = time.perf_counter()
        done = session.apply(Guards(max_rows=rows, max_percent=100))
        applied = time.perf_counter()
    assert (done.updated, done.stale) == (rows // 10, 0), done
    engine = open_engine(project.connection)
    again = time.perf_counter()
    assert judge_definition(engine, project.definitions[0]).verdict is Verdict.LEVEL
    engine.close()
    return planned - started, applied - planned, time.perf_counter() - again


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = warehouse.start(Path(folder))
        try:
            measure(server, options.rows, options.runs)
        finally:
            warehouse.stop(Path(folder))


def measure(server: warehouse.Server, rows: int, runs: int) -> None:
    with psycopg.connect(server.conninfo, dbname="postgres", autocommit=True) as database:
        names = ("role", "search_path", "sslmode", "sslcert", "sslkey", "sslrootcert")
        where = {"host": str(server.socket), "port": 5432, "user": "postgres", "password": "", "database": "postgres"}
        credentials = SimpleNamespace(**where, connect_timeout=5, **dict.fromkeys(names))
        definition = Definition(
            unique_id="model.bench.kept",
            name="kept",
            relation_name="kept",
            key=("id",),
            sql="select * from truth",
            contract={},
            settings=Settings(),
            path="kept.sql",
        )
        project = Project(Connection("postgres", "bench", 1, credentials), (definition,), Path())
        taken: dict[str, list[float]] = {}
        for _ in range(runs):
            make(database, rows)
            taken.setdefault("bare upsert, no journal", []).append(upsert(database))
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
