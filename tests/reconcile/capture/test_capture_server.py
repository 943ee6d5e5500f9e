"""Capture on a server with default settings and another version: the system's Postgres 15, if it is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from reconcile.capture.setup import capture_findings, setup, teardown
from reconcile.dbt.project import Project
from reconcile.engines.factory import open_engine
from reconcile.report.diagnosis import Level
from reconcile.report.model import Verdict
from tests.conftest import Database
from tests.support.bench import postgres
from tests.support.capture_bench import AUTO, CAPTURE, SUMS, CaptureBench, captured, sums

BINARIES = Path("/usr/lib/postgresql/15/bin")
SETTINGS = """
listen_addresses = ''
unix_socket_directories = '{folder}'
max_replication_slots = 2
fsync = off
"""


class OldServer:
    """A Postgres 15 as its package configures it: wal_level replica, no limit to what a slot keeps."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, folder / "data"
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user:
            shutil.chown(folder, self._user)
        self._run("initdb", "--auth=trust", "-U", "postgres", "-D", self.data)
        with (self.data / "postgresql.conf").open("a") as settings:
            settings.write(SETTINGS.format(folder=folder))
        self.start()

    def start(self) -> None:
        self._run("pg_ctl", "--wait", "--silent", "-D", self.data, "-l", self.folder / "log", "start")

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "--wait", "--silent", f"--mode={mode}", "-D", self.data, "stop")

    def crash(self) -> None:
        """End every process of it at once, and let it recover."""
        self.stop("immediate")
        self.start()

    @property
    def database(self) -> Database:
        return Database("postgres", str(self.folder))

    def _run(self, program: str, *arguments: str | Path) -> None:
        subprocess.run(
            [BINARIES / program, *arguments], check=True, user=self._user, stdout=subprocess.DEVNULL, cwd=self.folder
        )


@pytest.fixture
def old() -> Iterator[OldServer]:
    if not BINARIES.exists():
        pytest.skip("no system Postgres 15 is installed: apt install postgresql-15")
    folder = Path(tempfile.mkdtemp(prefix="pg15-"))
    server = OldServer(folder)
    yield server
    server.stop()
    shutil.rmtree(folder)


def test_setup_names_what_a_server_lacks_and_the_fix(old: OldServer, tmp_path: Path) -> None:
    database = old.database
    database.run("create role checker login", "create table raw (n integer primary key, id integer, v numeric)")
    database.run(
        "create table kept (id integer primary key, v numeric)",
        "grant select on all tables in schema public to checker",
    )
    project = Project(postgres(database, user="checker"), (sums(),), tmp_path, "shop")

    found = list(setup(project))
    assert {finding.level for finding in found} == {Level.TROUBLE}
    assert [finding.said for finding in found] == [
        "wal_level is replica, and capture needs logical",
        "checker may not read a replication slot",
        "checker may not create a publication",
        "nothing limits the log that an abandoned slot keeps: it can fill the disk",
    ]
    assert database.rows("select 1 from pg_namespace where nspname = 'reconcile'") == []  # nothing was created
    for finding in found:
        assert finding.mend is not None
        for statement in (
            finding.mend.removesuffix(", and restart the server").removesuffix(" (or --unbounded)").split(";")
        ):
            database.run(statement)
    old.stop()
    old.start()
    database.run(
        "alter table raw owner to checker",
        "alter table kept owner to checker",
        "grant create on schema public to checker",
    )

    found = list(setup(project))
    assert [(finding.about, finding.level) for finding in found] == [("slot", Level.FINE), ("kept", Level.WARNING)]
    assert found[1].said.startswith("it is always swept: public.raw does not send id of rows that change")
    assert found[1].mend is not None
    database.run(found[1].mend)
    assert [finding.level for finding in setup(project)] == [Level.FINE, Level.FINE]
    list(teardown(project))

    # other clients use every slot
    database.run(*(f"select pg_create_physical_replication_slot('other{i}')" for i in range(2)))
    assert [finding.said for finding in setup(project)] == ["it has no free replication slot"]


def test_a_slot_that_fell_behind_its_limit_ends_in_a_sweep(old: OldServer, tmp_path: Path) -> None:
    database = old.database
    database.run("alter system set wal_level = 'logical'", "alter system set max_slot_wal_keep_size = '17MB'")
    old.stop()
    old.start()
    with captured(database, tmp_path) as bench:
        bench.prove()
        bench.run("update kept set v = v + 1 where id = 2")
        for _ in range(4):
            bench.run(
                "create table filler as select n from generate_series(1, 1000) n",
                "drop table filler",
                "select pg_switch_wal()",
            )
        engine = open_engine(bench.project.connection)
        red = [finding for finding in capture_findings(engine, bench.project) if finding.level is Level.TROUBLE]
        assert "it is invalidated after" in red[0].said
        bench.run("checkpoint")
        [lost] = list(capture_findings(engine, bench.project))
        assert (lost.level, lost.mend) == (Level.TROUBLE, "reconcile setup")
        engine.close()
        assert "fell behind max_slot_wal_keep_size and was invalidated" in (bench.check(CAPTURE).error or "")
        found = bench.check()
        assert (found.scope.mode, found.drift.changed) == ("sweep", 1)


