"""What users type, from a clone: each step alone, then the demo, twice."""

from __future__ import annotations

import fcntl
import json
import re
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

from orchestrate.jobs.run_job import JobRun
from orchestrate.servers import postgres as warehouse
from reconcile import Report, Scope, TableReport, Verdict
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


@pytest.mark.long
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


@pytest.mark.long
def test_a_job_runs_end_to_end_with_one_line_and_one_exit_code(project: Path) -> None:
    """On DuckDB, whose one file collecting, dbt and reconcile open in turn in one process; tests/test_docs.py runs jobs
    on the embedded Postgres."""

    def run(code: int, *more: str) -> str:
        arguments = ("levelset", "run", "scheduled", "--target", "duckdb", *more)
        done = command(*arguments, cwd=project, SOURCES__ENGAGEMENT__SOURCE="http")
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr if code == 2 else done.stdout

    said = run(0)
    assert re.fullmatch(
        r"scheduled: \d+ updated, 0 skipped, 0 failed; \d+ passed; level \(4 of 4 tables level\); "
        r"collect \d+\.\d s, build \d+\.\d s, check \d+\.\d s\n",
        said,
    )

    def health(*more: str, code: int) -> dict[str, str]:
        done = command("levelset", "health", "-t", "duckdb", "--output", "json", *more, cwd=project)
        assert done.returncode == code, done.stdout + done.stderr
        found = json.loads(done.stdout)
        return {finding["check"]: finding["state"] for finding in found["findings"]} | {"": found["state"]}

    # twenty of three hundred posts are read: the others are overdue, and nothing else is wrong
    others = {
        "loads": "ok",
        "quarantined": "ok",
        "zeros": "ok",
        "open_drift": "ok",
        "unproven": "ok",
        "disk_used": "ok",
    }
    assert health("--prometheus", "levelset.prom", code=1) == {"": "fail", "overdue": "fail", **others}
    assert 'levelset_health_state{check="overdue",target="duckdb"} 2' in (project / "levelset.prom").read_text()
    lock = project / ".levelset" / "dlt" / "run.lock"
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        assert "another `levelset run` is at work" in run(2, "--wait", "0.6")


def test_a_jobs_exit_code_tells_drift_from_trouble_from_a_wall() -> None:
    def code(verdict: Verdict, wall: str | None = None) -> int:
        table = TableReport("t", None, "t", (), verdict, Scope("sweep", ""))
        return JobRun("velocity", "", wall, "", Report("r", "check", "t", "", "", (table,)), {}).exit_code

    assert [code(verdict) for verdict in Verdict] == [0, 1, 2, 2]
    assert code(Verdict.LEVEL, "rate_limited") == 3
    assert code(Verdict.DRIFT, "rate_limited") == 1
    assert code(Verdict.UNVERIFIED, "rate_limited") == 2


def demo_is_level(said: str) -> None:
    assert "could not be" not in said
    assert "found exactly the 10 broken rows, repaired them, level again" in said
    assert "5 missing, 1 extra, 3 changed, 1 duplicate" in said
    assert "Level again" in said


@pytest.mark.long
def test_the_demo_finds_what_it_broke_after_a_killed_one(project: Path) -> None:
    program = Path(sys.executable).parent / "levelset"
    process = subprocess.Popen(
        [program, "demo", "--source", "http"], cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "dbt build (full)" in line:  # loaded, and being built
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


@pytest.mark.long
def test_without_any_browser_the_run_reads_over_http_and_says_so(project: Path) -> None:
    # nothing on PATH, an empty cache, no npm: every step of the search comes to nothing
    empty = project / "empty"
    empty.mkdir()
    variables = {"PATH": str(empty), "XDG_CACHE_HOME": str(empty), "PLAYWRIGHT_BROWSERS_PATH": str(empty)}
    run = ("dlt", "pipeline", "engagement", "run", "--target", "duckdb", "--log-format", "json")
    said = ran(*run, cwd=project, **variables)

    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert "No Chromium found and none could be fetched: reading over HTTP instead" in said
    assert lines[-1]["message"] == "Metrics collection complete: 20 updated, 0 skipped, 0 failed"
    assert (lines[-1]["updated"], lines[-1]["job"]) == (20, "scheduled")
    updated = [line for line in lines if line["message"].startswith("Updated ")]
    assert len(updated) == 20
    assert all(line["likes"] is not None and line["run_id"] == lines[-1]["run_id"] for line in updated)


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


def test_a_wall_has_a_separate_exit_code(project: Path) -> None:
    from extract.site.faults import Fault
    from extract.site.server import Site

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
