"""Faults while the jobs run unattended: after each fault the next run goes on, and nothing is lost or there twice."""

from __future__ import annotations

import gzip
import os
import random
import re
import resource
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg
import pytest
import stamina

from extract.errors import ExtractError
from extract.process_lock import hold
from extract.site.faults import Fault
from orchestrate.dbt import run_dbt
from orchestrate.errors import Trouble
from orchestrate.jobs.run_job import JobRun
from orchestrate.jobs.schedule import Schedule, load_cadence, read_state, state_path
from orchestrate.servers import postgres as warehouse
from orchestrate.targets import data_folder
from orchestrate.tracing import span, traced
from tests.conftest import make_clone
from tests.support.scheduled_project import House, a_house


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One house for all faults, each of which leaves it well. All its posts were read once."""
    folder = make_clone(tmp_path_factory.mktemp("house") / "clone")
    with a_house(folder) as house:
        assert house.run().exit_code == 0
        yield house


@pytest.fixture
def house(whole: House) -> Iterator[House]:
    """An hour later: posts are due again."""
    whole.site.clock.advance(3600)
    yield whole
    goes_on(whole)
    whole.check_nothing_left()


def goes_on(house: House) -> JobRun:
    """The next run is well, and what staging holds is what the site had."""
    house.site.clock.advance(600)
    done = house.run()
    assert done.exit_code == 0, done.line()
    assert house.check_truth() > 0
    return done


def killed(house: House, moments: random.Random, count: int) -> int:
    found = 0
    for turn in range(count):
        house.site.clock.advance(1200)
        found += house.kill(moments.choice(("scheduled", "velocity", "comprehensive")), moments.uniform(0.05, 2.5))
        if turn % 10 == 9:
            goes_on(house)
    return found


@pytest.mark.long
def test_a_run_killed_at_any_moment_loses_nothing(house: House) -> None:
    assert killed(house, random.Random(4), 4) >= 2


@pytest.mark.long
@pytest.mark.parametrize("phase", ["collect", "build", "check"])
def test_ctrl_c_in_any_phase(house: House, phase: str) -> None:
    assert house.interrupt(phase) == 130


def test_a_server_that_crashes_in_mid_run(house: House) -> None:
    """Its log is replayed: what was committed is there, and what was not is loaded by the next run."""
    threading.Timer(0.6, house.restart).start()
    assert "\n" not in house.trouble()
    time.sleep(1)
    warehouse.start(house.folder)


def test_a_server_that_is_stopped_is_started_by_the_next_run(house: House) -> None:
    warehouse.stop(house.folder)
    assert house.run().exit_code == 0


def test_a_warehouse_that_has_become_read_only(house: House) -> None:
    before = house.rows("select count(*) from staging.real_tweet_metrics")
    house.execute("alter database levelset set default_transaction_read_only = on")
    try:
        assert "read-only transaction" in house.trouble()
    finally:
        with psycopg.connect(house.server.conninfo, autocommit=True) as connection:
            connection.execute("set default_transaction_read_only = off")
            connection.execute("alter database levelset reset default_transaction_read_only")
    assert house.rows("select count(*) from staging.real_tweet_metrics") == before


def test_a_warehouse_without_a_free_connection(house: House) -> None:
    """Everybody's seats are taken, also those kept for superusers."""
    [[most]] = house.rows("select setting::int from pg_settings where name = 'max_connections'")
    taken = []
    try:
        with suppress(psycopg.OperationalError):  # other sessions have some
            taken += [psycopg.connect(house.server.conninfo) for _ in range(most - 10)]
            while True:
                taken.append(psycopg.connect(house.server.conninfo))
        assert "too many clients" in house.trouble()
    finally:
        for connection in taken:
            connection.close()


