"""A whole system in miniature: a clone with its embedded Postgres, a local site with a clock that is set, and jobs."""

from __future__ import annotations

import base64
import json
import logging
import os
import pickle
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg

from extract.errors import ExtractError
from extract.reading.record import COUNTERS
from extract.site.account import Account
from extract.site.scene import Clock
from extract.site.server import Site
from orchestrate.dbt import environment
from orchestrate.errors import Trouble
from orchestrate.jobs.run_job import JobRun, run_job
from orchestrate.servers import postgres as warehouse
from orchestrate.servers.cluster import run_program
from orchestrate.servers.location import Server
from orchestrate.targets import Target
from reconcile.dbt.project import Options
from reconcile.repair.run import RepairRequest, repair_run
from reconcile.report.progress import Watcher
from tests.support.zygote import Acted, Zygote, zygote

START = datetime(2026, 7, 1, 12, tzinfo=UTC)
STAGED = ("real_tweet_metrics", "quarantined_metrics", "follower_snapshots")


@dataclass
class House:
    """``run`` and ``repair`` raise what those raise; ``kill`` runs a job in a child and kills it."""

    folder: Path
    site: Site
    server: Server
    children: Callable[[], Zygote]
    crashed: bool = False

    @property
    def target(self) -> Target:
        return Target("embedded", self.folder)

    def run(self, job: str = "scheduled", wait: float = 10.0) -> JobRun:
        return run_job(self.target, job, wait, site=self.site)

    def trouble(self, hours: float = 1, runs: int = 1) -> str:
        """What a run says that fails as users see it; empty where none of ``runs`` does, ``hours`` apart."""
        for _ in range(runs):
            self.site.clock.advance(hours * 3600)
            try:
                self.run()
            except (Trouble, ExtractError) as error:
                return str(error)
        return ""

    def kill(self, job: str, after: float) -> bool:
        """Whether it was killed, and had not ended by itself within ``after`` seconds."""
        return self._child(job, killed_after=after).code == -signal.SIGKILL

    def interrupt(self, phase: str) -> int:
        """Press Ctrl-C in a phase of a job, in a child: 130 where that ended it, and as itself."""
        return self._child("scheduled", phase).code

    def _child(self, job: str, phase: str | None = None, killed_after: float | None = None) -> Acted:
        account = base64.b64encode(pickle.dumps(self.site.account)).decode()
        told = [str(self.folder), job, self.site.url, self.site.clock.now().isoformat(), account, phase]
        return self.children().act(told, killed_after)

    def repair(self) -> int:
        options = Options(project_dir=self.folder, profiles_dir=self.folder, target="embedded")
        asked = RepairRequest(None, True, True, 10_000, 100.0, lambda plan: True)
        with environment(self.target.environment()):
            return repair_run(options, asked, Watcher()).exit_code

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.server.conninfo) as connection:
            return connection.execute(query).fetchall()

    def execute(self, *statements: str) -> None:
        with psycopg.connect(self.server.conninfo, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def restart(self) -> None:
        """As after a crash of the machine: connections are cut, and it recovers from its log."""
        self.crashed = True
        run_program(self.server, "pg_ctl", "--wait", "--silent", "--mode=immediate", "-D", self.server.data, "stop")
        warehouse.start(self.folder)

    def check_truth(self) -> int:
        """Every accepted reading is what the site had then, and no attempt exists twice. How many there are."""
        columns = ", ".join(COUNTERS)
        accepted = self.rows(
            f"select tweet_id, collected_at, {columns} from staging.real_tweet_metrics where verdict = 'accepted'"
        )
        for tweet_id, at, *values in accepted:
            truth = self.site.truth(tweet_id, at)
            assert truth is not None
            for name, value in zip(COUNTERS, values, strict=True):
                assert value in (None, getattr(truth, name)), (tweet_id, at, name, value)
        for table in STAGED:
            counted = self.rows(f"select count(*), count(distinct snapshot_id) from staging.{table}")[0]
            assert counted[0] == counted[1], table
        return len(accepted)

    def check_nothing_left(self) -> None:
        """No slot, lock, prepared or temporary table, and no file of a load that is not done."""
        assert self.rows("select slot_name from pg_replication_slots where temporary or not active") == []
        assert self.rows("select pid from pg_locks where locktype = 'advisory'") == []
        # of a session that a crash of the server cut off Postgres's autovacuum drops them, within minutes
        assert self.crashed or self.rows("select relname from pg_class where relpersistence = 't'") == []
        assert self.rows("select relname from pg_class where relname ~ '__dbt_(tmp|backup)' and relkind <> 'i'") == []
        assert self.rows("select count(*) from pg_stat_activity where state ~ 'transaction'") == [(0,)]
        packages = self.folder / ".levelset" / "dlt" / "pipelines" / "engagement" / "load"
        assert [path for name in ("new", "normalized") for path in (packages / name).glob("*")] == []
        assert list(self.folder.rglob(".*.half")) == []


def act(line: str) -> None:
    """A job in a child, as ``House`` tells it: the site is its parent's."""
    folder, job, url, now, account, phase = json.loads(line)
    if phase is not None:
        log = logging.getLogger("orchestrate")
        log.setLevel("INFO")
        log.addHandler(_Presses(f"{job}: {phase}"))
    clock = Clock(datetime.fromisoformat(now))
    site: Any = SimpleNamespace(url=url, clock=clock, account=pickle.loads(base64.b64decode(account)))
    run_job(Target("embedded", Path(folder)), job, 10.0, site=site)


class _Presses(logging.Handler):
    """Sends this process SIGINT from the moment on that a line is logged, each second until that has an effect."""

    def __init__(self, line: str) -> None:
        super().__init__(logging.INFO)
        self._line = line

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage() == self._line:
            threading.Thread(target=self._press, daemon=True).start()

    def _press(self) -> None:
        time.sleep(0.15)
        while True:  # dbt may lose one that comes while it parses: a user presses again
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)


@contextmanager
def a_house(folder: Path, posts_per_day: int = 6, days: int = 4) -> Iterator[House]:
    """In ``folder``, a clone. Reads over HTTP, so that a job costs what dlt, dbt and the check cost."""
    settings = {"SOURCES__ENGAGEMENT__SOURCE": "http"}
    before = {name: os.environ.get(name) for name in ("PGHOST", *settings)}
    working = Path.cwd()
    os.environ.update(settings)
    os.environ.pop("PGHOST", None)
    os.chdir(folder)
    server = warehouse.start(folder)
    warehouse.ensure_schemas(server, "staging", "analytics")
    try:
        with Site(Account(days=days, per_day=posts_per_day), Clock(START)) as site, ExitStack() as stack:
            imports = "import dbt.cli.main, dlt\nfrom tests.support.scheduled_project import act"

            @cache
            def children() -> Zygote:
                return stack.enter_context(zygote(imports, "act(line)"))

            yield House(folder, site, server, children)
    finally:
        os.chdir(working)
        warehouse.stop(folder)
        shutil.rmtree(server.home, ignore_errors=True)
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
