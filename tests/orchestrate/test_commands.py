"""What users type, from a clone: each step alone, then the demo, twice."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from orchestrate import warehouse
from tests.conftest import command


@pytest.fixture
def project(clone: Path) -> Iterator[Path]:
    yield clone
    server = warehouse.locate(clone)
    warehouse.stop(clone)
    shutil.rmtree(server.home, ignore_errors=True)


def ran(*arguments: str | Path, cwd: Path, code: int = 0, **variables: str) -> str:
    found = command(*arguments, cwd=cwd, **variables)
    assert found.returncode == code, found.stdout + found.stderr
    assert "Traceback" not in found.stderr
    return found.stdout + found.stderr


def test_dlt_keeps_its_own_commands_and_ours_wake_a_sleeping_warehouse(project: Path) -> None:
    """The steps alone, as the README has them, are run by tests/test_docs.py."""
    ran("dlt", "pipeline", "engagement", "run", "--source", "http", cwd=project)
    info = ran("dlt", "pipeline", "engagement", "info", cwd=project)
    assert "Found pipeline engagement in" in info
    assert ".levelset/dlt/pipelines" in info
    assert "run" in ran("dlt", "pipeline", "--help", cwd=project)

    assert "warehouse is down" in ran("levelset", "down", cwd=project)
    assert "False" in ran("levelset", "status", cwd=project, code=1)
    assert "1" in ran("levelset", "psql", "-tAc", "select 1", cwd=project)
    ran("levelset", "down", cwd=project)


def test_the_same_models_on_duckdb_and_on_any_postgres(project: Path, server: warehouse.Server) -> None:
    for target, variables in (
        ("duckdb", {}),
        ("postgres", {"PGHOST": str(server.socket), "PGDATABASE": "anywhere", "PGUSER": "postgres"}),
    ):
        if target == "postgres":
            with psycopg.connect(server.conninfo, dbname="postgres", autocommit=True) as connection:
                connection.execute("create database anywhere")
        arguments = (
            "dlt",
            "pipeline",
            "engagement",
            "run",
            "--job",
            "detailed",
            "--source",
            "http",
            "--target",
            target,
        )
        assert "0 failed" in ran(*arguments, cwd=project, **variables)
        ran("dbt", "build", "--target", target, cwd=project, **variables)
    found = command("reconcile", "check", "-t", "duckdb", "--output", "json", cwd=project)
    body = json.loads(found.stdout)
    assert (found.returncode, body["verdict"], body["target"]) == (0, "level", "duckdb")
    # two targets of one profile hold what two runs read: the same posts, seconds apart
    sides = ("duckdb:analytics.learning_posts", "postgres:analytics.learning_posts")
    columns = ("--columns", "decision_id,content,format,topic,decision_type")
    found = command("reconcile", "diff", *sides, "--key", "tweet_id", *columns, cwd=project, **variables)
    assert found.returncode == 0, found.stdout + found.stderr


def demo_is_level(said: str) -> None:
    assert "could not be told" not in said
    assert "found exactly the 10 broken rows, mended them, level again" in said
    assert "5 missing, 1 extra, 3 changed, 1 duplicate" in said
    assert "Level again" in said


def test_the_demo_finds_exactly_what_it_broke_also_when_an_earlier_one_was_killed(project: Path) -> None:
    program = Path(sys.executable).parent / "levelset"
    process = subprocess.Popen(
        [program, "demo", "--source", "http"], cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "a day later" in line:  # loaded and built once, and a second load under way
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    process.stdout.close()

    demo_is_level(ran("levelset", "demo", cwd=project))
    for path in (".levelset/demo/drift.html", ".levelset/demo/drift.json", "target/static_index.html"):
        assert (project / path).stat().st_size > 1000
    assert json.loads((project / ".levelset" / "demo" / "drift.json").read_text())["totals"]["missing"] == 5
    checked = command("reconcile", "check", "-q", cwd=project)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_demo_does_not_touch_a_warehouse_with_other_posts(project: Path) -> None:
    server = warehouse.start(project)
    with psycopg.connect(server.conninfo) as connection:
        connection.execute("create schema staging")
        connection.execute("create table staging.content_metadata as select '1850123456789012345' as tweet_id")
    said = ran("levelset", "demo", cwd=project, code=2)

    assert "holds posts that are not the demo's" in said
    with psycopg.connect(server.conninfo) as connection:
        assert connection.execute("select count(*) from staging.content_metadata").fetchone() == (1,)


def test_without_any_browser_the_run_reads_over_http_and_says_so(project: Path) -> None:
    # nothing on PATH, an empty cache, no npm: every step of the search comes to nothing
    empty = project / "empty"
    empty.mkdir()
    variables = {"PATH": str(empty), "XDG_CACHE_HOME": str(empty), "PLAYWRIGHT_BROWSERS_PATH": str(empty)}
    said = ran("dlt", "pipeline", "engagement", "run", "--target", "duckdb", cwd=project, **variables)

    assert "No Chromium found and none could be fetched: reading over HTTP instead" in said
    assert "18 updated" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dlt", "pipeline", "engagement", "run", "--target", "prod"], "no target 'prod' in profiles.yml"),
        (["dlt", "pipeline", "engagement", "run", "--job", "hourly"], "invalid choice: 'hourly'"),
        (["dlt", "pipeline", "other", "run"], "no pipeline 'other' here to run"),
        (
            ["dlt", "pipeline", "engagement", "run", "--content", "no.csv", "--target", "duckdb"],
            "no.csv does not exist",
        ),
        (["extract", "read", "no-such-file.json"], "cannot read no-such-file.json"),
        (["extract", "due", "--job", "hourly"], "no job 'hourly'"),
        (["extract", "site", "--now", "yesterday"], "is no ISO time"),
        (["levelset", "nonsense"], "No such command"),
    ],
)
def test_bad_input_is_one_clear_sentence(project: Path, arguments: list[str], said: str) -> None:
    found = command(*arguments, cwd=project)

    assert found.returncode == 2
    assert said in found.stdout + found.stderr
    assert "Traceback" not in found.stderr


def test_a_setting_that_names_no_browser_is_not_passed_over(project: Path) -> None:
    said = ran(
        "dlt", "pipeline", "engagement", "run", "--target", "duckdb", cwd=project, code=2, LEVELSET_CHROMIUM="/no/such"
    )
    assert "LEVELSET_CHROMIUM names /no/such, which is no executable file" in said


def test_real_hosts_are_off_unless_they_are_allowed(project: Path) -> None:
    variables = {"SOURCES__ENGAGEMENT__BASE_URL": "https://x.example"}
    said = ran("dlt", "pipeline", "engagement", "run", "--target", "duckdb", cwd=project, code=2, **variables)

    assert "allow_hosts" in said


def test_a_wall_has_an_exit_code_of_its_own(project: Path) -> None:
    from extract.site.server import Fault, Site

    with Site() as site:
        site.faults = [Fault("", "login_wall")]
        variables = {"SOURCES__ENGAGEMENT__BASE_URL": site.url, "SOURCES__ENGAGEMENT__SOURCE": "http"}
        rows = project / "posts.jsonl"
        rows.write_text("".join(json.dumps(row) + "\n" for row in site.account.content_rows(site.clock.now())))
        arguments = ("dlt", "pipeline", "engagement", "run", "--target", "duckdb", "--content", rows)
        said = ran(*arguments, cwd=project, code=3, **variables)

    assert "stopped: login_required" in said


def test_the_local_site_is_served_and_says_when_its_port_is_taken(project: Path) -> None:
    program = Path(sys.executable).parent / "extract"
    process = subprocess.Popen([program, "site", "--port", "0"], cwd=project, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    url = process.stdout.readline().split()[0]
    try:
        assert "Levelset local site" in httpx.get(url).text
    finally:
        process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == 0
    process.stdout.close()

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = ran("extract", "site", "--port", str(port), cwd=project, code=2)
    assert f"port {port} cannot be opened" in said


def test_outside_a_clone_the_commands_say_so(tmp_path: Path) -> None:
    said = ran("levelset", "up", cwd=tmp_path, code=2)

    assert "is not inside a levelset project" in said
