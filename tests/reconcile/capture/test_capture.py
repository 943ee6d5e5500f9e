"""Change capture compares the keys that changed, and never calls a table level that may have changed otherwise."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from reconcile.capture import coverage
from reconcile.capture import slot as capture_slot
from reconcile.capture.session import CaptureSession
from reconcile.capture.setup import capture_findings
from reconcile.capture.slot import Slot
from reconcile.engines.factory import open_engine
from reconcile.engines.postgres import PostgresEngine
from reconcile.errors import EvaluationFailed
from reconcile.report.diagnosis import Level
from reconcile.report.model import Drift, Verdict
from tests.conftest import Database
from tests.support.capture_bench import AUTO, CAPTURE, SUMS, CaptureBench, captured, project_of, sums
from tests.support.zygote import zygote


@pytest.fixture
def bench(database: Database, tmp_path: Path) -> Iterator[CaptureBench]:
    with captured(database, tmp_path) as made:
        made.prove()
        yield made


def test_only_changed_keys_of_a_level_table_are_compared(bench: CaptureBench) -> None:
    found = bench.check(CAPTURE)
    assert (found.verdict.value, found.scope.mode, found.scope.keys_checked) == ("level", "capture", 0)
    bench.run("update kept set v = v + 1 where id = 2")
    found = bench.check(CAPTURE)
    assert (found.verdict.value, found.drift.changed, found.scope.keys_checked) == ("drift", 1, 1)
    assert found.samples[0].key == {"id": "2"}
    assert bench.check(CAPTURE).drift.changed == 1  # it is reported until it is fixed
    bench.run("update kept set v = v - 1 where id = 2")
    assert bench.judged(CAPTURE) == ("capture", "level")
    assert bench.check(CAPTURE).scope.keys_checked == 0


@pytest.mark.parametrize(
    ("statement", "keys", "drift"),
    [
        ("insert into raw values (100, 2, 5)", 1, "changed"),
        ("insert into raw values (100, 7, 5)", 1, "missing"),
        ("delete from raw where id = 3", 1, "extra"),
        ("update raw set v = v + 1 where n = 1", 1, "changed"),
        ("update raw set id = 8 where id = 1", 2, "missing"),  # the old key and the new one
        ("delete from kept where id = 1", 1, "missing"),
        ("insert into kept values (50, 1)", 1, "extra"),
        ("update kept set id = 60 where id = 1", 2, "missing"),
    ],
)
def test_every_change_of_a_source_or_the_table_is_seen(
    bench: CaptureBench, statement: str, keys: int, drift: str
) -> None:
    bench.run(statement)
    found = bench.check(CAPTURE)
    assert (found.verdict, found.scope.mode, found.scope.keys_checked) == (Verdict.DRIFT, "capture", keys)
    assert getattr(found.drift, drift) == 1
    assert found.drift == bench.check(replace(AUTO, mode="sweep")).drift


def test_doctor_is_red_if_the_slot_was_not_read_for_a_day(bench: CaptureBench) -> None:
    engine = open_engine(bench.project.connection)
    assert isinstance(engine, PostgresEngine)
    [before] = [finding for finding in capture_findings(engine, bench.project) if bench.name in finding.said]
    bench.run("update reconcile.capture set read_at = current_timestamp - interval '25 hours'")
    [after] = [finding for finding in capture_findings(engine, bench.project) if bench.name in finding.said]
    assert (before.level, after.level) == (Level.FINE, Level.TROUBLE)
    assert "read 90,000 s ago" in after.said
    assert "it does not advance, and the log grows" in after.said
    bench.check()
    assert Level.TROUBLE not in {finding.level for finding in capture_findings(engine, bench.project)}
    engine.close()


def test_a_rolled_back_change_leaves_no_key(bench: CaptureBench) -> None:
    with psycopg.connect(bench.database.conninfo) as writer:
        writer.execute("update kept set v = 0")
        writer.rollback()
    assert bench.check(CAPTURE).scope.keys_checked == 0


# What makes the slot unable to give every change, and the reason that is reported.
LOST = {
    "slot dropped": (["select pg_drop_replication_slot('{slot}')"], "the slot is gone"),
    "slot created again": (
        [
            "update kept set v = 0 where id = 1",
            "select pg_drop_replication_slot('{slot}')",
            "select pg_create_logical_replication_slot('{slot}', 'pgoutput')",
        ],
        "made anew, or advanced by somebody else",
    ),
    "slot advanced by another": (
        ["update kept set v = 0 where id = 1", "select pg_replication_slot_advance('{slot}', pg_current_wal_lsn())"],
        "made anew, or advanced by somebody else",
    ),
    "another server": (["update reconcile.capture set system = '17'"], "another server than the one"),
}


@pytest.mark.parametrize("what", LOST)
def test_a_lost_slot_ends_in_a_sweep_or_unverified(bench: CaptureBench, what: str) -> None:
    statements, why = LOST[what]
    for statement in statements:
        bench.run(statement.format(slot=bench.name))
    forbidden = bench.check(CAPTURE)
    assert (forbidden.verdict, forbidden.scope.mode) == (Verdict.UNVERIFIED, "capture")
    assert why in (forbidden.error or "")
    swept = bench.check()
    assert swept.scope.mode == "sweep"
    assert "change capture stopped" in swept.scope.reason
    assert swept.drift == bench.check(replace(AUTO, mode="sweep")).drift

    assert any("is created" in finding.said for finding in bench.setup())
    bench.run("truncate kept", f"insert into kept {SUMS}")
    bench.prove()
    assert bench.judged(CAPTURE) == ("capture", "level")


REPLACED = {
    "a full refresh": (
        [
            "create table kept_tmp as select id, v + 1 as v from kept",
            "alter table kept rename to kept_old",
            "alter table kept_tmp rename to kept",
            "drop table kept_old",
            "alter table kept add primary key (id)",
        ],
        "was replaced (a full refresh makes a new table)",
    ),
    "the table truncated": (["truncate kept"], "was rewritten or truncated"),
    "a source truncated": (["truncate raw"], "was rewritten or truncated"),
    "a source replaced": (
        [
            "create table raw2 (like raw including all)",
            "alter table raw2 replica identity full",
            "drop table raw",
            "alter table raw2 rename to raw",
        ],
        "raw was replaced",
    ),
    "a column of another type": (["alter table raw alter v type numeric using v * 2"], "was rewritten or truncated"),
    "a table that is not published any more": (
        ["alter publication {slot} drop table kept", "update kept set v = 0"],
        "is not published any more",
    ),
}


@pytest.mark.parametrize("what", REPLACED)
def test_a_replaced_table_is_swept(bench: CaptureBench, what: str) -> None:
    statements, why = REPLACED[what]
    for statement in statements:
        bench.run(statement.format(slot=bench.name))
    forbidden = bench.check(CAPTURE)
    assert forbidden.verdict is Verdict.UNVERIFIED
    assert why in (forbidden.error or "")
    found = bench.check()
    assert (found.verdict, found.scope.mode) == (Verdict.DRIFT, "sweep")
    assert why in found.scope.reason
    # every key that drifted is known, so that from here on changes are enough
    again = bench.check(CAPTURE)
    assert (again.verdict, again.scope.mode, again.drift) == (Verdict.DRIFT, "capture", found.drift)


def test_changed_sql_or_sources_end_the_proof(bench: CaptureBench) -> None:
    bench.define("select id, sum(v) + 1 as v from public.raw group by id")
    assert "its SQL or its settings changed" in (bench.check(CAPTURE).error or "")
    found = bench.check()
    assert (found.scope.mode, found.drift.changed) == ("sweep", 3)

    bench.run("create table more (id integer primary key, v numeric)", "insert into more values (1, 0), (9, 4)")
    both = "(select id, v from public.raw union all select id, v from public.more) as both_"
    sql = SUMS.replace("public.raw", both)
    bench.define(sql, sources={"public.raw": None, "public.more": None})
    assert bench.check(CAPTURE).verdict is Verdict.UNVERIFIED
    assert bench.check().drift.missing == 1
    bench.run("insert into more values (10, 1)")
    found = bench.check(CAPTURE)
    assert (found.scope.mode, found.drift.missing) == ("capture", 2)


def test_a_changed_source_without_key_mapping_costs_a_sweep(database: Database, tmp_path: Path) -> None:
    sql = "select id, sum(v) * (select factor from public.factors) as v from public.raw group by id"
    definition = sums(sql=sql, sources=("public.raw", "public.factors"))
    database.run("create table factors (factor integer primary key)", "insert into factors values (1)")
    with captured(database, tmp_path, definition) as bench:
        bench.prove()
        bench.run("update raw set v = v + 1 where n = 1")
        assert bench.check(CAPTURE).scope.keys_checked == 1
        bench.run("update factors set factor = 2")
        forbidden = bench.check(CAPTURE)
        assert forbidden.verdict is Verdict.UNVERIFIED
        assert "public.factors changed, and the planner does not put the key on every scan" in (forbidden.error or "")
        found = bench.check()
        assert (found.scope.mode, found.drift.changed) == ("sweep", 3)


def test_a_branch_pruned_for_one_key_proves_no_mapping(database: Database, tmp_path: Path) -> None:
    sql = f"{SUMS} union all select 77, sum(v) from public.raw"
    with captured(database, tmp_path, sums(sql=sql)) as bench:
        bench.run("insert into kept select 77, sum(v) from raw")
        bench.prove()
        bench.run("update raw set v = v + 1 where n = 1", "update kept set v = v + 1 where id = 2")
        found = bench.check()
        assert (found.verdict, found.scope.mode) == (Verdict.DRIFT, "sweep")
        assert found.samples[0].key == {"id": "77"}


def test_key_from_declares_keys_that_no_plan_shows(database: Database, tmp_path: Path) -> None:
    database.run(
        "create table teams (team integer primary key, members jsonb not null)",
        "alter table teams replica identity full",
        """insert into teams values (1, '[1, 2]'), (2, '[3]')""",
    )
    sql = (
        "select r.id, sum(r.v) * coalesce(max(t.team), 1) as v from public.raw r"
        " left join public.teams t on t.members @> to_jsonb(r.id) group by r.id"
    )
    query = "select cast(member as integer) from changed cross join jsonb_array_elements_text(members) as member"
    definition = sums(sql=sql, sources=("public.raw", "public.teams"), key_from={"teams": query})
    with captured(database, tmp_path, definition) as bench:
        bench.run("truncate kept", f"insert into kept {sql}")
        bench.prove()
        bench.run("""update teams set members = '[1]' where team = 1""", "update teams set team = 5 where team = 2")
        found = bench.check(CAPTURE)
        assert (found.scope.mode, found.scope.keys_checked) == ("capture", 3)
        assert found.drift == bench.check(replace(AUTO, mode="sweep")).drift
        assert found.drift.changed == 1  # 2 was in no team's sum, 3 is 2.5 times its own

    unknown = replace(definition, settings=replace(definition.settings, key_from={"taems": query}))
    bench.project = replace(bench.project, definitions=(unknown,))
    bench.setup()
    assert "key_from names taems, which it does not read: it reads raw, teams" in bench.check().scope.reason


def test_a_key_from_that_does_not_run_costs_a_sweep_and_stops_no_slot(database: Database, tmp_path: Path) -> None:
    definition = sums(key_from={"raw": "select id / (id - 2) * (id - 2) from changed"})
    with captured(database, tmp_path, definition) as bench:
        bench.prove()
        bench.run("update raw set v = v + 1 where id = 3")
        assert bench.check(CAPTURE).drift.changed == 1
        bench.run("update raw set v = v + 1 where id = 2")
        assert "key_from of public.raw does not run (division by zero)" in (bench.check(CAPTURE).error or "")
        found = bench.check()
        assert (found.scope.mode, found.drift.changed) == ("sweep", 2)
        assert bench.judged(CAPTURE) == ("capture", "drift")


def test_a_change_during_a_check_is_seen_by_it_or_by_the_next(
    bench: CaptureBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    dirty_keys = CaptureSession.dirty_keys

    def change_first(self: CaptureSession, definition: Any) -> Any:
        bench.run("update kept set v = v + 1 where id = 3")  # after the snapshot began, before its dirty keys are read
        return dirty_keys(self, definition)

    with monkeypatch.context() as patch:
        patch.setattr(CaptureSession, "dirty_keys", change_first)
        found = bench.check(CAPTURE)
    assert (found.verdict, found.scope.keys_checked) == (Verdict.LEVEL, 1)  # in its snapshot it was
    assert bench.check(CAPTURE).drift.changed == 1


def test_a_commit_during_the_proving_sweep_is_not_lost(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with captured(database, tmp_path) as bench:
        finish = coverage.Coverage.finish

        def change_first(self: coverage.Coverage, *arguments: Any) -> Any:
            bench.run("update kept set v = v + 1 where id = 3")
            Slot(self._engine, bench.name).read()  # and another check reads the slot past it
            return finish(self, *arguments)

        with monkeypatch.context() as patch:
            patch.setattr(coverage.Coverage, "finish", change_first)
            bench.prove()
        assert bench.check(CAPTURE).drift.changed == 1


def test_a_transaction_older_than_the_publication_is_waited_for(database: Database, tmp_path: Path) -> None:
    with captured(database, tmp_path) as bench:
        bench.prove()
        bench.run("create table late (like raw including all)", "alter table late replica identity full")
        with psycopg.connect(database.conninfo) as early:
            early.execute("insert into late values (1, 1, 5)")  # before the table is published: not in the slot
            bench.define(
                SUMS.replace(
                    "public.raw", "(select id, v from public.raw union all select id, v from public.late) as x"
                ),
                sources={"public.raw": None, "public.late": None},
            )
            found = bench.check()
            assert (found.verdict, found.scope.mode) == (Verdict.LEVEL, "sweep")
            assert "a transaction that began before public.late was published is still running" in found.scope.reason
            early.commit()
        found = bench.check()
        assert (found.scope.mode, found.drift.changed) == ("sweep", 1)


def check_and_die(where: str, name: str, host: str, root: str) -> None:
    """In a child process: a check that is killed while it reads its slot."""
    original, calls = getattr(Slot, where), []

    def killed(self: Slot, argument: Any) -> None:
        calls.append(argument)
        if where == "_store":
            original(self, argument)
        # at the second advance, what was read is committed and the slot still has its old position
        if where == "_store" or len(calls) > 1:
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(Slot, where, killed)
    CaptureBench(project_of(Database(name, host), Path(root))).check(CAPTURE)


@pytest.mark.parametrize("where", ["_advance", "_store"])
def test_a_check_that_is_killed_loses_nothing(bench: CaptureBench, where: str) -> None:
    bench.run("update kept set v = v + 1 where id = 2")
    arguments = [where, bench.database.name, bench.database.host, str(bench.project.root)]
    with zygote(
        "from tests.reconcile.capture.test_capture import check_and_die", "check_and_die(*json.loads(line))"
    ) as child:
        assert child.act(arguments).code == -signal.SIGKILL
    found = bench.check(CAPTURE)
    assert (found.scope.mode, found.drift.changed, found.scope.keys_checked) == ("capture", 1, 1)


def test_too_many_changed_keys_end_in_a_sweep(bench: CaptureBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture_slot, "CAP", 1_000)
    monkeypatch.setattr(capture_slot, "_MAX_CHANGES_PER_PEEK", 2_000)
    monkeypatch.setattr(capture_slot, "_AT_ONCE", 500)
    bench.run("insert into raw select n, n, 1 from generate_series(100, 1600) n")
    assert "over 1,000 keys changed: a sweep is cheaper" in (bench.check(CAPTURE).error or "")
    found = bench.check()
    assert found.drift.missing == 1501
    assert "more keys differ than are listed, so change capture was not enabled" in found.scope.reason
    bench.run("insert into kept select id, v from raw where n >= 100")
    bench.prove()
    monkeypatch.setattr(capture_slot, "CAP", 3_000)
    bench.run("insert into raw select n, n, 1 from generate_series(5000, 15000) n")
    assert "too many rows changed at once" in (bench.check(CAPTURE).error or "")
    bench.run("delete from raw where n >= 5000")
    assert bench.check().verdict is Verdict.LEVEL
    # many small transactions come in several peeks
    with psycopg.connect(bench.database.conninfo, autocommit=True) as writer:
        for n in range(700):
            writer.execute("update kept set v = v + 1 where id = %s", [100 + n])
    assert bench.check(CAPTURE).drift.changed == 700


def test_rows_with_a_null_key_are_compared(bench: CaptureBench) -> None:
    bench.run("alter table raw alter id drop not null")
    assert "column id of raw was replaced or changed" in (bench.check(CAPTURE).error or "")
    bench.prove()
    bench.run("insert into raw values (100, null, 5)")
    found = bench.check(CAPTURE)
    assert (found.scope.mode, found.drift.null_key) == ("capture", 1)


def test_rows_loaded_after_the_last_build_are_pending(bench: CaptureBench) -> None:
    bench.define(
        SUMS, as_of_sql=SUMS.replace("public.raw", "public.raw where n < 100"), built_at="2026-07-01T00:00:00+00:00"
    )
    bench.run("insert into raw values (100, 2, 5), (101, 7, 1)")
    found = bench.check(CAPTURE)
    assert (found.verdict, found.scope.mode, found.drift.pending) == (Verdict.LEVEL, "capture", 2)
    bench.run(
        "delete from kept where id in (2, 7)", f"insert into kept {SUMS} having id in (2, 7)"
    )  # dbt's delete+insert
    bench.define(SUMS)
    found = bench.check(CAPTURE)
    assert (found.verdict, found.scope.keys_checked, found.drift) == (Verdict.LEVEL, 2, Drift())
    assert bench.check(CAPTURE).scope.keys_checked == 0


def test_concurrent_writers_and_checks_agree_with_a_sweep(bench: CaptureBench) -> None:
    stop = threading.Event()

    def write(seed: int) -> None:
        with psycopg.connect(bench.database.conninfo) as writer:
            n = 0
            while not stop.is_set():
                n += 1
                key = (n * 7 + seed) % 40
                writer.execute("insert into raw values (%s, %s, 1)", [1_000_000 * seed + n, key])
                writer.execute(
                    "insert into kept select id, sum(v) from raw where id = %s group by id"
                    " on conflict (id) do update set v = excluded.v",
                    [key],
                )
                if n % 5 == 0:
                    writer.rollback()
                else:
                    writer.commit()

    writers = [threading.Thread(target=write, args=(seed,)) for seed in (1, 2)]
    for writer in writers:
        writer.start()
    try:
        seen = [bench.check(CAPTURE) for _ in range(30)]
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert {found.scope.mode for found in seen} == {"capture"}
    last = bench.check(CAPTURE)
    swept = bench.check(replace(AUTO, mode="sweep"))
    assert last.drift == swept.drift
    bench.run("delete from kept where id = 5")
    assert bench.check(CAPTURE).drift.missing == swept.drift.missing + 1


STEPS = (
    "insert into raw values ({n}, {key}, {value})",
    "update raw set v = {value} where n % 7 = {n} % 7",
    "update raw set id = {key} where n = {n} % 9 + 1",
    "delete from raw where id = {key}",
    "insert into kept values ({key}, {value}) on conflict (id) do update set v = excluded.v",
    "update kept set id = {key} + 100 where id = {key}",
    "delete from kept where id in ({key}, {key} + 100)",
    "insert into kept select id, sum(v) from raw where id = {key} group by id"
    " on conflict (id) do update set v = excluded.v",
)


@pytest.mark.parametrize("seed", range(4))
def test_capture_and_sweep_agree_with_open_transactions(bench: CaptureBench, seed: int) -> None:
    chance = random.Random(seed)
    sessions = [psycopg.connect(bench.database.conninfo) for _ in range(3)]
    for session in sessions:
        session.execute("set lock_timeout = '50ms'")
        session.commit()
    modes = []
    for step in range(60):
        session = chance.choice(sessions)
        statement = chance.choice(STEPS)
        values = {"n": 100 + 3 * step, "key": chance.randint(1, 12), "value": chance.randint(0, 99)}
        try:
            session.execute(statement.format(**values))
        except (psycopg.errors.LockNotAvailable, psycopg.errors.UniqueViolation):
            session.rollback()
        chance.choice([session.commit, session.rollback, lambda: None, lambda: None])()
        if chance.random() < 0.02:
            bench.run("create table kept_ (like kept including all)", "insert into kept_ select * from kept")
            for other in sessions:
                other.rollback()
            bench.run("drop table kept", "alter table kept_ rename to kept")
        if chance.random() < 0.5:
            found, swept = bench.check(), bench.check(replace(AUTO, mode="sweep"))
            assert (found.verdict, found.drift) == (swept.verdict, swept.drift), (step, found.scope.reason)
            modes.append(found.scope.mode)
    for session in sessions:
        session.close()
    assert modes.count("capture") > len(modes) / 2


def test_concurrent_checks_wait_and_lose_nothing(bench: CaptureBench) -> None:
    bench.run("update kept set v = v + 1 where id = 2")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: [bench.check(CAPTURE) for _ in range(10)], range(4)))
    assert {(table.verdict, table.scope.mode, table.drift.changed) for run in found for table in run} == {
        (Verdict.DRIFT, "capture", 1)
    }


def test_a_slot_in_use_by_another_session_is_waited_for(bench: CaptureBench, monkeypatch: pytest.MonkeyPatch) -> None:
    peek, refused = Slot._peek, []

    def busy_twice(self: Slot, target: str) -> Any:
        if len(refused) < 2:
            refused.append(target)
            raise EvaluationFailed("is active for PID 1") from psycopg.errors.ObjectInUse()
        return peek(self, target)

    monkeypatch.setattr(Slot, "_peek", busy_twice)
    bench.run("update kept set v = v + 1 where id = 2")
    assert bench.check(CAPTURE).drift.changed == 1
    assert len(refused) == 2


def test_keys_that_differ_beside_a_trigger_stay_unverified(bench: CaptureBench) -> None:
    bench.run(
        "create function spoil() returns trigger language plpgsql as $$ begin new.v := 9; return new; end $$",
        "create trigger spoil before update on kept for each row execute function spoil()",
    )
    assert bench.check().verdict is Verdict.LEVEL  # a trigger that has changed nothing
    bench.run("update kept set v = v + 1 where id = 2")
    for _ in range(2):
        found = bench.check(CAPTURE)
        assert (found.verdict, found.scope.mode) == (Verdict.UNVERIFIED, "capture")
        assert "its trigger spoil may change rows after dbt writes them" in (found.error or "")
    bench.run("drop trigger spoil on kept")
    assert bench.check().drift.changed == 1
