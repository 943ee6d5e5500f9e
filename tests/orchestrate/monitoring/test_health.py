"""Health: limits, exit code, the text file for Prometheus, and a word to the webhook when it changes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from extract.due import Candidate, turns_waited
from extract.errors import ExtractError
from orchestrate.errors import Trouble
from orchestrate.monitoring.health import LIMITS, Health, HealthCheck, State, judge, keep, load_limits, tell_change

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


def health(*states: State) -> Health:
    found = (HealthCheck(check, state, 1.5, "so") for check, state in zip(LIMITS, states, strict=False))
    return Health("duckdb", NOW.isoformat(), tuple(found))


@pytest.mark.parametrize(
    ("check", "value", "state"),
    [
        ("overdue", None, State.OK),
        ("overdue", 1.9, State.OK),
        ("overdue", 2, State.WARN),
        ("overdue", 4, State.FAIL),
        ("zeros", 0, State.OK),
        ("zeros", 1, State.WARN),
        ("zeros", 2, State.FAIL),
        ("open_drift", 0, State.OK),
        ("open_drift", 1, State.FAIL),
        ("slot_lag", float("inf"), State.FAIL),
    ],
)
def test_a_finding_is_judged_by_its_limits(check: str, value: float | None, state: State) -> None:
    assert judge(check, value, "", LIMITS).state is state


def test_the_worst_finding_is_the_state_and_only_a_failure_the_exit_code() -> None:
    assert (health(State.OK, State.OK).state, health(State.OK).exit_code) == (State.OK, 0)
    assert (health(State.WARN, State.OK).state, health(State.WARN).exit_code) == (State.WARN, 0)
    assert (health(State.WARN, State.FAIL).state, health(State.FAIL).exit_code) == (State.FAIL, 1)


def test_limits_come_from_dlts_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEALTH__OVERDUE", "[3, 9]")
    assert load_limits() == {**LIMITS, "overdue": (3.0, 9.0)}
    monkeypatch.setenv("HEALTH__OVERDUE", "[3]")
    with pytest.raises(Trouble, match=r"health\.overdue must be two numbers"):
        load_limits()
    monkeypatch.setenv("HEALTH__OVERDU", "[3, 9]")
    with pytest.raises(ExtractError, match=r"did you mean overdue\?"):
        load_limits()


def test_the_wait_of_a_post_is_shown_in_intervals_of_its_schedule() -> None:
    def post(hours_old: float, last: float | None) -> Candidate:
        read = NOW - timedelta(hours=last) if last is not None else None
        return Candidate("1", "d", "single", NOW - timedelta(hours=hours_old), last_collected_at=read)

    assert turns_waited(post(0.5, 1 / 6), NOW) == pytest.approx(1)
    assert turns_waited(post(48, 12), NOW) == pytest.approx(2)
    assert turns_waited(post(0.5, None), NOW) == pytest.approx(3)  # since it was posted


def test_the_text_file_is_what_prometheus_reads(tmp_path: Path) -> None:
    file = tmp_path / "levelset.prom"
    keep(file, health(State.OK, State.WARN, State.FAIL).prometheus())

    lines = file.read_text().splitlines()
    assert 'levelset_health_state{check="overdue",target="duckdb"} 0' in lines
    assert 'levelset_health_state{check="loads",target="duckdb"} 1' in lines
    assert 'levelset_health_state{check="quarantined",target="duckdb"} 2' in lines
    assert 'levelset_health_value{check="overdue",target="duckdb"} 1.5' in lines
    assert f'levelset_health_timestamp_seconds{{target="duckdb"}} {NOW.timestamp():.0f}' in lines
    assert all(line.startswith(("# HELP ", "# TYPE ", "levelset_health_")) for line in lines)
    assert [file] == list(tmp_path.iterdir())
    with pytest.raises(Trouble, match="cannot write"):
        keep(file / "levelset.prom", "")


@pytest.fixture
def hook() -> Iterator[tuple[str, list[dict[str, object]], list[int]]]:
    """A local webhook: its address, the bodies it was sent, and the codes that it answers with."""
    told: list[dict[str, object]] = []
    codes = [200]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(codes[0])
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/hook", told, codes
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_webhook_gets_a_change_once_and_again_where_it_did_not_take_it(
    hook: tuple[str, list[dict[str, object]], list[int]], tmp_path: Path
) -> None:
    address, told, codes = hook
    tell_change(health(State.OK), tmp_path, address)
    assert told == []  # well at first is no change
    codes[0] = 500
    tell_change(health(State.FAIL), tmp_path, address)
    codes[0] = 200
    tell_change(health(State.FAIL), tmp_path, address)
    tell_change(health(State.FAIL), tmp_path, address)
    tell_change(health(State.OK), tmp_path, address)

    assert [(body["before"], body["state"]) for body in told] == [("ok", "fail"), ("ok", "fail"), ("fail", "ok")]
    assert told[0]["text"] == "levelset: ok -> fail"
