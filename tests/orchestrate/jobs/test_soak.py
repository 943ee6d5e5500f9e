"""Long proofs, run on demand: `uv run pytest -m soak -n 0` (about a quarter of an hour)."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from extract.errors import ExtractError
from extract.site.faults import Fault
from orchestrate.errors import Trouble
from orchestrate.jobs.schedule import EVERY
from orchestrate.servers import postgres as warehouse
from reconcile import ReconcileError
from tests.conftest import make_clone
from tests.orchestrate.jobs.test_unattended import goes_on, killed
from tests.support.scheduled_project import House, a_house

pytestmark = pytest.mark.soak
# false zeros and stale counters are tested in tests/extract/site/test_faults.py
SITE_FAULTS = ("unavailable_503", "rate_limited", "login_wall", "missing_counter", "wrong_post", "wrong_author", "stub")
EACH = int(os.environ.get("SOAK_RUNS", "201")) // 3  # runs of each of the processes that overlap
# what a hostile writer does to a table of ours: rows go, come, and change
EDITS = (
    "delete from analytics.{table} where {key} in (select {key} from analytics.{table} order by random() limit 3)",
    "update analytics.{table} set {counter} = 0 where {key} in"
    " (select {key} from analytics.{table} order by random() limit 5)",
    "update analytics.{table} set {counter} = coalesce({counter}, 0) + 7 where {key} in"
    " (select {key} from analytics.{table} order by random() limit 2)",
)
TABLES = (
    ("tweet_metrics", "tweet_id", "likes_count"),
    ("learning_posts", "tweet_id", "likes_count"),
    ("outcomes", "decision_id", "likes"),
)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with a_house(make_clone(tmp_path / "clone"), days=8) as found:
        yield found


def test_a_hundred_kills_of_whole_runs_lose_nothing(house: House) -> None:
    assert house.run("detailed").exit_code == 0
    count = killed(house, random.Random(100), 140)
    print(f"{count} of 140 runs were killed before their end")
    assert count >= 100
    goes_on(house)
    house.check_nothing_left()


def test_two_hundred_overlapping_runs_do_not_deadlock(house: House) -> None:
    """Jobs, plain builds, checks and repairs in three processes at once, which wait for their turns or say why."""
    assert house.run("detailed").exit_code == 0
    programs = Path(sys.executable).parent
    commands = (
        ["levelset", "run", "scheduled"],
        ["dbt", "run", "--selector", "scheduled", "--quiet"],
        ["reconcile", "check", "-q"],
        ["reconcile", "repair", "--apply", "--yes", "-q"],
    )
    codes: Counter[tuple[str, int]] = Counter()
    said: list[str] = []

    def worker(seed: int) -> None:
        draws = random.Random(seed)
        for _ in range(EACH):
            command = draws.choice(commands)
            done = subprocess.run(
                [programs / command[0], *command[1:]],
                cwd=house.folder,
                env={**os.environ, "PGHOST": str(house.server.socket), "DBT_TARGET_PATH": f"target/worker{seed}"},
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            codes[" ".join(command[:2]), done.returncode] += 1
            if done.returncode not in (0, 1, 3):
                said.append(done.stderr[-400:] + done.stdout[-400:])

    workers = [threading.Thread(target=worker, args=(seed,)) for seed in range(3)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    print(codes)
    print("\n".join(said[:20]))
    assert sum(codes.values()) == 3 * EACH
    assert {code for _, code in codes} == {0}
    # each run has read its own site by real time: that the tables are level is proven, what they hold is not
    assert house.run("detailed").exit_code == 0
    house.check_nothing_left()


def test_a_day_of_all_jobs_with_faults_and_a_hostile_writer_ends_level(house: House) -> None:
    """24 simulated hours on their cadence. Whatever a fault or the writer did, at the end all is level and true."""
    draws = random.Random(24)
    assert house.run("detailed").exit_code == 0
    told: Counter[str] = Counter()
    measured: list[tuple[float, int]] = []
    for minute in range(0, 24 * 60, 10):
        house.site.clock.advance(600)
        for job in (job for job, every in EVERY.items() if minute % every == 0):
            fault = draws.choice(("none", "none", "none", "site", "kill", "crash", "edit", "edit"))
            told[fault] += 1
            if fault == "site":
                house.site.faults[:] = [Fault("/i/api", draws.choice(SITE_FAULTS), draws.choice((None, 1, 2)))]
            if fault == "edit":
                table, key, counter = draws.choice(TABLES)
                house.execute(draws.choice(EDITS).format(table=table, key=key, counter=counter))
            if fault == "kill":
                told["killed"] += house.kill(job, draws.uniform(0.05, 2))
                continue
            crash = threading.Timer(draws.uniform(0.1, 2), house.restart)
            if fault == "crash":
                crash.start()
            try:
                told[f"exit {house.run(job).exit_code}"] += 1
            except (Trouble, ExtractError) as error:
                told["trouble"] += 1
                print(f"{minute} {job} {fault}: {error}")
            house.site.faults.clear()
            if fault == "crash":
                crash.join()
            if told["edit"] and draws.random() < 0.3:
                try:
                    told[f"repair {house.repair()}"] += 1
                except ReconcileError as error:
                    print(f"{minute} repair: {error}")
                    warehouse.start(house.folder)
        if minute % 120 == 60:
            files = sum(1 for path in house.folder.rglob("*") if path.is_file() and "data/base" not in str(path))
            measured.append((psutil.Process().memory_info().rss / 1e6, files))
    print(told)
    print("MB and files every two hours:", [(round(memory), files) for memory, files in measured])
    warehouse.start(house.folder)
    house.repair()
    goes_on(house)
    house.site.clock.advance(3600)
    assert house.run("detailed").exit_code == 0
    print(house.check_truth(), "accepted readings, all true")
    until = time.monotonic() + 300
    while house.rows("select relname from pg_class where relpersistence = 't'") and time.monotonic() < until:
        time.sleep(5)
    house.crashed = False
    house.check_nothing_left()
    assert measured[-1][0] < 1.25 * measured[3][0]
    assert measured[-1][1] < measured[3][1] + 400  # reports of past runs are kept, 200 of them
