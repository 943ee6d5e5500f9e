"""The docs are true: every command in them is executed, every link leads to a page, every command is documented."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click
import duckdb
import psycopg
import pytest

from orchestrate.cli import extract, levelset
from orchestrate.servers import postgres as warehouse
from reconcile.cli import cli as reconcile
from tests.conftest import ROOT, command, commands_for_a_shell
from tests.support.dbt_projects import DbtProject

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# what another test executes as it is: command -> that test
_LAKE = "tests/orchestrate/servers/test_lake.py::test_the_lake_holds_what_the_warehouse_holds_and_is_proven_to"
ELSEWHERE = {
    "levelset up --target lake": "tests/orchestrate/servers/test_lake.py::test_a_server_is_started_found_and_stopped",
    "levelset down --target lake": "tests/orchestrate/servers/test_lake.py::test_a_server_is_started_found_and_stopped",
    "levelset copy": _LAKE,
    "dbt build --target lake": _LAKE,
    "reconcile check --target lake": _LAKE,
    "reconcile repair --target lake --apply --yes": _LAKE,
    "reconcile diff embedded:analytics.outcomes lake:analytics.outcomes --key decision_id": _LAKE,
    "levelset demo": "tests/orchestrate/test_commands.py::test_the_demo_finds_what_it_broke_after_a_killed_one",
    "pytest": "tests/test_docs.py::test_every_command_of_this_project_does_what_it_says",  # this very run
    "dlt pipeline engagement run --target postgres": (
        "tests/test_roles.py::test_each_role_does_its_work_and_nothing_more"
    ),
    "dbt build --target postgres": ("tests/test_roles.py::test_each_role_does_its_work_and_nothing_more"),
    "reconcile check --target postgres": "tests/test_roles.py::test_each_role_does_its_work_and_nothing_more",
    "dbt build --target postgres --vars 'create_raw_tables: false'": (
        "tests/test_roles.py::test_each_role_does_its_work_and_nothing_more"
    ),
    "uv pip install /path/to/this/clone": "tests/test_packaging.py::test_the_wheel_installs_into_an_empty_environment",
    "reconcile diff embedded:analytics.learning_posts embedded:legacy.learning_posts --key tweet_id": (
        "tests/dbt/test_backfill.py::test_the_old_tables_are_copied_and_every_difference_has_its_cause"
    ),
}
# what exits with its code only if it says this: which models have rows depends on the time of day of the site's posts
IF_SAID = {"reconcile check --scope capture": "unverified"}
# what runs until it is stopped: command -> what it says once it runs
LASTING = {
    "extract site": "Ctrl-C stops",
    "reconcile watch --repair": "watching",
    "levelset schedule": "every 10 min, velocity every 30 min",
}
_BLOCK = re.compile(r"^( *)```(sh|crontab)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
_EXITS = re.compile(r"#.*exits with (\d)")


@dataclass(frozen=True)
class Line:
    """A command of a page, without ``uv run`` and its comment; ``code`` is what the comment says that it exits with."""

    text: str
    code: int
    shell: bool = False


def lines_of(page: Path) -> list[Line]:
    found = []
    for _, kind, body in _BLOCK.findall(page.read_text()):
        for line in map(str.strip, body.splitlines()):
            if kind == "crontab":
                found.append(Line(line.split(maxsplit=5)[5], 0, shell=True))
            elif line:
                told = _EXITS.search(line)
                text = shlex.join(shlex.split(line, comments=True)).removeprefix("uv run ")
                found.append(Line(text, int(told[1]) if told else 0))
    return found


@dataclass
class World:
    """Where a page's commands run. ``replaced``: what a page calls by a name that only its reader knows."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)
    replaced: dict[str, Callable[[], str]] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)

    def run(self, page: str, **before: tuple[str, Callable[[], object]]) -> None:
        """Run a page's commands. ``before``: what has happened before the first command that begins so."""
        waiting = list(before.values())
        for line in lines_of(ROOT / page):
            for beginning, happens in [entry for entry in waiting if line.text.startswith(entry[0])]:
                happens()
                waiting.remove((beginning, happens))
            if line.text not in ELSEWHERE:
                self.said[line.text] = self._one(page, line)
        assert not waiting, f"{page} has no command {waiting[0][0]}"

    def _one(self, page: str, line: Line) -> str:
        text = line.text
        for name, value in self.replaced.items():
            if name in text:
                text = text.replace(name, value())
        if line.text in LASTING:
            return self._lasting(text, LASTING[line.text])
        words = shlex.split(text)
        done = self._in_a_shell(text) if line.shell else command(*words, cwd=self.folder, **self.variables)
        said = IF_SAID.get(line.text, "")
        expected = line.code if said in done.stdout else 0
        assert done.returncode == expected, f"{page}: {text}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr, f"{page}: {text}\n{done.stderr}"
        return done.stdout + done.stderr

    def _in_a_shell(self, text: str) -> subprocess.CompletedProcess[str]:
        """As cron would, with our scripts on the PATH and a ``uv run`` that runs them."""
        tools = self.folder / ".tools"
        path = commands_for_a_shell(tools)
        (tools / "uv").write_text('#!/bin/sh\nshift\nexec "$@"\n')
        (tools / "uv").chmod(0o755)
        environment = {**os.environ, **self.variables, "PATH": path}
        return subprocess.run(
            ["sh", "-c", text], cwd="/", env=environment, capture_output=True, text=True, check=False, timeout=120
        )

    def _lasting(self, text: str, sign: str) -> str:
        program, *rest = shlex.split(text)
        process = subprocess.Popen(
            [Path(sys.executable).parent / program, *rest],
            cwd=self.folder,
            env={**os.environ, **self.variables, "PWD": str(self.folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        first = process.stdout.readline()
        assert sign in first, first + process.stdout.read()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, process.stdout.read()
        return first


@pytest.fixture
def ours(clone: Path) -> Iterator[World]:
    """A fresh clone, with what the pages take for granted: a recorded answer, an export, a table of another time."""
    fixtures = ROOT / "tests" / "extract" / "fixtures"
    shutil.copy(fixtures / "post_mid_01.json", clone / "answer.json")
    (clone / "ids.txt").write_text("1\n")
    row = "'1850123456789012345' as tweet_id, timestamptz '2026-07-01 12:00:00+00' as collected_at, 5 as likes"
    duckdb.sql(f"select {row}").write_parquet(str(clone / "snapshots.parquet"))

    def last_repair() -> str:
        reports = sorted((clone / "target" / "reconcile" / "runs").glob("*.json"), reverse=True)
        bodies = (json.loads(report.read_text()) for report in reports)
        found = (body["repair"]["run_id"] for body in bodies if body["repair"] and body["repair"]["applied"])
        return str(next(found))

    world = World(clone, {"SOURCES__ENGAGEMENT__SOURCE": "http"}, {"'$RUN'": last_repair})
    world.replaced["$RUN"] = last_repair
    world.replaced["/srv/levelset"] = lambda: str(clone)
    yield world
    server = warehouse.locate(clone)
    warehouse.stop(clone)
    shutil.rmtree(server.home, ignore_errors=True)


BREAK = """update analytics.outcomes set likes = 0
    where decision_id in (select decision_id from analytics.outcomes where likes > 0 limit 3)"""
ORDERS = """create table public.orders as
    select n as id, cast(n * 1.5 as numeric(12, 2)) as amount from generate_series(1, 9) as s(n)"""


@pytest.mark.long
def test_every_command_of_this_project_does_what_it_says(ours: World) -> None:
    collect = command("dlt", "pipeline", "engagement", "run", "--job", "backfill", cwd=ours.folder, **ours.variables)
    assert collect.returncode == 0, collect.stderr
    ours.run("README.md")
    said = ours.said
    assert "warehouse is up" in said["levelset up"]
    assert "Metrics collection complete: " in said["dlt pipeline engagement run"]
    assert "Completed successfully" in said["dbt build"]
    assert "level (4 of 4 tables level)" in said["levelset run scheduled"]
    assert "level (run" in said["reconcile check"]
    assert json.loads(said["extract read answer.json --json"])["status"] == "ok"
    assert "extract due --job scheduled" in said

    server = warehouse.locate(ours.folder)
    assert command("dbt", "run", "-s", "+reconcile_history", cwd=ours.folder).returncode == 0
    with psycopg.connect(server.conninfo) as connection:
        told = connection.execute("select distinct verdict, verdict_before from analytics.reconcile_history").fetchall()
    assert set(told) == {("level", None), ("level", "level")}
    ours.run("docs/tutorials/quick-start.md")
    ours.run("docs/reference/collecting.md")
    ours.run("docs/how-to/read-a-report.md")
    with psycopg.connect(server.conninfo, autocommit=True) as connection:

        def broken() -> None:
            connection.execute(BREAK)

        ours.run("docs/how-to/repair-and-undo.md", rows_are_broken=("reconcile repair", broken))
        # its undo brought the drift back
        assert command("reconcile", "repair", "--apply", "--yes", cwd=ours.folder).returncode == 0
        ours.run("docs/reference/capture.md")
        _two_sides(ours, connection)
        ours.replaced["postgresql://me@db/shop"] = lambda: f"postgresql://postgres@/levelset?host={server.alias}"
        ours.run("docs/reference/reconcile.md")
        ours.run("docs/reference/diff.md")
        ours.run("docs/reference/repair.md", rows_are_broken=("reconcile repair", broken))
    ours.run("docs/how-to/schedules.md")


def _two_sides(world: World, connection: psycopg.Connection) -> None:
    """Tables and files that the reference compares with one another."""
    connection.execute("create table public.outcomes_before as table analytics.outcomes")
    connection.execute(ORDERS)
    orders = duckdb.sql("select range as id, cast(range * 1.5 as decimal(12, 2)) as amount from range(1, 10)")
    orders.write_parquet(str(world.folder / "orders.parquet"))
    rows = connection.execute("select tweet_id, likes_count from analytics.tweet_metrics").fetchall()
    lines = ["Post id,likes_count", *(f"{tweet},{'' if likes is None else likes}" for tweet, likes in rows)]
    (world.folder / "export.csv").write_text("\n".join(lines) + "\n")


@pytest.mark.long
def test_every_command_for_your_own_project_does_what_it_says(tmp_path: Path) -> None:
    project = DbtProject(tmp_path, None)
    model = "{{ config(materialized='incremental', unique_key='id') }} select * from {{ ref('truth') }}"
    project.write(
        {
            "dbt_project.yml": "name: own\nprofile: own\nflags: {send_anonymous_usage_stats: false}\n",
            "seeds/truth.csv": "id,v\n" + "".join(f"{n},{n * 10}\n" for n in range(1, 41)),
            "models/kept.sql": model,
        }
    )
    project.profile("own")
    built = command("dbt", "build", cwd=tmp_path)
    assert built.returncode == 0, built.stdout
    world = World(tmp_path)

    def broken() -> None:
        project.run("update kept set v = 21 where id = 2")

    world.run("docs/tutorials/own-project.md", a_row_is_broken=("reconcile check --report html", broken))
    assert "kept" in (tmp_path / "drift.html").read_text()
    [tested] = re.findall(r"```yaml\n(models:.*?)```", (ROOT / "docs/tutorials/own-project.md").read_text(), re.DOTALL)
    project.write({"models/kept.yml": "version: 2\n" + tested})
    world.run("docs/how-to/ci.md")
    assert "reconciles_kept" in world.said["dbt build"]


def test_what_is_executed_elsewhere_is_executed_there() -> None:
    for test in ELSEWHERE.values():
        file, _, name = test.partition("::")
        assert f"def {name}" in (ROOT / file).read_text(), test


def test_no_page_with_commands_is_forgotten() -> None:
    """A new page has to be run by one of the two tests above."""
    source = Path(__file__).read_text()
    for page in PAGES:
        wanted = [line.text for line in lines_of(page) if line.text not in ELSEWHERE]
        assert not wanted or str(page.relative_to(ROOT)) in source.replace('" / "', "/"), page


def test_every_link_leads_to_a_page_and_a_heading() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            if target.startswith("http"):
                continue
            path, _, heading = target.partition("#")
            file = (page.parent / path) if path else page
            assert file.exists(), f"{page.name}: {target}"
            if heading:
                titles = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
                assert heading in {_anchor(title) for title in titles}, f"{page.name}: {target}"


def _anchor(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


@pytest.mark.parametrize(("script", "group"), [("levelset", levelset), ("extract", extract), ("reconcile", reconcile)])
def test_every_command_is_documented_and_has_help(script: str, group: click.Group) -> None:
    everything = "\n".join(page.read_text() for page in PAGES)
    for name, found in group.commands.items():
        assert f"{script} {name}" in everything or f"`{name}`" in everything, f"{script} {name}"
        assert found.help, name
        for parameter in found.params:
            if isinstance(parameter, click.Option) and not isinstance(parameter.type, click.Choice):
                assert parameter.help, f"{script} {name} {parameter.name}"