def test_a_full_disk_of_the_warehouse(house: House) -> None:
    """No file of the server may grow beyond the size of this table's: what a full disk says, in that limit's words."""
    columns = "snapshot_id, detail, _dlt_load_id, _dlt_id"
    house.execute(
        "alter table staging.real_tweet_metrics set (autovacuum_enabled = off)",
        f"insert into staging.real_tweet_metrics ({columns})"
        " select 'filler' || n, repeat('x', 1000), '1.0', 'filler' || n from generate_series(1, 20000) as n",
        "delete from staging.real_tweet_metrics where snapshot_id like 'filler%'",
        "checkpoint",
    )
    [[size]] = house.rows("select pg_relation_size('staging.real_tweet_metrics')")
    warehouse.stop(house.folder)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        warehouse.start(house.folder)
        resource.setrlimit(resource.RLIMIT_FSIZE, before)  # the server has its own by now
        assert "File too large" in house.trouble()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        warehouse.stop(house.folder)
        warehouse.start(house.folder)
    house.execute(
        "vacuum full staging.real_tweet_metrics", "alter table staging.real_tweet_metrics reset (autovacuum_enabled)"
    )


@pytest.mark.parametrize("fault", ["unavailable_503", "rate_limited", "login_wall"])
def test_a_site_in_trouble_then_well_again(house: House, fault: str) -> None:
    house.site.faults[:] = [Fault("/i/api", fault)]
    with stamina.set_testing(True, attempts=2):  # without the waits between two tries
        if fault == "unavailable_503":
            assert re.search("none of .* could be read|does not answer", house.trouble())
        else:
            assert house.run().exit_code == 3
    house.site.faults.clear()
    house.site.clock.advance(3600)  # beyond the wait that a rate limit asks for


def test_a_clock_that_jumps_back_and_forth(house: House) -> None:
    """A reading of an hour that was read before is one more reading; nothing is taken for the future's."""
    before = house.check_truth()
    house.run()
    house.site.clock.advance(-5400)
    assert house.run().exit_code == 0
    house.site.clock.advance(86_400)
    assert house.run().exit_code == 0
    assert house.check_truth() >= before
    held = house.rows("select anomaly_reasons from staging.quarantined_metrics where anomaly_reasons::text ~ 'future'")
    assert held == []


