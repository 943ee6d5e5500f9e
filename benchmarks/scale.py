"""The same check on the lake, on 1, 2 and 4 workers, with data growing 1, 4, 16 times.

    uv run python benchmarks/scale.py [--rows 250000]

A Delta table and what it should hold, alike but for three rows, behind Sail on this machine: CPU seconds and memory are
the server's, with its workers, which are threads of its process; tasks are what it counts itself. The verdict is
asserted.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import uuid
from pathlib import Path

import psutil

from orchestrate import lake
from orchestrate.dbt import environment
from reconcile.compare import judge
from reconcile.engines.spark import SparkEngine
from reconcile.prepare import prepare
from reconcile.report import Drift

RUNS = 3
_COLUMNS = (
    "id, cast(id % 977 as bigint) as likes, cast(id * 3 % 7919 as bigint) as views, concat('post ', id) as content"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=250_000, help="rows of the smallest table")
    smallest = parser.parse_args().rows
    print(
        f"{'workers':>7} {'rows':>10} {'seconds':>8} {'CPU s':>7} {'CPU us a row':>12} {'tasks':>6} {'MB at most':>10}"
    )
    for workers in (1, 2, 4):
        with tempfile.TemporaryDirectory() as folder:
            measure(Path(folder), workers, [smallest, 4 * smallest, 16 * smallest])


def measure(folder: Path, workers: int, sizes: list[int]) -> None:
    remote = f"sc://127.0.0.1:{15_200 + workers}/;user_id=bench;session_id={uuid.uuid4()}"
    with environment({"SPARK_REMOTE": remote, "LEVELSET_LAKE": str(folder)}):
        there = lake.start(folder, workers)
        try:
            server = psutil.Process(lake.server_of(there))
            engine = SparkEngine(remote)
            session = lake.session(there)
            session.sql(f"create schema bench location '{folder}/bench'")
            for rows in sizes:
                table = f"bench.t{rows}"
                session.sql(f"create table {table} using delta as select {_COLUMNS} from range(0, {rows}, 1, 4)")
                session.sql(f"update {table} set likes = -1 where id = 7")
                session.sql(f"delete from {table} where id in (11, {rows - 1})")
                print(f"{workers:>7} {rows:>10,} " + checked(engine, session, server, table, rows))
            session.stop()
        finally:
            lake.stop(folder)


def checked(engine: SparkEngine, session: object, server: psutil.Process, table: str, rows: int) -> str:
    seconds, cpu, memory, before = [], [], 0, tasks(session)
    for _ in range(RUNS):
        began, used = time.monotonic(), sum(server.cpu_times()[:2])
        expected = f"select {_COLUMNS} from range(0, {rows}, 1, 4)"
        with engine.snapshot():
            prepared = prepare(
                engine,
                expected_sql=expected,
                expected_columns=engine.query_columns(expected),
                actual_sql=f"select * from {table}",
                actual_columns=engine.table_columns(table) or [],
                key=("id",),
            )
            found = judge(engine, prepared)
        assert found.drift == Drift(missing=2, changed=1), found.drift
        assert (found.rows_expected, found.rows_actual) == (rows, rows - 2)
        seconds.append(time.monotonic() - began)
        cpu.append(sum(server.cpu_times()[:2]) - used)
        memory = max(memory, server.memory_info().rss)
    spent, worked = statistics.median(seconds), statistics.median(cpu)
    counted = (tasks(session) - before) // RUNS
    return f"{spent:>8.2f} {worked:>7.2f} {worked / rows * 1e6:>12.2f} {counted:>6} {memory / 1e6:>10.0f}"


def tasks(session: object) -> int:
    """The tasks that the server has run so far, by its own count."""
    [[found]] = session.sql("select cast(count(*) as bigint) from system.execution.tasks").collect()  # type: ignore[attr-defined]
    return int(found)


if __name__ == "__main__":
    main()
