"""reconcile watch: drift is reported when it begins and when it ends, and repaired with --repair."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orchestrate.servers import postgres as warehouse
from reconcile.errors import ReconcileError
from reconcile.repair.guards import Guards
from reconcile.repair.session import Applied
from reconcile.report.model import TableReport, Verdict
from reconcile.watch import Follower, Listener
from tests.conftest import Database
from tests.support.capture_bench import CAPTURE, CaptureBench, captured

LOOSE = Guards(max_rows=10, max_percent=50, allow_delete=False)


class Heard(Listener):
    def __init__(self) -> None:
        self.tables: list[TableReport] = []
        self.said: list[str] = []

    def judged(self, table: TableReport) -> None:
        self.tables.append(table)

    def repaired(self, name: str, done: Applied) -> None:
        self.said.append(f"repaired {done.updated}")

    def refused(self, name: str, why: str) -> None:
        self.said.append(f"refused: {why}")

    def away(self, why: str) -> None:
        self.said.append("away")

    def back(self) -> None:
        self.said.append("back")


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait for a condition."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, "it never came to be"
        time.sleep(0.01)


@contextmanager
def following(bench: CaptureBench, guards: Guards | None = None) -> Iterator[Heard]:
    heard, stop = Heard(), threading.Event()
    follower = Follower(bench.project, heard, interval=0.1, guards=guards)
    thread = threading.Thread(target=follower.run, args=(stop,))
    thread.start()
    try:
        yield heard
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture
def bench(database: Database, tmp_path: Path) -> Iterator[CaptureBench]:
    with captured(database, tmp_path) as made:
        made.prove()
        yield made


def test_a_manual_update_is_reported_with_key_and_values(bench: CaptureBench) -> None:
    with following(bench) as heard:
        time.sleep(0.3)
        assert heard.tables == []  # it is level: there is nothing to tell
        bench.run("update kept set v = 99 where id = 2")
        until(lambda: heard.tables)
        [table] = heard.tables
        cell = table.samples[0].columns["v"]
        assert (table.verdict, table.scope.mode, table.samples[0].key) == (Verdict.DRIFT, "capture", {"id": "2"})
        assert (cell.expected, cell.actual) == ("12", "99")
        bench.run("update kept set v = 12 where id = 2")
        until(lambda: len(heard.tables) > 1)
        assert heard.tables[1].verdict is Verdict.LEVEL
        time.sleep(0.3)
        assert len(heard.tables) == 2  # the same drift is not reported twice


def test_drift_is_repaired_under_the_guards(bench: CaptureBench) -> None:
    with following(bench, LOOSE) as heard:
        bench.run("update kept set v = 99 where id = 2")
        until(lambda: heard.said)
        assert heard.said == ["repaired 1"]
        until(lambda: len(heard.tables) > 1)
        assert [table.verdict for table in heard.tables] == [Verdict.DRIFT, Verdict.LEVEL]
        assert bench.rows() == [(1, 18), (2, 12), (3, 15)]
        bench.run("update kept set v = 0")
        until(lambda: len(heard.said) > 1)
        assert "--max-percent allows 50" in heard.said[1]
        time.sleep(0.3)
        assert len(heard.said) == 2
    assert bench.check(CAPTURE).drift.changed == 3


def test_a_watch_continues_where_another_ended(bench: CaptureBench) -> None:
    with following(bench):
        pass
    bench.run("delete from kept where id = 1")
    with following(bench) as heard:
        until(lambda: heard.tables)
        assert (heard.tables[0].scope.mode, heard.tables[0].drift.missing) == ("capture", 1)


def test_without_capture_there_is_nothing_to_follow(database: Database, tmp_path: Path) -> None:
    with captured(database, tmp_path) as bench:
        pass
    with pytest.raises(ReconcileError, match=r"nothing to follow: its changes are not captured \(reconcile setup\)"):
        Follower(bench.project, Listener()).run(threading.Event())


def test_a_restart_of_the_server_loses_no_change(tmp_path_factory: pytest.TempPathFactory) -> None:
    project = tmp_path_factory.mktemp("w")
    server = warehouse.start(project)
    try:
        with captured(Database("postgres", str(server.socket)), project) as bench:
            bench.prove()
            with following(bench) as heard:
                time.sleep(0.3)
                warehouse.stop(project)
                until(lambda: "away" in heard.said)
                warehouse.start(project)
                bench.run("update kept set v = 99 where id = 2")
                until(lambda: heard.tables)
                assert heard.said == ["away", "back"]
                assert (heard.tables[0].scope.mode, heard.tables[0].drift.changed) == ("capture", 1)
    finally:
        warehouse.stop(project)
        shutil.rmtree(server.home, ignore_errors=True)
