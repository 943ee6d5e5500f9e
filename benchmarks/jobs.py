"""What a job costs by part, in a process just started and in one that is warm; and how that grows with the posts.

    uv run benchmarks/jobs.py                            a job of twenty posts, against its limits
    uv run benchmarks/jobs.py --hourly 100 1000 10000 [--capture]    a simulated day at so many readings an hour

A day: as many posts a day as are read an hour, each read once an hour until it is a day old. The readings of 23 hours
are loaded at once, then the last hour's six jobs run as they would, each reading a sixth of the young posts. The source
answers from a formula: page loads are not what is measured. CPU is of this process; sizes are the server's. Compare
the ratios and medians: machines are noisy.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import duckdb
import psutil
import psycopg

from extract.reading.attempt import Attempt, Profile
from extract.reading.post_ids import Network, snowflake
from extract.reading.record import Count, Counters, Reading, Status
from extract.staging.pipeline import CollectionPlan, make_pipeline, run, run_bulk

ROOT = Path(__file__).resolve().parent.parent
NOW = datetime(2026, 7, 1, tzinfo=UTC)
LIMITS = {"first": 12.0, "next": 2.0}  # CPU seconds of a job of twenty posts


class Formula:
    """A source whose posts have counters that grow with time."""

    name = "formula"
    network = Network.X
    wall: Reading | None = None

    def __init__(self, at: datetime) -> None:
        self._at = at

    def collect(self, wanted: Sequence[str]) -> Iterator[Attempt | Profile]:
        yield Profile("me", self._at, 1000, 10, 500)
        hours = int((self._at - NOW).total_seconds() // 3600) + 48
        for tweet_id in wanted:
            told = {name: Count(hours * each, "formula") for name, each in _EACH.items()}
            yield Attempt(tweet_id, Reading(Status.OK, tweet_id, Counters(**told)), self._at)

    def reread(self, wanted: Sequence[str]) -> Iterator[Attempt]:
        return iter(())


_EACH = {"likes": 3, "retweets": 1, "replies": 1, "quotes": 1, "bookmarks": 1, "views": 100}


@contextmanager
def project() -> Iterator[Path]:
    """The files of a fresh clone, with a separate embedded server."""
    from orchestrate.servers import postgres as warehouse

    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "clone"
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
        for name in filter(None, listed.stdout.split("\0")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        os.chdir(folder)
        server = warehouse.start(folder)
        warehouse.ensure_schemas(server, "staging", "analytics")
        try:
            yield folder
        finally:
            os.chdir(ROOT)
            warehouse.stop(folder)
            shutil.rmtree(server.home, ignore_errors=True)


def content(count: int) -> list[tuple[int, str, dict[str, Any]]]:
    """A decision a post, posted through the day that is simulated and the one before: ``count`` a day."""
    rows = []
    for number in range(2 * count):
        at = NOW - timedelta(hours=48) + timedelta(hours=24) * number / count
        row = {"decision_id": f"{number:08d}-0000-4000-8000-000000000000", "decision_type": "single"}
        times = dict.fromkeys(("created_at", "posted_at", "updated_at"), at.isoformat())
        more = {"status": "posted", "tweet_id": snowflake(at, number % 1000), "content": f"post {number} of the day"}
        rows.append((number, str(number), {**row, **times, **more}))
    return rows


def a_day(hourly: int, captured: bool) -> None:  # noqa: PLR0915
    from orchestrate.dbt import environment, parse, run_dbt
    from orchestrate.jobs.run_job import WITHOUT
    from orchestrate.servers import postgres as warehouse
    from orchestrate.targets import Target
    from reconcile import Level, ProjectArguments, check, setup

    with project() as folder:
        target = Target("embedded", folder)
        server = warehouse.locate(folder)
        pipeline = make_pipeline(target.destination(), target.pipelines_dir())
        rows = content(hourly)
        clock = [NOW - timedelta(days=1)]
        started = time.monotonic()
        with duckdb.connect() as connection:
            connection.execute("create table posts (tweet_id varchar, posted_at timestamptz)")
            columns = [[row[name] for _, _, row in rows] for name in ("tweet_id", "posted_at")]
            connection.execute("insert into posts select unnest(?), unnest(?)", columns)
            counters = ", ".join(f"(24 + h) * {each} as {name}" for name, each in _EACH.items())
            read_at = f"timestamptz '{clock[0].isoformat()}' + to_minutes(60 * h + 1)"
            connection.execute(
                f"copy (select tweet_id, {read_at} as collected_at, {counters} from posts, range(23) as hours(h)"
                f" where {read_at} > posted_at and {read_at} < posted_at + interval 24 hour)"
                f" to '{folder}/day.parquet'"
            )
        clock[0] = NOW - timedelta(hours=1)
        how: dict[str, Any] = {"account": "me", "now": lambda: clock[0]}
        run_bulk(pipeline, folder / "day.parquet", content=lambda since: iter(rows), **how)
        run_dbt(target, "run")
        loaded = time.monotonic() - started
        parts: dict[str, list[float]] = {"collect": [], "build": [], "check": []}
        where: ProjectArguments = {"project_dir": folder, "profiles_dir": folder}
        where |= {"target": "embedded", "selector": "scheduled"}
        if captured:
            with environment(target.environment()):
                found = setup(**where)
                assert not any(finding.level is Level.TROUBLE for finding in found), found
                check(**where)  # proves each table once; from then on its changes are followed
        for _ in range(6):
            clock[0] += timedelta(minutes=10)
            marks = [time.monotonic()]
            plan = CollectionPlan(budget=max(20, hourly // 6))
            run(pipeline, Formula(clock[0]), job="scheduled", plan=plan, content=lambda since: iter(rows[:1]), **how)
            marks.append(time.monotonic())
            manifest = parse(target)
            run_dbt(target, "build", "--selector", "scheduled", *WITHOUT["scheduled"], manifest=manifest)
            marks.append(time.monotonic())
            with environment(target.environment()):
                report = check(manifest=manifest, **where)
            marks.append(time.monotonic())
            assert report.exit_code == 0, report.verdict
            for part, begin, end in zip(parts, marks, marks[1:], strict=False):
                parts[part].append(end - begin)
        with psycopg.connect(server.conninfo) as connection:
            sizes = "select pg_database_size(current_database()), (select count(*) from staging.real_tweet_metrics)"
            [size, snapshots] = connection.execute(sizes).fetchone() or (0, 0)
        told = "  ".join(f"{part} {median(found):5.1f} s" for part, found in parts.items())
        memory = psutil.Process().memory_info().rss / 1e6
        print(
            f"{hourly:>6}/h  {told}  whole {sum(map(median, parts.values())):5.1f} s  {size / 1e6:6.0f} MB  "
            f"{snapshots:>7} snapshots  {memory:4.0f} MB of memory  (day before: {loaded:.0f} s)",
            flush=True,
        )


_WARM = """
import json, sys, time, logging
from orchestrate.jobs.run_job import run_job
from orchestrate.targets import Target
from pathlib import Path
found = []
spent = 0.0
for _ in range(int(sys.argv[1])):
    done = run_job(Target("embedded", Path.cwd()), "scheduled", 10.0)
    now = time.process_time()
    found.append((now - spent, done.seconds, done.collected))
    spent = now
print(json.dumps(found))
"""


def twenty() -> None:
    """Processes one after the other on one warehouse; each job reads what is due of the local site, over HTTP."""
    first, then = [], []
    with project():
        environment = {**os.environ, "SOURCES__ENGAGEMENT__SOURCE": "http"}
        for _ in range(4):
            command = [sys.executable, "-c", _WARM, "4"]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            jobs = json.loads(done.stdout.splitlines()[-1])
            first.append(jobs[0][0])
            then += [cpu for cpu, _, _ in jobs[1:]]
            for cpu, seconds, collected in jobs:
                told = ", ".join(f"{part} {took:.1f} s" for part, took in seconds.items())
                print(f"CPU {cpu:5.2f} s   {told}   {collected}")
    for name, found in (("first", first), ("next", then)):
        print(f"{name} job in a process: median {median(found):.2f} CPU s (limit {LIMITS[name]:.0f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hourly", type=int, nargs="*", metavar="READINGS")
    parser.add_argument("--capture", action="store_true", help="with change capture set up (reconcile setup)")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    if asked.hourly:
        for hourly in asked.hourly:
            a_day(hourly, asked.capture)
    else:
        twenty()


if __name__ == "__main__":
    main()
