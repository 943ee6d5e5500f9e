"""A capture check against the sweep of the same table, by its size and by how many keys changed.

    uv run benchmarks/capture.py [--tweets 1000000 10000000] [--runs 5]

A tweet has five snapshots; the model keeps the latest. Changed keys are scattered: each gets a new snapshot, and its
row is written anew as dbt's delete+insert does, so that every check finds the table level. Wall times are those of a
check in a process that runs already: in sessions that stay open, as those of a watch do, and with new ones.
CPU is the server's, of all its processes.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psycopg

from orchestrate.servers import postgres as warehouse
from reconcile.capture.session import Captured, open_capture
from reconcile.capture.setup import setup, teardown
from reconcile.dbt.project import Project
from reconcile.definition.model import Definition, ModelSettings
from reconcile.engines.factory import Connection, open_engine
from reconcile.model_check.judge_model import CheckRequest, judge_definition
from reconcile.model_check.run import check_tables
from reconcile.report.model import TableReport, Verdict
from reconcile.report.run_id import now

LATEST = """
    select tweet_id, likes, views, collected_at from (
        select *, row_number() over (partition by tweet_id order by collected_at desc, snapshot_id desc) as place
        from public.snapshots
    ) as ordered
    where place = 1
"""
COUNTS = (10, 100, 1_000, 10_000)
CROSSING = (30_000, 60_000, 90_000)  # where keys and sweep meet, at the first size
TICK = os.sysconf("SC_CLK_TCK")


def make(database: psycopg.Connection, tweets: int) -> None:
    database.execute("drop table if exists snapshots, kept")
    database.execute(
        "create table snapshots as select n * 5::bigint + s as snapshot_id,"
        " (1850000000000000000 + n)::text as tweet_id, (n % 97 + s)::bigint as likes, (n % 997 * s)::bigint as views,"
        " timestamp '2026-01-01' + s * interval '1 day' as collected_at"
        f" from generate_series(1, {tweets}) n cross join generate_series(0, 4) s"
    )
    database.execute("create index on snapshots (tweet_id)")
    database.execute("alter table snapshots replica identity full")
    database.execute(f"create table kept as {LATEST}")
    database.execute("alter table kept add primary key (tweet_id)")
    database.execute("vacuum analyze snapshots")
    database.execute("vacuum analyze kept")


def change(database: psycopg.Connection, tweets: int, count: int) -> None:
    """Give ``count`` scattered tweets a new snapshot, and write their rows anew."""
    step = max(1, tweets // count)
    ids = f"select (1850000000000000000 + n)::text from generate_series(7, {tweets}, {step}) n limit {count}"
    chosen = [row[0] for row in database.execute(ids).fetchall()]
    with database.transaction():
        database.execute(
            "insert into snapshots select nextval('serial'), unnest(%s::text[]), 5, 500,"
            " (select timestamp '2026-06-01' + nextval('serial') * interval '1 second')",
            [chosen],
        )
        database.execute("delete from kept where tweet_id = any(%s)", [chosen])
        narrow = LATEST.replace("from public.snapshots", "from public.snapshots where tweet_id = any(%s)")
        database.execute(f"insert into kept {narrow}", [chosen])


def server_cpu(postmaster: int) -> float:
    """CPU seconds of the server so far: of its processes, and of those that have ended."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if stat.parent.name == str(postmaster):
            ticks += sum(map(int, fields[11:15]))
        elif fields[1] == str(postmaster):
            ticks += sum(map(int, fields[11:13]))
    return ticks / TICK


def measured(run: Callable[[], TableReport], mode: str, postmaster: int) -> tuple[float, float]:
    """Wall and server CPU seconds of a check, which must find the table level."""
    cpu, began = server_cpu(postmaster), time.perf_counter()
    found = run()
    wall = time.perf_counter() - began
    time.sleep(0.05)  # a session that has ended is counted once it is collected
    assert (found.verdict, found.scope.mode) == (Verdict.LEVEL, mode), (found.error, found.scope.reason, found.drift)
    return wall, server_cpu(postmaster) - cpu


