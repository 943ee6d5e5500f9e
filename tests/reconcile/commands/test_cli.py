"""The command line on a real project: what goes to stdout, what to stderr, and the exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from tests.conftest import ROOT, command
from tests.support.dbt_projects import DbtProject

SCHEMA = json.loads((ROOT / "reconcile" / "schemas" / "report.schema.json").read_text())
PLAN_SCHEMA = json.loads((ROOT / "reconcile" / "schemas" / "plan.schema.json").read_text())
FILES = {
    "dbt_project.yml": "name: tiny\nprofile: shop\nflags: {send_anonymous_usage_stats: false}\n",
    "models/kept.sql": "{{ config(materialized='incremental', unique_key='id') }} select id, v from raw.truth",
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> DbtProject:
    """One model of forty rows on DuckDB, level."""
    project = DbtProject(tmp_path_factory.mktemp("tiny"), None)
    project.write(FILES)
    project.profile("shop")
    project.run("create schema raw", "create table raw.truth as select n as id, n * 2 as v from range(1, 41) t(n)")
    # dbt in this process would keep the DuckDB file open, and one process may have it
    built = command("dbt", "build", "--profiles-dir", project.folder, cwd=project.folder)
    assert built.returncode == 0, built.stdout
    assert command("reconcile", "check", "-q", cwd=project.folder).returncode == 0  # a past run, for what reads them
    return project


def test_the_whole_way_from_level_to_drift_to_level(tiny: DbtProject, tmp_path: Path) -> None:
    level = command("reconcile", "check", "--output", "json", cwd=tiny.folder)
    body = json.loads(level.stdout)
    jsonschema.validate(body, SCHEMA)
    assert (level.returncode, body["verdict"], body["exit_code"]) == (0, "level", 0)
    assert "kept: level" in level.stderr

    tiny.run("update kept set v = 0 where id = 7", "delete from kept where id = 8", "insert into kept values (99, 1)")
    reports = [f"--report={kind}={tmp_path / kind}" for kind in ("json", "markdown", "junit", "html", "github")]
    drifted = command("reconcile", "check", "-q", *reports, cwd=tiny.folder)
    assert drifted.returncode == 1
    assert "1 missing, 1 extra, 1 changed" in drifted.stdout
    assert "next: reconcile repair -s kept" in drifted.stdout
    assert drifted.stderr == ""
    assert all((tmp_path / kind).stat().st_size > 100 for kind in ("json", "markdown", "junit", "html", "github"))

    refused = command("reconcile", "repair", "--apply", "--yes", "--output", "json", cwd=tiny.folder)
    assert refused.returncode == 2
    assert "--allow-delete" in json.loads(refused.stdout)["error"]
    unasked = command("reconcile", "repair", "--apply", "--allow-delete", cwd=tiny.folder)
    assert unasked.returncode == 2
    assert "pass --yes to apply without confirmation" in unasked.stderr

    plan = tmp_path / "plan.json"
    planned = command("reconcile", "repair", "--plan", plan, "--sql", tmp_path / "plan.sql", cwd=tiny.folder)
    assert planned.returncode == 1
    assert "kept  1 to insert, 1 to update, 1 to delete" in planned.stdout
    assert "nothing was written" in planned.stdout
    assert (tmp_path / "plan.sql").read_text().count('"main"."kept"') >= 3
    jsonschema.validate(json.loads(plan.read_text()), PLAN_SCHEMA)

    applied = command(
        "reconcile", "repair", "--plan", plan, "--apply", "--yes", "--allow-delete", "--output", "json", cwd=tiny.folder
    )
    body = json.loads(applied.stdout)
    jsonschema.validate(body, SCHEMA)
    assert (applied.returncode, body["verdict"], body["repair"]["rows"]) == (
        0,
        "level",
        {"insert": 1, "update": 1, "delete": 1},
    )
    assert tiny.rows("select count(*), sum(v) from kept") == tiny.rows("select count(*), sum(v) from raw.truth")

    taken_back = command("reconcile", "undo", body["repair"]["run_id"], "--apply", cwd=tiny.folder)
    assert taken_back.returncode == 0
    assert tiny.rows("select v from kept where id = 7") == [(0,)]
    keep = ("--journal-days", "30")
    again = command("reconcile", "repair", "--apply", "--yes", "--allow-delete", "-q", *keep, cwd=tiny.folder)
    assert again.returncode == 0

    listed = command("reconcile", "history", "--output", "json", cwd=tiny.folder)
    verdicts = [(run["command"], run["verdict"]) for run in json.loads(listed.stdout)]
    assert verdicts[-6:] == [
        ("check", "level"),
        ("check", "drift"),
        ("repair", "drift"),
        ("repair", "level"),
        ("undo", "unverified"),
        ("repair", "level"),
    ]
    undone = command("reconcile", "history", cwd=tiny.folder)
    assert f"undid {body['repair']['run_id']}: 1 inserted, 1 updated, 1 deleted, 0 stale" in undone.stdout
    shown = command("reconcile", "show", cwd=tiny.folder)
    assert "repaired: 1 inserted, 1 updated, 1 deleted" in shown.stdout
    page = command("reconcile", "report", "latest", "--html", tmp_path / "again.html", cwd=tiny.folder)
    assert page.returncode == 0
    assert "Take it back with" in (tmp_path / "again.html").read_text()


def test_several_models_after_one_flag_as_dbt_takes_them(tiny: DbtProject) -> None:
    found = command("reconcile", "check", "-s", "kept", "kept", "--output", "json", cwd=tiny.folder)

    assert found.returncode in (0, 1)
    assert [table["name"] for table in json.loads(found.stdout)["tables"]] == ["kept"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check", "-s", "kep"], "did you mean kept"),
        (["check", "--target", "nope"], "nope"),
        (["check", "--project-dir", "/nonexistent"], "no dbt_project.yml in /nonexistent"),
        (["check", "--fail-on", "wrong"], "the kinds are missing"),
        (["check", "--report", "pdf=x"], "give FORMAT=FILE"),
        (["check", "--no-such-flag"], "No such option"),
        (["show", "no-such-run"], "no run 'no-such-run'"),
        (["undo", "no-such-run"], "no"),
        (["repair", "--plan", "/nonexistent.json", "--apply"], "cannot read the plan"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(tiny: DbtProject, arguments: list[str], said: str) -> None:
    found = command("reconcile", *arguments, cwd=tiny.folder)

    assert found.returncode == 2
    assert said in found.stderr
    assert "Traceback" not in found.stderr
    assert found.stdout == ""


def test_json_alone_is_on_stdout_even_when_the_run_fails(tiny: DbtProject) -> None:
    found = command("reconcile", "check", "-s", "nothing", "--output", "json", cwd=tiny.folder)
    body = json.loads(found.stdout)

    jsonschema.validate(body, SCHEMA)
    assert (found.returncode, body["verdict"], body["exit_code"], body["tables"]) == (2, "error", 2, [])


def test_a_wrong_password_is_never_printed(tiny: DbtProject, tmp_path: Path) -> None:
    canary = "hunter2-canary"
    profile = tmp_path / "profiles.yml"
    profile.write_text(
        "shop: {target: dev, outputs: {dev: {type: postgres, host: 127.0.0.1, port: 1, user: u, dbname: d, schema: s,"
        f" password: {canary}, connect_timeout: 1}}}}}}\n"
    )
    found = command("reconcile", "check", "--profiles-dir", tmp_path, "--output", "json", cwd=tiny.folder)

    assert found.returncode == 2
    assert canary not in found.stdout + found.stderr
    assert "127.0.0.1" in json.loads(found.stdout)["error"]


def test_help_shows_examples_and_imports_no_dbt(tiny: DbtProject) -> None:
    found = command("reconcile", "check", "--help", cwd=tiny.folder)
    assert found.returncode == 0
    assert "reconcile check -s outcomes --output json" in found.stdout
    assert "dbt's selection syntax" in found.stdout

    code = "import sys, reconcile.cli; print([m for m in ('dbt', 'dlt', 'duckdb', 'psycopg') if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout == "[]\n"  # dbt's import alone takes seconds: it waits until something needs it


def test_logs_are_json_lines_that_bear_the_runs_id_and_no_value_of_a_row(tiny: DbtProject, tmp_path: Path) -> None:
    """One stream of one form: progress too, and what went wrong. Level debug, on a table that drifted, says no more."""
    tiny.run("update kept set v = 424242 where id = 5")
    out = command(
        *("reconcile", "check", "--output", "json", "--log-format", "json", "--log-level", "debug"), cwd=tiny.folder
    )
    tiny.run("update kept set v = 10 where id = 5")
    lines = [json.loads(line) for line in out.stderr.splitlines()]

    assert "424242" in out.stdout
    assert "424242" not in out.stderr
    assert {line["run_id"] for line in lines} == {json.loads(out.stdout)["run_id"]}
    judged = next(line for line in lines if line.get("model") == "kept")
    assert (judged["level"], judged["verdict"], judged["keys_drifted"]) == ("info", "drift", 1)
    failed = command("reconcile", "check", "-s", "nope", "--log-format", "json", cwd=tiny.folder)
    assert [json.loads(line)["level"] for line in failed.stderr.splitlines()] == ["info", "error"]
    assert (failed.stdout, failed.returncode) == ("", 2)


def test_the_report_over_time_at_a_terminal_as_json_and_as_a_page(tiny: DbtProject, tmp_path: Path) -> None:
    for_people = command("reconcile", "report", cwd=tiny.folder)
    assert for_people.returncode == 0
    assert "kept" in for_people.stdout
    body = json.loads(command("reconcile", "report", "--output", "json", cwd=tiny.folder).stdout)
    assert [model["name"] for model in body["models"]] == ["kept"]
    page = command("reconcile", "report", "--html", tmp_path / "status.html", cwd=tiny.folder)
    assert page.stdout.strip() == str(tmp_path / "status.html")
    assert '<h2 id="models">' in (tmp_path / "status.html").read_text()
    unclear = command("reconcile", "report", "--junit", tmp_path / "x.xml", cwd=tiny.folder)
    assert unclear.returncode == 2
    assert "reconcile report latest --junit FILE" in unclear.stderr


def test_a_closed_pipe_keeps_the_exit_code_of_the_verdict(tiny: DbtProject) -> None:
    tiny.run("update kept set v = -1")
    script = f"{Path(sys.executable).parent / 'reconcile'} check -q --output json | head -c 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], cwd=tiny.folder, capture_output=True, text=True, check=False)
    tiny.run("update kept set v = id * 2")

    assert (done.returncode, done.stderr, len(done.stdout)) == (1, "", 1)


def test_errors_of_every_command_are_json_with_output_json(tiny: DbtProject) -> None:
    for arguments in (["undo", "no-such-run"], ["show", "no-such-run"]):
        found = command("reconcile", *arguments, "--output", "json", cwd=tiny.folder)
        body = json.loads(found.stdout)
        assert (found.returncode, found.stderr, body["exit_code"]) == (2, "", 2)
        assert "no-such-run" in body["error"]
