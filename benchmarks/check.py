"""A same-engine check against the bare merge join and against EXCEPT ALL, on the embedded Postgres.

    uv run benchmarks/check.py [--rows 1000000] [--runs 3]

The definition is a plain table scan, so that what is measured is the comparison. Server CPU is not separable here, so
wall times are taken in turns (bare, ours, EXCEPT ALL, bare, ...) inside one run: compare the ratios, not the seconds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psycopg

from orchestrate.servers import postgres as warehouse
from reconcile.compare.align import prepare
from reconcile.compare.comparison import judge
from reconcile.engines.postgres import PostgresEngine

DIFFERENCES = (0, 200, 10_000)
COLUMNS = ("a", "b", "c", "d")


def make(conninfo: str, rows: int, differences: int) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for name in ("truth", "kept"):
            connection.execute(f"drop table if exists {name}")
            connection.execute(
                f"create table {name} as select n::bigint as id, md5(n::text) as a, n % 97 as b,"
                f" timestamp '2026-01-01' + n * interval '1 second' as c, (n * 1.25)::numeric(18, 6) as d"
                f" from generate_series(1, {rows}) n"
            )
            connection.execute(f"alter table {name} add primary key (id)")
        if differences:
            step = rows // differences  # scattered, so that no block of the table is spared
            connection.execute(
                f"update kept set b = -1 where id % {step} = {7 % step} and id <= {step} * {differences}"
            )
        connection.execute("vacuum analyze truth")
        connection.execute("vacuum analyze kept")


def bare(conninfo: str) -> int:
    differs = " or ".join(f"e.{c} is distinct from a.{c}" for c in COLUMNS)
    query = (
        f"select count(*) from truth e full join kept a on e.id = a.id where e.id is null or a.id is null or {differs}"
    )
    with psycopg.connect(conninfo) as connection:
        connection.execute("set jit = off")
        row = connection.execute(query).fetchone()
        assert row is not None
        return int(row[0])


def except_all(conninfo: str) -> int:
    query = (
        "select (select count(*) from (table truth except all table kept) x)"
        " + (select count(*) from (table kept except all table truth) y)"
    )
    with psycopg.connect(conninfo) as connection:
        row = connection.execute(query).fetchone()
        assert row is not None
        return int(row[0]) // 2


def ours(conninfo: str) -> int:
    engine = PostgresEngine(conninfo)
    expected, actual = engine.table_columns("truth"), engine.table_columns("kept")
    assert expected is not None
    assert actual is not None
    with engine.snapshot():
        prepared = prepare(
            engine,
            expected_sql="select * from truth",
            expected_columns=expected,
            actual_sql="select * from kept",
            actual_columns=actual,
            key=("id",),
            relation="kept",
        )
        found = judge(engine, prepared)
    engine.close()
    return found.drift.of_rows()


def timed(run: Callable[[str], int], conninfo: str, wanted: int) -> float:
    started = time.monotonic()
    found = run(conninfo)
    assert found == wanted, f"{run.__name__} found {found} of {wanted}"
    return time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    ways = {"bare merge join": bare, "reconcile": ours, "EXCEPT ALL both ways": except_all}
    with tempfile.TemporaryDirectory() as folder:
        server = warehouse.start(Path(folder))
        try:
            print(f"{given.rows:,} x {given.rows:,} rows, medians of {given.runs}, in turns\n")
            print("| differences | " + " | ".join(ways) + " | reconcile / bare | EXCEPT ALL / reconcile |")
            print("|---:|" + "---:|" * (len(ways) + 2))
            for differences in DIFFERENCES:
                make(server.conninfo, given.rows, differences)
                took: dict[str, list[float]] = {name: [] for name in ways}
                for _ in range(given.runs):
                    for name, run in ways.items():
                        took[name].append(timed(run, server.conninfo, differences))
                medians = {name: statistics.median(values) for name, values in took.items()}
                ratios = (
                    medians["reconcile"] / medians["bare merge join"],
                    medians["EXCEPT ALL both ways"] / medians["reconcile"],
                )
                cells = [f"{seconds:.2f} s" for seconds in medians.values()] + [f"{ratio:.2f}" for ratio in ratios]
                print(f"| {differences:,} | " + " | ".join(cells) + " |", flush=True)
        finally:
            warehouse.stop(Path(folder))


if __name__ == "__main__":
    main()