def compare(project: Project, database: psycopg.Connection, tweets: int, runs: int, postmaster: int) -> None:
    def check(mode: str) -> TableReport:
        return check_tables(project, asked=CheckRequest(mode))[0]

    make(database, tweets)
    list(setup(project))
    sweep_wall, sweep_cpu = measured(lambda: check("auto"), "sweep", postmaster)
    print(f"\n{tweets:,} tweets, {5 * tweets:,} snapshots: a sweep takes {sweep_wall:.2f} s, {sweep_cpu:.2f} CPU s")
    print(
        f"{'keys':>8}{'check':>12}{'new sessions':>15}{'server CPU':>13}{'of the sweep':>15}{'sweep / check CPU':>20}"
    )
    engine, capture = open_engine(project.connection), open_capture(project)
    assert isinstance(capture, Captured)

    def in_session() -> TableReport:
        return judge_definition(engine, project.definitions[0], CheckRequest("capture"), None, now(), capture=capture)

    for count in COUNTS:
        walls, cpus, news = [], [], []
        repeats = max(runs, 40) if count <= 100 else runs  # CPU is counted in hundredths of a second
        for _ in range(repeats):
            change(database, tweets, count)
            wall, cpu = measured(in_session, "capture", postmaster)
            walls.append(wall)
            cpus.append(cpu)
        for _ in range(runs):
            change(database, tweets, count)
            news.append(measured(lambda: check("capture"), "capture", postmaster)[0])
        wall, new, cpu = statistics.median(walls), statistics.median(news), statistics.mean(cpus)
        times = f"{sweep_cpu / cpu:,.0f}" if cpu else "-"
        print(
            f"{count:8,}{1000 * wall:9.1f} ms{1000 * new:12.1f} ms{1000 * cpu:10.1f} ms"
            f"{wall / sweep_wall:15.2%}{times:>20}",
            flush=True,
        )
    if tweets <= 1_000_000:
        for count in CROSSING:
            change(database, tweets, count)
            began = time.perf_counter()
            found = judge_definition(engine, project.definitions[0], CheckRequest("auto"), None, now(), capture=capture)
            wall = time.perf_counter() - began
            assert found.verdict is Verdict.LEVEL
            print(
                f"{count:8,}{wall:10.1f} s by {found.scope.mode}: {wall / sweep_wall:.0%} of the first sweep",
                flush=True,
            )
    engine.close()
    capture.session.close()
    list(teardown(project))


def reading(project: Project, database: psycopg.Connection, changes: int) -> None:
    list(setup(project))
    check_tables(project, asked=CheckRequest("auto"))
    database.execute(f"update kept set likes = likes + 1 where tweet_id in (select tweet_id from kept limit {changes})")
    capture = open_capture(project)
    assert isinstance(capture, Captured)
    began = time.perf_counter()
    capture.session.read()
    seconds = time.perf_counter() - began
    capture.session.close()
    print(f"\nreading {changes:,} changes of one transaction: {seconds:.2f} s, {changes / seconds:,.0f} changes/s")
    list(teardown(project))


def overhead(project: Project, database: psycopg.Connection, server: warehouse.Server, seconds: int) -> None:
    """pgbench on the model's table, published and not, in turns."""
    script = server.home / "update.sql"
    script.write_text(
        "\\set n random(1, 100000)\n"
        "update kept set likes = likes + 1 where tweet_id = (1850000000000000000 + :n)::text;\n"
    )
    command = [server.binaries / "pgbench", "-n", "-c", "2", "-T", str(seconds), "-f", script]
    command += ["-h", server.socket, "-U", "postgres", "postgres"]

    def rate() -> float:
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        found = re.search(r"tps = ([\d.]+)", said)
        assert found
        return float(found[1])

    plain, published = [], []
    for _ in range(3):
        plain.append(rate())
        list(setup(project))
        published.append(rate())
        list(teardown(project))
    without, with_it = statistics.median(plain), statistics.median(published)
    print(
        f"\na writer of single rows: {without:,.0f} updates/s, published {with_it:,.0f}/s: {1 - with_it / without:+.1%}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tweets", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        server = warehouse.start(home)
        postmaster = int((server.data / "postmaster.pid").read_text().split()[0])
        where = {"host": str(server.socket), "port": 5432, "user": "postgres", "password": "", "database": "postgres"}
        unset = dict.fromkeys(("role", "search_path", "sslmode", "sslcert", "sslkey", "sslrootcert"))
        credentials = SimpleNamespace(**where, schema="public", connect_timeout=5, **unset)
        definition = Definition(
            unique_id="model.bench.kept",
            name="kept",
            relation_name="public.kept",
            key=("tweet_id",),
            sql=LATEST,
            contract={},
            settings=ModelSettings(),
            path="kept.sql",
            sources={"public.snapshots": None},
        )
        project = Project(Connection("postgres", "dev", 1, credentials), (definition,), home, "bench")
        try:
            with psycopg.connect(server.conninfo, dbname="postgres", autocommit=True) as database:
                database.execute("create sequence serial start 100000000")
                for tweets in options.tweets:
                    compare(project, database, tweets, options.runs, postmaster)
                    if tweets == options.tweets[0]:
                        reading(project, database, min(tweets, 1_000_000))
                        overhead(project, database, server, 10)
        finally:
            warehouse.stop(home)


if __name__ == "__main__":
    main()
