"""What a user sees and can do while reconcile runs: progress, Ctrl-C, a table that a build holds; and doctor."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from reconcile.compare import key_ranges as pieces
from reconcile.dbt.project import Options
from reconcile.engines.duckdb import DuckDBEngine
from reconcile.model_check.doctor import Level, examine
from reconcile.model_check.run import check
from reconcile.render import progress
from reconcile.render.progress import LineProgress
from reconcile.report import progress as watching
from reconcile.report.model import Verdict
from reconcile.report.progress import Watcher, polled
from tests.conftest import command
from tests.support.dbt_projects import DbtProject, Templates, judged, table
from tests.support.event_stream import build_stream, event_rows

SLOW = {
    "postgres": "select user_id, plan from {{ source('raw', 'users') }} where user_id <> (select -count(*)"
    " from generate_series(1, {{ var('slow', 0) }} * 3000::bigint) a (n),"
    " generate_series(1, {{ var('slow', 0) }} * 3000::bigint) b (n) where a.n * b.n = -7)",
    "duckdb": "select user_id, plan from {{ source('raw', 'users') }} where user_id <> (select count(*)"
    " from range({{ var('slow', 0) }} * 3000) a, range({{ var('slow', 0) }} * 3000) b where a.range * b.range = 7)",
}
RECONCILE = Path(sys.executable).parent / "reconcile"
# a shell's background job, as CI may be one, has its children ignore Ctrl-C
HEEDING_CTRL_C = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
)


@pytest.fixture
def stream(templates: Templates, engine_kind: str, tmp_path: Path) -> Iterator[DbtProject]:
    with templates.copy(build_stream, engine_kind, tmp_path / "stream") as project:
        yield project


@pytest.fixture
def on_postgres(templates: Templates, tmp_path: Path) -> Iterator[DbtProject]:
    with templates.copy(build_stream, "postgres", tmp_path / "stream") as project:
        yield project


def options(project: DbtProject, *select: str, lock_timeout: float = 10.0) -> Options:
    return Options(project_dir=project.folder, profiles_dir=project.folder, select=select, lock_timeout=lock_timeout)


def test_progress_tells_keys_rate_and_time_left(
    on_postgres: DbtProject, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_postgres.run(event_rows(1000, 9000))
    on_postgres.dbt("build", "-s", "+events")
    name = table(judged(on_postgres, "events"), "events").relation
    on_postgres.run(f"alter table {name} add primary key (event_id)", f"analyze {name}", "analyze raw.events")
    monkeypatch.setattr(pieces, "_ROWS", 2_000)
    monkeypatch.setattr(pieces, "_DEARER", 100.0)
    monkeypatch.setattr(progress, "_EVERY", 0.0)
    check(options(on_postgres, "events"), watcher=LineProgress())
    lines = capsys.readouterr().err.splitlines()

    told = [line for line in lines if " of about " in line]
    assert len(told) >= 4
    assert all(line.startswith("events: ") and " keys, " in line and "/s, " in line for line in told)
    assert told[-1].startswith("events: 8,061 of about 8,0")
    assert told[-1].endswith(" 0 s left")
    assert lines[-1].startswith("events: level (")


def test_a_terminal_gets_bars_and_one_line_per_model(on_postgres: DbtProject) -> None:
    leader, follower = pty.openpty()
    arguments = [RECONCILE, "check", "-s", "events", "plan_changes", "--profiles-dir", ".", "--output", "json"]
    environment = {**os.environ, "NO_COLOR": "1"}
    run = subprocess.Popen(arguments, cwd=on_postgres.folder, stderr=follower, stdout=subprocess.PIPE, env=environment)
    os.close(follower)
    seen = ""
    with suppress(OSError), os.fdopen(leader, encoding="utf-8") as terminal:  # EIO: the other end is closed
        while read := terminal.read(1):
            seen += read
    run.communicate(timeout=30)

    assert run.returncode == 0
    assert "reading the dbt project" in seen
    assert "events: level (" in seen
    assert "plan_changes: level (" in seen
    assert "\x1b[3" not in seen, "NO_COLOR asks for no colours"


def test_duckdb_tells_the_share_that_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    class Heard(Watcher):
        def share(self, name: str, done: float) -> None:
            shares.append(done)

    shares: list[float] = []
    monkeypatch.setattr(watching, "_POLLED", 0.02)
    engine = DuckDBEngine(":memory:")
    engine.execute("create table t as select range as id, md5(cast(range as varchar)) as v from range(3000000)")
    with polled(engine, "t", Heard()):
        engine.one("select count(*) from t a full join t b on a.id = b.id where a.v is distinct from b.v")
    engine.close()

    assert shares
    assert any(0 < share <= 1 for share in shares)


def test_ctrl_c_while_dbt_works_leaves_130(on_postgres: DbtProject) -> None:
    running = started(on_postgres, "events")
    while cpu_seconds(running) < 1.5:  # dbt is imported by then, and at work for seconds more
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=30)

    assert (running.returncode, out) == (130, ""), err
    assert "Traceback" not in err


def started(project: DbtProject, select: str, *more: str) -> subprocess.Popen[str]:
    """A check in a separate process."""
    arguments = [RECONCILE, "check", "-s", select, "--profiles-dir", ".", *more]
    return subprocess.Popen(
        [sys.executable, "-c", HEEDING_CTRL_C, *arguments],
        cwd=project.folder,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def cpu_seconds(running: subprocess.Popen[str]) -> float:
    fields = Path(f"/proc/{running.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.long
def test_ctrl_c_stops_the_statement_and_leaves_130(stream: DbtProject, engine_kind: str) -> None:
    config = "{{ config(materialized='incremental', unique_key='user_id') }}\n"
    stream.write({"models/slow.sql": config + SLOW[engine_kind]})
    # in a separate process: dbt's would keep the DuckDB file to itself
    assert command("dbt", "run", "-s", "slow", "--profiles-dir", ".", cwd=stream.folder).returncode == 0
    running = started(stream, "slow", "--vars", "{slow: 40}")
    try:
        interrupt(stream, running, engine_kind)
    finally:
        running.kill()


def interrupt(stream: DbtProject, running: subprocess.Popen[str], engine_kind: str) -> None:
    deadline = time.monotonic() + 60
    if engine_kind == "postgres":
        while not backends(stream, "state = 'active'"):
            assert time.monotonic() < deadline, "the statement never began"
            time.sleep(0.05)
    else:
        while cpu_seconds(running) < 8:  # dbt takes about 5; DuckDB does not show its work
            assert time.monotonic() < deadline, "the statement never began"
            time.sleep(0.1)
    began = time.monotonic()
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=30)

    assert running.returncode == 130, err
    assert time.monotonic() - began < 10
    assert (out, err.splitlines()[-1]) == ("", "Interrupted: no transaction was left open")
    if engine_kind == "postgres":
        assert not backends(stream, "true")


def backends(project: DbtProject, condition: str) -> list[tuple[object, ...]]:
    return project.rows(
        "select query from pg_stat_activity where application_name = 'reconcile'"
        f" and datname = current_database() and query like '%b.n = -7%' and pid <> pg_backend_pid() and {condition}"
    )


def test_a_table_that_a_build_holds_is_an_error_after_the_timeout(on_postgres: DbtProject) -> None:
    assert on_postgres.database is not None
    name = table(judged(on_postgres, "events"), "events").relation
    with psycopg.connect(on_postgres.database.conninfo) as holder:
        holder.execute(f"lock table {name} in access exclusive mode")
        began = time.monotonic()
        report = check(options(on_postgres, "events", "plan_changes", lock_timeout=0.5))

    found = table(report, "events")
    assert time.monotonic() - began < 15
    assert (found.verdict, report.exit_code) == (Verdict.ERROR, 2)
    assert found.error is not None
    assert "another session (a running build?) holds the table, try again when it is done" in found.error
    assert table(report, "plan_changes").verdict is Verdict.LEVEL


def test_doctor_says_what_is_missing_and_how_to_fix_it(stream: DbtProject, engine_kind: str) -> None:
    findings = list(examine(options(stream)))
    said = {(finding.about, finding.level.value): finding for finding in reversed(findings)}

    assert not [finding for finding in findings if finding.level is Level.TROUBLE]
    assert ("Postgres 18" if engine_kind == "postgres" else "DuckDB ") in said["database", "fine"].said
    assert "as a multiset" in said["view_log", "warning"].said
    assert any("history" in f.said and f.mend == "declare loaded_at_field on the source" for f in findings)
    if engine_kind == "postgres":
        assert any(f.mend == "add indexes=[{'columns': ['user_id'], 'unique': true}] to its config" for f in findings)
        assert any(f.about == "user_log" and (f.mend or "").startswith("analyze ") for f in findings)

    stream.write({"models/absent.sql": "{{ config(materialized='incremental') }} select 1 as a"})
    stream.write({"models/stamped.sql": "{{ config(materialized='incremental') }} select now() as a"})
    stream.dbt("run", "-s", "stamped")
    told = {f.about: f for f in examine(options(stream, "absent", "stamped")) if f.level is Level.TROUBLE}
    assert told["absent"].said.endswith("does not exist")
    assert told["absent"].mend == "dbt build -s absent"
    assert "now() decides all that could be compared" in told["stamped"].said
    if engine_kind == "duckdb":
        return  # this process has the file: no other can look at it
    run = command("reconcile", "doctor", "-s", "absent", "--profiles-dir", ".", cwd=stream.folder)
    assert run.returncode == 2
    assert "fix: dbt build -s absent" in run.stdout
    assert command("reconcile", "doctor", "-s", "events", "--profiles-dir", ".", cwd=stream.folder).returncode == 0


def test_doctor_names_what_a_role_may_not_do(on_postgres: DbtProject) -> None:
    assert on_postgres.database is not None
    name = table(judged(on_postgres, "events"), "events").relation
    role = f"reader_{on_postgres.database.name}"
    on_postgres.run(f"create role {role} login", f"grant usage on schema raw, public to {role}")
    profile = on_postgres.folder / "profiles.yml"
    profile.write_text(profile.read_text().replace("user: postgres", f"user: {role}"))
    try:
        told = {f.about: f for f in examine(options(on_postgres, "events")) if f.level is not Level.FINE}
        assert told["events"].said == "this role may not read its table"
        assert told["events"].mend == f'grant select on {name} to "{role}"'
        assert told["repair"].mend == f'create schema reconcile authorization "{role}"'
    finally:
        on_postgres.run(f"drop owned by {role}", f"drop role {role}")
