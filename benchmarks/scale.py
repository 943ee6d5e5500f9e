"""The same check on the lake, on 1, 2 and 4 workers, with data growing 1, 4, 16 times.

    uv run python benchmarks/scale.py [--rows 250000]
    uv run python benchmarks/scale.py --spark "$SPARK_HOME"

A table and its definition, equal except for three rows. Behind Sail it is a Delta table; CPU seconds and memory are the
server's, with its workers, which are threads of its process; tasks are what it counts itself. With Spark it is a
Parquet table; each worker is a process of one core and a heap of 600 MB, and Spark tells which did how many tasks. The
verdict is asserted.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import psutil
from standalone import MEMORY, a_cluster

from orchestrate.dbt import environment
from orchestrate.servers import lake
from reconcile.compare.align import prepare
from reconcile.compare.comparison import judge
from reconcile.engines.spark import SparkEngine
from reconcile.report.model import Drift

RUNS = 3
_COLUMNS = (
    "id, cast(id % 977 as bigint) as likes, cast(id * 3 % 7919 as bigint) as views, concat('post ', id) as content"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=250_000, help="rows of the smallest table")
    parser.add_argument("--spark", type=Path, help="Spark's home: measure Spark itself, standalone, and not Sail")
    asked = parser.parse_args()
    sizes = [asked.rows, 4 * asked.rows, 16 * asked.rows]
    print(f"{'workers':>7} {'rows':>10} {'seconds':>8} {'CPU s':>7} {'CPU us a row':>12}  tasks a check, memory")
    for workers in (1, 2, 4):
        with tempfile.TemporaryDirectory() as folder:
            if asked.spark is None:
                measure(Path(folder), workers, sizes)
            else:
                measure_spark(asked.spark, Path(folder), workers, sizes)


def measure_spark(home: Path, folder: Path, workers: int, sizes: list[int]) -> None:
    with a_cluster(home, folder, workers) as cluster:
        engine = SparkEngine(cluster.remote)
        try:
            for rows in sizes:
                kept = _COLUMNS.replace("cast(id % 977", "cast(case when id = 7 then -1 else id % 977 end")
                where = f"where id not in (11, {rows - 1})"
                engine.execute(
                    f"create table t{rows} using parquet as select * from ("
                    f"select {kept} from range(0, {rows}, 1, 4)) as all_rows {where}"
                )
                before = engine.workers.tasks()
                line = checked(engine, cluster.used, f"t{rows}", rows)
                after = engine.workers.tasks()
                split = sorted((after[name] - before.get(name, 0)) // RUNS for name in after)
                shares = " + ".join(map(str, split))
                print(f"{workers:>7} {rows:>10,} {line}  {shares}, {MEMORY} of heap each", flush=True)
        finally:
            forget(engine)


def forget(engine: SparkEngine) -> None:
    """The process's session ends with its server."""
    from pyspark.sql import SparkSession

    engine.close()
    session = SparkSession.getActiveSession()
    if session is not None:
        session.stop()


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
                before = tasks(session)
                line = checked(engine, lambda: sum(server.cpu_times()[:2]), table, rows)
                counted = (tasks(session) - before) // RUNS
                memory = server.memory_info().rss / 1e6
                print(f"{workers:>7} {rows:>10,} {line}  {counted} in all, {memory:.0f} MB in all", flush=True)
            session.stop()
        finally:
            lake.stop(folder)


def checked(engine: SparkEngine, cpu_seconds: Callable[[], float], table: str, rows: int) -> str:
    seconds, cpu = [], []
    for _ in range(RUNS):
        began, used = time.monotonic(), cpu_seconds()
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
        cpu.append(cpu_seconds() - used)
    spent, worked = statistics.median(seconds), statistics.median(cpu)
    return f"{spent:>8.2f} {worked:>7.2f} {worked / rows * 1e6:>12.2f}"


def tasks(session: object) -> int:
    """The tasks that the server has run so far, by its own count."""
    [[found]] = session.sql("select cast(count(*) as bigint) from system.execution.tasks").collect()  # type: ignore[attr-defined]
    return int(found)


if __name__ == "__main__":
    main()
