"""From the warehouse to the lake, proven there: copied with dlt, built by the same models, compared across engines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from extract.process_lock import hold
from orchestrate.dbt import environment
from orchestrate.errors import Trouble
from orchestrate.jobs.copy_to_lake import copy_staging
from orchestrate.servers import lake as lakes
from orchestrate.targets import Target
from reconcile import ProjectArguments, Verdict, check, diff
from tests.conftest import command
from tests.dbt.test_incremental import World
from tests.support.dbt_projects import Templates
from tests.support.lake import Lake, forget_session
from tests.support.warehouse import CORE, Warehouse, empty_warehouse

pytestmark = pytest.mark.scale
KEY = {"content_metadata": "decision_id", "real_tweet_metrics": "snapshot_id", "follower_snapshots": "snapshot_id"}


@pytest.fixture
def warehouse(templates: Templates, lake: Lake, tmp_path: Path) -> Iterator[Warehouse]:
    """Our project on Postgres, and an empty lake."""
    with (
        empty_warehouse(templates, "postgres", tmp_path / "project") as made,
        environment(made.variables | {"DLT_DATA_DIR": str(tmp_path / "dlt")}),
    ):
        yield made


def load(warehouse: Warehouse, world: World, posts: int) -> None:
    batch = {
        "content_metadata": [world.decision() for _ in range(posts)],
        "real_tweet_metrics": [row for row in (world.snapshot() for _ in range(3 * posts)) if row],
        "follower_snapshots": [world.follower_reading() for _ in range(3)],
    }
    warehouse.load(batch, KEY)


@pytest.mark.long
def test_the_lake_holds_what_the_warehouse_holds_and_is_proven_to(warehouse: Warehouse, lake: Lake) -> None:
    folder, world = warehouse.project.folder, World(6)
    there = {"DBT_TARGET": "lake", **lake.environment}
    load(warehouse, world, 20)
    first = copy_staging(Target("postgres", folder))
    assert first["real_tweet_metrics"] > 40
    with environment(there):
        warehouse.project.dbt("run", "-s", "+marts.engagement")

    load(warehouse, world, 3)
    assert copy_staging(Target("postgres", folder))["real_tweet_metrics"] <= 9, "what was copied is not copied again"
    with environment(there):
        warehouse.project.dbt("run", "-s", "marts.engagement")
    warehouse.build("-s", "marts.engagement")

    where: ProjectArguments = {"project_dir": folder, "profiles_dir": folder}
    for name, key in CORE.items():
        sides = (f"postgres:analytics.{name}", f"lake:analytics.{name}")
        report = diff(*sides, key=key.split(", "), project_dir=folder, profiles_dir=folder)
        assert report.verdict is Verdict.LEVEL, (name, report.tables[0].samples, report.tables[0].schema_changes)
        assert report.tables[0].scope.rows_actual
    with environment(there):
        assert check(**where).verdict is Verdict.LEVEL

    forget_session()  # and with it the server's memory of what tables there are
    with pytest.raises(Trouble, match="that session has ended"):
        lakes.session(lakes.locate(folder))
    with environment(there | {"SPARK_REMOTE": lake.next_session}):
        assert "analytics.outcomes" in lakes.attach(lakes.locate(folder))
        assert check(**where).verdict is Verdict.LEVEL


@pytest.mark.long
def test_drift_on_the_lake_is_repaired_and_taken_back_also_by_another_session(warehouse: Warehouse, lake: Lake) -> None:
    folder = warehouse.project.folder
    there = {"DBT_TARGET": "lake", **lake.environment}
    load(warehouse, World(7), 10)
    copy_staging(Target("postgres", folder))
    with environment(there):
        warehouse.project.dbt("run", "-s", "+outcomes")
    everything = "select * from analytics.outcomes order by decision_id"
    whole = lake.rows(everything)
    lake.run("update analytics.outcomes set likes = 68000, views = null where likes >= 0")
    broken = lake.rows(everything)
    assert broken != whole

    with environment(lake.environment):
        options = ("--target", "lake", "-s", "outcomes", "--project-dir", str(folder), "--profiles-dir", str(folder))
        refused = command("reconcile", "repair", *options, "--apply", "--yes", cwd=folder)
        assert refused.returncode == 2
        assert "--max-percent allows 10" in refused.stderr
        done = command("reconcile", "repair", *options, "--apply", "--yes", "--max-percent", "100", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert lake.rows(everything) == whole
    again = re.search(r"take it back with:\s+reconcile\s+(undo\s+\S+\s+--apply\s+--target\s+lake)", done.stdout)
    assert again is not None, done.stdout

    forget_session()  # and with it the server's memory of what tables there are, the journal's among them
    with environment(lake.environment | {"SPARK_REMOTE": lake.next_session}):
        undone = command("reconcile", *again[1].split(), cwd=folder)
        assert (undone.returncode, undone.stderr) == (0, undone.stderr), undone.stderr
        found = lakes.session(lakes.locate(folder)).sql(everything).collect()
    assert [tuple(row) for row in found] == broken


def test_one_copy_at_a_time(warehouse: Warehouse) -> None:
    folder = warehouse.project.folder
    with (
        hold(folder / ".levelset" / "lake-writer.lock", "levelset copy", "busy"),
        pytest.raises(Trouble, match=r"another copy into the lake is at work: .*levelset copy, process"),
    ):
        copy_staging(Target("postgres", folder))


def test_only_a_server_is_copied_from(lake: Lake, tmp_path: Path) -> None:
    with pytest.raises(Trouble, match="copied out of Postgres"):
        copy_staging(Target("duckdb", tmp_path))


def test_a_server_is_started_found_and_stopped(clone: Path) -> None:
    """Also after its note is gone, or tells of a process that is another one by now."""
    remote = {"SPARK_REMOTE": "sc://127.0.0.1:15099/;session_id=00000000-0000-4000-8000-000000000099"}
    up, down = ("levelset", "up", "--target", "lake"), ("levelset", "down", "--target", "lake")
    for _ in range(2):
        assert command(*up, cwd=clone, **remote).stdout.startswith("lake is up: Spark Connect at 127.0.0.1:15099")
    assert command(*down, cwd=clone, **remote).stdout == "lake is down\n"
    assert command(*down, cwd=clone, **remote).stdout == "lake was not up\n"
    (clone / ".levelset" / "lake.json").write_text('{"pid": 1}')
    assert command(*down, cwd=clone, **remote).stdout == "lake was not up\n"


def test_a_server_beside_a_pyspark_that_it_does_not_know_is_refused(clone: Path, tmp_path: Path) -> None:
    """As with pyspark 4.3.0 installed beside Sail 0.7.2, tried by hand: here its version alone is another."""
    (tmp_path / "sitecustomize.py").write_text("import pyspark\n\npyspark.__version__ = '4.3.0'\n")
    remote = "sc://127.0.0.1:15098/;session_id=00000000-0000-4000-8000-000000000098"
    up = ("levelset", "up", "--target", "lake")
    done = command(*up, cwd=clone, SPARK_REMOTE=remote, PYTHONPATH=str(tmp_path))

    assert done.returncode == 2
    assert "unsupported PySpark version: 4.3.0; Sail knows pyspark up to 4.2: pip install" in done.stderr
    assert not lakes.is_running(lakes.LakeServer(clone, remote, None))


@pytest.mark.parametrize(
    ("remote", "said"),
    [
        ("http://somewhere", "SPARK_REMOTE is 'http://somewhere': write it as sc://"),
        ("sc://spark.invalid:15002", "no Spark Connect server answers at spark.invalid:15002"),
    ],
)
def test_an_address_that_cannot_be_reached(remote: str, said: str, tmp_path: Path) -> None:
    with environment({"SPARK_REMOTE": remote}), pytest.raises(Trouble, match=said):
        lakes.start(tmp_path)


def test_without_the_extra_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lakes, "find_spec", lambda name: None if name == "pysail" else object())
    with (
        environment({"SPARK_REMOTE": "sc://127.0.0.1:15098"}),
        pytest.raises(Trouble, match=r"needs pysail, which is not installed: pip install 'levelset\[scale\]'"),
    ):
        lakes.start(tmp_path)