def test_half_written_state_files(house: House) -> None:
    kept = [
        house.folder / "target" / "reconcile" / "builds.json",
        house.folder / "target" / "reconcile" / "proven.json",
        house.folder / "target" / "run_results.json",
        data_folder(house.folder) / "parked.json",
        state_path(house.folder),
    ]
    for path in kept:
        text = path.read_text() if path.exists() else '{"host": "2026'
        path.write_text(text[: len(text) // 2])
    assert read_state(house.folder) is None
    state_path(house.folder).unlink()
    state_path(house.folder).mkdir()  # nor is one that cannot be read a reason to fail
    assert read_state(house.folder) is None
    state_path(house.folder).rmdir()


def test_two_runs_at_once_wait_in_turn_and_say_for_whom(whole: House) -> None:
    lock = data_folder(whole.folder) / "run.lock"
    with hold(lock, "levelset run velocity", "x"), pytest.raises(ExtractError) as refused:
        whole.run(wait=0.1)
    assert "another `levelset run` is at work in" in str(refused.value)
    assert f"(levelset run velocity, process {os.getpid()}, since 20" in str(refused.value)


def test_two_builds_of_one_table_take_turns(whole: House) -> None:
    """The second one waits as long as configured, then names the holder."""
    key = "hashtext('levelset build'), hashtext('analytics.tweet_metrics')"
    with psycopg.connect(whole.server.conninfo) as connection:
        connection.execute(f"select pg_advisory_xact_lock({key})")
        with pytest.raises(Trouble) as refused:
            run_dbt(whole.target, "run", "--select", "tweet_metrics", "--vars", "build_wait: 1")
        assert "analytics.tweet_metrics is being built by another session (process" in str(refused.value)
        assert f"process {connection.info.backend_pid} of user postgres, since 20" in str(refused.value)


def test_a_schedule_goes_on_after_failures_and_stops_at_sigterm(whole: House) -> None:
    """With distinguishable jobs: the real ones are run by tests/test_docs.py."""
    ran: list[str] = []
    overlapping: list[str] = []
    lock = threading.Lock()

    def run(job: str) -> tuple[int, str]:
        if not lock.acquire(blocking=False):
            overlapping.append(job)
        try:
            ran.append(job)
            time.sleep(0.05)
            if job == "velocity":
                raise Trouble("no luck")
            if job == "comprehensive":
                raise ZeroDivisionError("a bug")
            state = read_state(whole.folder)
            assert state is not None
            assert state.jobs[job].running_since is not None
            if len(ran) > 12:
                with pytest.raises(ExtractError, match="another `levelset schedule` is at work") as refused:
                    Schedule(whole.folder, "embedded", {"detailed": 1}, run).run_until_stopped()
                assert "(levelset schedule --target embedded, process" in str(refused.value)
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(5)
            return 1, f"{job} ran"
        finally:
            lock.release()

    cadence = {"scheduled": 0.002, "velocity": 0.004, "comprehensive": 0.005, "detailed": 0.02}
    schedule = Schedule(whole.folder, "embedded", cadence, run)
    began = time.monotonic()
    assert schedule.run_until_stopped() == 0
    assert time.monotonic() - began < 10
    assert ran[:4] == list(cadence)
    assert ran.count("scheduled") > ran.count("detailed")
    assert overlapping == []
    jobs = schedule._state.jobs
    assert (jobs["scheduled"].exit_code, jobs["scheduled"].said) == (1, "scheduled ran")
    assert (jobs["velocity"].exit_code, jobs["velocity"].said) == (2, "no luck")
    assert (jobs["comprehensive"].exit_code, jobs["comprehensive"].said) == (2, "ZeroDivisionError: a bug")
    assert read_state(whole.folder) is None


def test_after_a_long_sleep_each_job_runs_once(whole: House) -> None:
    schedule = Schedule(whole.folder, "embedded", dict.fromkeys(("scheduled", "velocity"), 10.0), lambda job: (0, job))
    for job in ("scheduled", "velocity", "scheduled", "scheduled", "velocity"):  # all that came due meanwhile
        schedule._enqueue(job)
    assert [schedule._next(), schedule._next()] == ["scheduled", "velocity"]
    assert schedule._due == {}


def test_a_cadence_can_be_set_and_a_job_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCHEDULE__SCHEDULED", "5")
    monkeypatch.setenv("SCHEDULE__DETAILED", "0")
    assert load_cadence() == {"scheduled": 5, "velocity": 30, "comprehensive": 30}
    monkeypatch.setenv("SCHEDULE__VELOCITY", "often")
    with pytest.raises(Trouble, match=r"schedule\.velocity must be a number of minutes"):
        load_cadence()


def test_a_run_is_traced_where_the_standard_variables_say_so(whole: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """To a local collector: what arrives is OTLP, and says which part took how long and what came of it."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    bodies: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            body = self.rfile.read(int(self.headers["content-length"]))
            bodies.append(gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
    try:
        with traced():
            whole.site.clock.advance(3600)
            assert whole.run().exit_code == 0
    finally:
        server.shutdown()
        server.server_close()

    told = [ExportTraceServiceRequest.FromString(body) for body in bodies]
    resources = [group for request in told for group in request.resource_spans]
    named = {pair.key: pair.value.string_value for group in resources for pair in group.resource.attributes}
    assert named["service.name"] == "levelset"
    assert named["deployment.environment"] == "test"
    spans = {found.name: found for group in resources for scope in group.scope_spans for found in scope.spans}
    assert {"run scheduled", "collect", "build", "check"} <= spans.keys()
    root = spans["run scheduled"]
    assert all(spans[part].parent_span_id == root.span_id for part in ("collect", "build", "check"))
    assert {pair.key: pair.value.string_value for pair in root.attributes}["verdict"] == "level"
    assert root.end_time_unix_nano - root.start_time_unix_nano > 10**8


def test_a_collector_that_does_not_answer_costs_the_traces_and_not_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    began = time.monotonic()
    with traced(), span("run nothing"):
        pass
    assert time.monotonic() - began < 20
