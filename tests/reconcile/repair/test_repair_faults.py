"""Repair while others write, and while things break: nothing half, nothing twice, nothing of another's undone."""

from __future__ import annotations

import random
import resource
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from orchestrate.servers import postgres as warehouse
from reconcile.atomic_files import write_whole
from reconcile.errors import EvaluationFailed, ReconcileError, Refused
from reconcile.render.report_file import write_report
from reconcile.repair.guards import Guards
from reconcile.repair.plan_file import write_plan
from reconcile.repair.session import repair_session
from reconcile.report.model import Drift, Report, Verdict
from reconcile.state.folder import FolderState
from tests.conftest import Database
from tests.support.bench import LOOSE, Bench, postgres, project_on
from tests.support.zygote import zygote

MANY = Guards(max_rows=20_000, max_percent=100, allow_delete=True)


def broken(pg: Bench, rows: int) -> None:
    """``rows`` rows to write: a fifth are missing, the others changed."""
    pg.run(
        "drop table if exists truth, kept",
        "drop schema if exists reconcile cascade",
        f"create table truth as select n as id, n as v from generate_series(1, {rows}) n",
        "create table kept as select id, -v as v from truth where id % 5 <> 0",
        "alter table kept add primary key (id)",
    )


@pytest.mark.long
def test_a_repair_killed_at_fifty_moments_leaves_all_or_nothing(pg: Bench, database: Database) -> None:
    rows, chance = 5_000, random.Random(5)
    everything = Drift(missing=rows // 5, changed=rows - rows // 5)
    imports = (
        "from tests.conftest import Database\nfrom tests.support.bench import Bench, postgres, project_on\n"
        "from tests.reconcile.repair.test_repair_faults import MANY\n"
        "from reconcile.definition import nondeterminism"  # before it is forked
    )
    act = "Bench(project_on(postgres(Database(sys.argv[2], sys.argv[3])))).repair(MANY)"
    with zygote(imports, act, database.name, database.host) as child:
        outcomes = []
        broken(pg, rows)
        whole = child.act().seconds  # left alone, to know how long a repair takes
        outcomes.append(pg.verdict()[0])
        for _ in range(50):
            broken(pg, rows)
            child.act(killed_after=chance.uniform(0, whole))
            settled(database)
            verdict, drift = pg.verdict()
            outcomes.append(verdict)
            assert drift in (Drift(), everything)
            assert journaled(pg) == (rows if verdict is Verdict.LEVEL else 0)
            if verdict is Verdict.DRIFT:
                pg.repair(MANY)
                assert pg.verdict() == (Verdict.LEVEL, Drift())
                assert journaled(pg) == rows
    assert outcomes[0] is Verdict.LEVEL
    assert outcomes.count(Verdict.DRIFT) > 10  # it was hit while it worked, not after


def settled(database: Database) -> None:
    """Wait until the server has noticed that a killed client is gone."""
    deadline = time.monotonic() + 20
    query = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    while database.rows(query) != [(0,)]:
        assert time.monotonic() < deadline, "a killed repair still works in the server"
        time.sleep(0.02)


def journaled(pg: Bench) -> int:
    """Rows that the journal tells of, in one run; 0 where there is none."""
    if pg.rows("select to_regclass('reconcile.repair_row') is null") == [(True,)]:
        return 0
    [(rows, told)] = pg.rows(
        "select (select count(*) from reconcile.repair_row), coalesce(sum(inserted + updated + deleted), 0)"
        " from reconcile.repair"
    )
    assert rows == told
    return int(rows)


def test_writers_that_hammer_the_same_rows_lose_nothing(pg: Bench, database: Database) -> None:
    bench = Bench(project_on(postgres(database), ignore=frozenset({"touched"})))
    bench.run(
        "create table truth as select n as id, n as v, 0 as touched from generate_series(1, 500) n",
        "create table kept as select * from truth",
        "alter table kept add primary key (id)",
    )
    stop, touched = threading.Event(), [0, 0]

    def hammer(writer: int) -> None:
        chance = random.Random(writer)
        with psycopg.connect(database.conninfo, autocommit=True) as connection:
            while not stop.is_set():
                ids = sorted(chance.sample(range(1, 501), 3))
                with suppress(psycopg.errors.DeadlockDetected):  # between the writers: an UPDATE locks in any order
                    done = connection.execute(
                        "update kept set v = v + 1000, touched = touched + 1 where id = any(%s)", [ids]
                    )
                    touched[writer] += done.rowcount
                time.sleep(0.001)

    writers = [threading.Thread(target=hammer, args=(writer,)) for writer in range(2)]
    for writer in writers:
        writer.start()
    said = []
    try:
        for _ in range(15):
            with suppress(EvaluationFailed):  # a deadlock that the database ends at our cost: all was rolled back
                said.append(bench.repair(MANY))
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    bench.repair(MANY)

    assert sum(done.updated for done in said) > 0
    assert bench.verdict() == (Verdict.LEVEL, Drift())
    assert bench.rows("select sum(touched) from kept") == [(sum(touched),)]


def test_a_build_between_plan_and_apply_wins(pg: Bench, tmp_path: Path) -> None:
    pg.make("id integer, v integer", "(1, 1), (2, 2), (3, 3)", "(1, 9), (2, 9), (3, 3)")
    pg.plan(tmp_path / "plan.json")
    # what dbt's delete+insert does, of one of the two rows; then a source moves on under the other
    pg.run("delete from kept where id = 1", "insert into kept values (1, 1)", "update truth set v = 20 where id = 2")
    done = pg.apply(tmp_path / "plan.json")

    assert (done.updated, done.stale) == (0, 2)
    assert pg.rows() == [(1, 1), (2, 9), (3, 3)]


def test_a_build_that_holds_the_rows_is_waited_for_and_then_named(database: Database) -> None:
    connection = postgres(database)
    bench = Bench(project_on(type(connection)(**{**vars(connection), "lock_timeout": 0.3})))
    bench.make("id integer, v integer", "(1, 1), (2, 2)", "(1, 9), (2, 2)")
    with psycopg.connect(database.conninfo) as build:
        build.execute("update kept set v = 5 where id = 1")
        with pytest.raises(EvaluationFailed, match=r"kept: .*lock timeout: another session \(a running build\?\)"):
            bench.repair()
    assert bench.repair().updated == 1
    assert bench.rows() == [(1, 1), (2, 2)]


def test_a_row_that_is_committed_while_the_repair_waits_for_it_is_stale(pg: Bench, database: Database) -> None:
    pg.make("id integer, v integer", "(1, 1), (2, 2)", "(1, 9), (2, 9)")
    build = psycopg.connect(database.conninfo)
    build.execute("update kept set v = 7 where id = 1")
    waiting = threading.Timer(0.5, build.commit)
    waiting.start()
    done = pg.repair()
    waiting.join()
    build.close()

    assert (done.updated, done.stale) == (1, 1)
    assert pg.rows() == [(1, 7), (2, 2)]


def test_a_server_that_restarts_in_the_middle_leaves_nothing_half(tmp_path_factory: pytest.TempPathFactory) -> None:
    project = tmp_path_factory.mktemp("s")
    server = warehouse.start(project)
    try:
        bench = Bench(project_on(postgres(Database("postgres", str(server.socket)))))
        bench.make("id integer, v integer", "(1, 1), (2, 2)", "(1, 9), (2, 2)")
        bench.run(
            "create function slow(integer) returns boolean language plpgsql as"
            " $$ begin perform pg_sleep(30); return true; end $$",
            "alter table kept add constraint slow check (slow(v)) not valid",
        )
        stopping = threading.Timer(1.0, warehouse.stop, [project])
        stopping.start()
        with pytest.raises(EvaluationFailed, match=r"^kept: .*(terminat|shut|closed|server)"):
            bench.repair()
        stopping.join()
        warehouse.start(project)
        bench.run("alter table kept drop constraint slow")

        assert bench.rows() == [(1, 9), (2, 2)]
        assert bench.rows("select count(*) from reconcile.repair_row") == [(0,)]
        assert bench.repair().updated == 1
    finally:
        warehouse.stop(project)
        shutil.rmtree(server.home, ignore_errors=True)


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """No file may grow beyond ``size`` bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_leaves_no_half_plan(pg: Bench, tmp_path: Path) -> None:
    broken(pg, 2000)
    path = tmp_path / "plan.json"
    path.write_text("the plan of before")
    with repair_session(pg.project) as session:
        session.make()
        with disk_of(20_000), pytest.raises(Refused, match=r"cannot write the plan to .*plan\.json \(File too large\)"):
            write_plan(session.plan, session.rows(), path)

    assert [file.name for file in tmp_path.iterdir()] == ["plan.json"]
    assert path.read_text() == "the plan of before"


def test_a_full_disk_leaves_no_half_report(pg: Bench, tmp_path: Path) -> None:
    broken(pg, 2000)
    with repair_session(pg.project) as session:
        tables = session.make()
    report = Report("run", "check", "dev", "2026-07-01T00:00:00Z", "2026-07-01T00:00:01Z", tables)
    path = tmp_path / "drift.html"
    with disk_of(4_000), pytest.raises(ReconcileError, match=r"cannot write the html report to .*File too large"):
        write_report(report, "html", path, tmp_path, FolderState(tmp_path / "state"))

    assert list(tmp_path.iterdir()) == []


def test_a_report_may_go_to_a_link_or_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("before")
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    write_whole(tmp_path / "link", lambda file: file.write("after"))

    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "kept").read_text() == "after"


def test_a_second_repair_at_once_leaves_with_a_sentence(pg: Bench) -> None:
    broken(pg, 10)
    with repair_session(pg.project) as first:
        first.make()
        with first.engine.repair_lock(), pytest.raises(Refused, match="another reconcile repair"):
            pg.repair(LOOSE)
        assert first.apply(LOOSE).stale == 0
