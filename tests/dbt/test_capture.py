"""Change capture on our own models: dbt's own writes are no drift, and every key that a load can change is compared."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrate.dbt import environment
from reconcile import Drift, Level, TableReport, check, open_project, setup, teardown
from tests.conftest import command
from tests.dbt.test_incremental import World
from tests.support.warehouse import CORE, Warehouse

KEY = {"content_metadata": "decision_id", "real_tweet_metrics": "snapshot_id", "follower_snapshots": "snapshot_id"}


def load(warehouse: Warehouse, world: World, decisions: int, corrections: int, snapshots: int) -> None:
    told = [world.decision() for _ in range(decisions)]
    told += [row for row in (world.correction() for _ in range(corrections)) if row]
    readings = [row for row in (world.snapshot() for _ in range(snapshots)) if row]
    warehouse.load(
        {
            "content_metadata": told,
            "real_tweet_metrics": readings,
            "follower_snapshots": [world.follower_reading() for _ in range(snapshots // 8)],
        },
        KEY,
    )


def judged(warehouse: Warehouse) -> dict[str, TableReport]:
    """Each core table as capture sees it, which must be as a sweep sees it."""
    folder = warehouse.project.folder
    with environment(warehouse.variables):
        project = open_project(project_dir=folder, profiles_dir=folder, select="marts.engagement")
        found = check(project).tables
        swept = check(project, scope="sweep").tables
    for one, other in zip(found, swept, strict=True):
        assert one.drift == other.drift, (one.name, one.scope.reason)
        assert one.verdict == other.verdict or one.scope.mode == "capture", (one.error, other.error)
    return {table.name: table for table in found}


def modes(found: dict[str, TableReport]) -> set[str]:
    return {table.scope.mode for table in found.values()}


@pytest.mark.long
def test_builds_loads_and_edits_are_seen_as_a_sweep_sees_them(pg_warehouse: Warehouse) -> None:
    warehouse, world, database = pg_warehouse, World(11), pg_warehouse.database
    load(warehouse, world, 30, 0, 160)
    warehouse.build("-s", "staging", "intermediate", "marts.engagement")
    folder = warehouse.project.folder
    with environment(warehouse.variables):
        project = open_project(project_dir=folder, profiles_dir=folder, select="marts.engagement")
    try:
        assert [finding.said for finding in setup(project) if finding.level is not Level.FINE] == []
        assert modes(judged(warehouse)) == {"sweep"}

        load(warehouse, world, 4, 3, 24)
        loaded = judged(warehouse)
        assert modes(loaded) == {"capture"}, "\n".join(table.scope.reason for table in loaded.values())
        assert all(table.drift.any() for table in loaded.values())

        warehouse.build("-s", "staging", "intermediate", "marts.engagement")
        built = judged(warehouse)
        assert modes(built) == {"capture"}
        assert {table.drift for table in built.values()} == {Drift()}

        load(warehouse, world, 2, 6, 24)
        database.run(
            "update analytics.outcomes set likes = 68000 where ctid = (select min(ctid) from analytics.outcomes)",
            "delete from analytics.learning_posts where ctid = (select max(ctid) from analytics.learning_posts)",
        )
        warehouse.build("-s", "staging", "intermediate", "marts.engagement")
        edited = judged(warehouse)
        assert modes(edited) == {"capture"}
        assert all(edited[name].drift.of_rows() <= 1 for name in CORE)

        warehouse.build("--full-refresh", "-s", "outcomes", "learning_posts")
        refreshed = judged(warehouse)
        assert {name for name, table in refreshed.items() if table.scope.mode == "sweep"} == {
            "learning_posts",
            "outcomes",
        }
        assert {table.drift for table in refreshed.values()} == {Drift()}
    finally:
        teardown(replace(project, definitions=()))


@pytest.mark.long
def test_the_commands_from_setup_to_teardown(pg_warehouse: Warehouse) -> None:
    warehouse, world, database = pg_warehouse, World(5), pg_warehouse.database
    load(warehouse, world, 12, 0, 60)
    warehouse.build("-s", "staging", "intermediate", "marts.engagement")

    def reconcile(*arguments: str, code: int = 0) -> str:
        done = command("reconcile", *arguments, cwd=warehouse.project.folder, COLUMNS="160", **warehouse.variables)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout

    said = reconcile("setup", "-s", "outcomes")
    assert "is created" in said
    assert "outcomes: captured from its next level check on" in said
    reconcile("check", "-s", "outcomes")
    assert "outcomes: capture: captured since" in reconcile("doctor", "-s", "outcomes")

    watch = run(warehouse, "watch", "-s", "outcomes", "--interval", "0.2")
    assert watch.stderr is not None
    assert watch.stdout is not None
    assert "watching 1 model" in watch.stderr.readline()
    database.run("update analytics.outcomes set likes = 68000 where ctid = (select min(ctid) from analytics.outcomes)")
    assert watch.stdout.readline().rstrip().endswith("outcomes: 1 changed")
    assert "likes expected" in watch.stdout.readline()
    watch.send_signal(signal.SIGTERM)
    assert watch.wait(timeout=60) == 0

    assert "scope:     capture: the statement below" in reconcile("explain", "-s", "outcomes")
    assert "nothing of it is left" in reconcile("teardown", "-s", "outcomes")


def run(warehouse: Warehouse, *arguments: str) -> subprocess.Popen[str]:
    script = Path(sys.executable).with_name("reconcile")
    return subprocess.Popen(
        [script, *arguments],
        cwd=warehouse.project.folder,
        env={**os.environ, **warehouse.variables, "COLUMNS": "160"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