def test_changes_are_captured_on_postgres_15_too(old: OldServer, tmp_path: Path) -> None:
    database = old.database
    database.run("alter system set wal_level = 'logical'", "alter system set max_slot_wal_keep_size = '1GB'")
    old.stop()
    old.start()
    with captured(database, tmp_path) as bench:
        bench.prove()
        for statement, kind in (
            ("insert into raw values (100, 7, 5)", "missing"),
            ("delete from raw where id = 3", "extra"),
            ("update raw set id = 8 where id = 7", "missing"),
            ("update kept set v = v + 1 where id = 1", "changed"),
        ):
            bench.run(statement)
            found = bench.check(CAPTURE)
            assert (found.verdict, found.scope.mode) == (Verdict.DRIFT, "capture")
            assert getattr(found.drift, kind) == 1
        bench.run("truncate kept", f"insert into kept {SUMS}")
        assert bench.judged(CAPTURE) == ("capture", "unverified")
        bench.prove()


def test_no_change_is_lost_by_crashes_and_prepared_transactions(old: OldServer, tmp_path: Path) -> None:
    database = old.database
    database.run(
        "alter system set wal_level = 'logical'",
        "alter system set max_slot_wal_keep_size = '1GB'",
        "alter system set max_prepared_transactions = 5",
    )
    old.stop()
    old.start()

    def check(bench: CaptureBench) -> set[int]:
        """The keys that differ, by capture; the rows themselves, added up here, are the proof that these are right."""
        found = bench.check(CAPTURE)
        assert found.scope.mode == "capture", found.error
        sums: dict[object, object] = {}
        for key, value in database.rows("select id, v from raw"):
            sums[key] = sums.get(key, 0) + value  # type: ignore[operator]
        kept = dict(database.rows("select id, v from kept"))
        differing = {key for key in sums.keys() | kept.keys() if sums.get(key) != kept.get(key)}
        assert {int(sample.key["id"] or 0) for sample in found.samples} == differing
        return {int(str(key)) for key in differing}

    with captured(database, tmp_path) as bench:
        bench.prove()
        with psycopg.connect(database.conninfo) as writer:
            writer.execute("update kept set v = v + 1 where id = 1")
            writer.execute("savepoint a")
            writer.execute("update kept set v = v + 1 where id = 2")
            writer.execute("rollback to savepoint a")
            writer.execute("prepare transaction 'later'")
        assert check(bench) == set()
        old.crash()
        assert check(bench) == set()
        bench.run("update raw set v = v + 1 where id = 3")
        old.crash()
        assert check(bench) == {3}
        bench.run("commit prepared 'later'")
        old.crash()
        assert check(bench) == {1, 3}
        old.crash()  # what the check settled may be lost with the server
        bench.run("update kept set v = v - 1 where id = 1")
        assert check(bench) == {3}
        writer = psycopg.connect(database.conninfo)
        writer.execute("delete from kept where id = 2")
        assert check(bench) == {3}
        old.crash()  # the writer's transaction ends with it
        writer.close()
        assert check(bench) == {3}
        bench.run("update kept set v = v + 3 where id = 3")
        assert check(bench) == set()


def test_a_table_that_lost_its_key_is_swept_and_writable(database: Database, tmp_path: Path) -> None:
    with captured(database, tmp_path) as bench:
        bench.prove()
        # a full refresh without the key: a new table, which is not published
        bench.run("create table kept_ as select * from kept", "drop table kept", "alter table kept_ rename to kept")
        found = bench.check()
        assert (found.verdict, found.scope.mode) == (Verdict.LEVEL, "sweep")
        assert "public.kept has neither a primary key nor a replica identity" in found.scope.reason
        bench.run("update kept set v = v + 1 where id = 1", "delete from kept where id = 2")
        assert bench.check(CAPTURE).verdict is Verdict.UNVERIFIED
        [finding] = [finding for finding in bench.setup() if finding.about == "kept"]
        assert finding.mend == "alter table public.kept replica identity full"
        bench.run(finding.mend)
        assert bench.check().drift.of_rows() == 2
        assert bench.check(CAPTURE).drift.of_rows() == 2


def test_a_table_that_lost_its_key_leaves_the_publication(
    database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with captured(database, tmp_path) as bench:
        bench.prove()
        bench.run("alter table kept drop constraint kept_pkey")
        with psycopg.connect(database.conninfo) as writer, pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
            writer.execute("update kept set v = 0 where id = 1")  # docs/reference/capture.md
        assert bench.judged(AUTO)[0] == "sweep"
        assert (
            "kept is not published any more, because its writers would be refused: it has no replica identity"
            in caplog.text
        )
        bench.run("update kept set v = 0 where id = 1")


def test_teardown_leaves_nothing(database: Database, tmp_path: Path) -> None:
    with captured(database, tmp_path) as bench:
        assert isinstance(bench, CaptureBench)
        [finding] = [finding for finding in setup(bench.project) if finding.about == "slot"]
        assert finding.said.endswith("exists already")
    assert [finding.said for finding in teardown(bench.project)] == ["nothing of it is left"]
