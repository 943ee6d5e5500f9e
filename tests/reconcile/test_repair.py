"""Repair: planned, guarded, applied row by row, journaled, taken back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from reconcile.check import judge_definition
from reconcile.definition import Definition, Settings
from reconcile.engines.connect import open_engine
from reconcile.errors import EvaluationFailed, Refused
from reconcile.plan import Plan, read_plan, write_plan
from reconcile.project import Connection, Project
from reconcile.repair import Guards, apply_plan, make_plan, undo
from reconcile.report import Drift, Verdict
from tests.conftest import ROOT, Database

LOOSE = Guards(max_rows=1000, max_percent=100, allow_delete=True)


class Bench:
    """A table ``kept`` whose definition is the table ``truth``, on one engine."""

    def __init__(self, project: Project) -> None:
        self.project = project

    def run(self, *statements: str) -> None:
        engine = open_engine(self.project.connection)
        for statement in statements:
            engine.execute(statement)
        engine.close()

    def rows(self, query: str = "select * from kept order by 1, 2") -> list[tuple[Any, ...]]:
        engine = open_engine(self.project.connection)
        found = list(engine.stream(query))
        engine.close()
        return found

    def make(self, columns: str, truth: str, kept: str) -> None:
        self.run(f"create table truth ({columns})", f"create table kept ({columns})")
        self.run(*(f"insert into {name} values {rows}" for name, rows in (("truth", truth), ("kept", kept)) if rows))

    def verdict(self) -> tuple[Verdict, Drift]:
        engine = open_engine(self.project.connection)
        found = judge_definition(engine, self.project.definitions[0])
        engine.close()
        return found.verdict, found.drift

    def plan(self, guards: Guards = LOOSE) -> Plan:
        return make_plan(self.project, guards)[0]

    def repair(self, guards: Guards = LOOSE) -> Any:
        return apply_plan(self.project, self.plan(guards), guards)


def project_on(connection: Connection, key: tuple[str, ...] = ("id",), **settings: Any) -> Project:
    definition = Definition(
        unique_id="model.shop.kept",
        name="kept",
        relation_name="kept",
        key=key,
        sql="select * from truth",
        contract={},
        settings=Settings(**settings),
        path="models/kept.sql",
    )
    return Project(connection, (definition,), Path("."))


@pytest.fixture
def connection(engine_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Connection:
    if engine_kind == "duckdb":
        path = str(tmp_path / "w.duckdb")
        import duckdb

        duckdb.connect(path).close()
        return Connection("duckdb", "dev", 1, SimpleNamespace(path=path, settings={}))
    database: Database = request.getfixturevalue("database")
    return postgres(database)


def postgres(database: Database, user: str = "postgres") -> Connection:
    names = ("role", "search_path", "sslmode", "sslcert", "sslkey", "sslrootcert")
    where = {"host": database.host, "port": 5432, "user": user, "password": "", "database": database.name}
    return Connection("postgres", "dev", 1, SimpleNamespace(**where, connect_timeout=5, **dict.fromkeys(names)))


@pytest.fixture
def bench(connection: Connection) -> Bench:
    return Bench(project_on(connection))


def ten(bench: Bench) -> None:
    """Ten right rows, then one of each kind of accident."""
    rows = ", ".join(f"({i}, 'v{i}', {i}.5)" for i in range(1, 11))
    bench.make("id integer, v varchar, x double precision", rows, rows)
    bench.run(
        "delete from kept where id = 1",
        "update kept set v = null, x = 0 where id = 2",
        "insert into kept values (99, 'fabricated', 68000)",
        "insert into kept values (3, 'v3', 3.5)",
        "insert into kept values (4, 'other', 4.5)",
        "insert into kept values (null, 'nobody', 1)",
    )


def test_every_kind_is_mended_and_no_other_row_is_touched(bench: Bench) -> None:
    ten(bench)
    assert bench.verdict() == (Verdict.DRIFT, Drift(missing=1, changed=1, extra=1, duplicate=2, null_key=1))
    done = bench.repair()

    assert (done.inserted, done.updated, done.deleted, done.stale) == (1, 1, 4, 0)
    assert bench.verdict() == (Verdict.LEVEL, Drift())
    assert bench.rows() == bench.rows("select * from truth order by 1, 2")


def test_undo_restores_what_was_and_can_be_undone(bench: Bench) -> None:
    ten(bench)
    everything = "select * from kept order by id nulls last, v, x"
    before = bench.rows(everything)
    done = bench.repair()
    after = bench.rows(everything)

    planned = undo(bench.project, done.run_id, apply=False)
    assert (planned.inserted, planned.updated, planned.deleted, planned.stale) == (4, 1, 1, 0)
    assert bench.rows(everything) == after

    undone = undo(bench.project, done.run_id, apply=True)
    assert bench.rows(everything) == before
    undo(bench.project, undone.run_id, apply=True)
    assert bench.rows(everything) == after


def test_undo_leaves_rows_that_changed_since_and_counts_them(bench: Bench) -> None:
    ten(bench)
    done = bench.repair()
    bench.run("update kept set v = 'mine' where id = 2")
    undone = undo(bench.project, done.run_id, apply=True)

    assert undone.stale == 1
    assert bench.rows("select v from kept where id = 2") == [("mine",)]


def test_an_unknown_run_is_refused_with_the_latest_ones(bench: Bench) -> None:
    ten(bench)
    with pytest.raises(Refused, match="no repair journal"):
        undo(bench.project, "nope", apply=True)
    done = bench.repair()
    with pytest.raises(Refused, match=done.run_id):
        undo(bench.project, "nope", apply=True)


def test_the_journal_keeps_every_digit(bench: Bench) -> None:
    bench.make(
        "id bigint, n numeric(38, 10), f double precision, t timestamp",
        "(9007199254740993, 1234567890123456789012345678.0000000001, 0.1, '2026-01-01 00:00:00.000001')",
        "(9007199254740993, 0, 0.30000000000000004, null)",
    )
    bench.repair()
    [(before, after)] = bench.rows("select row_before, row_after from reconcile.repair_row")

    assert json.loads(before)["f"] == "0.30000000000000004"
    assert json.loads(after)["n"] == "1234567890123456789012345678.0000000001"
    assert json.loads(after)["id"] == "9007199254740993"
    assert bench.verdict()[0] is Verdict.LEVEL


@pytest.mark.parametrize(
    ("guards", "lifted_by"),
    [
        (Guards(max_rows=3, max_percent=100, allow_delete=True), "--max-rows"),
        (Guards(max_rows=100, max_percent=10, allow_delete=True), "--max-percent"),
        (Guards(max_rows=100, max_percent=100), "--allow-delete"),
    ],
)
def test_guards_refuse_before_the_first_write_and_name_their_flag(bench: Bench, guards: Guards, lifted_by: str) -> None:
    ten(bench)
    before = bench.rows("select * from kept order by id nulls last, v, x")
    with pytest.raises(Refused, match=lifted_by):
        bench.repair(guards)

    assert bench.rows("select * from kept order by id nulls last, v, x") == before


def test_a_definition_without_rows_never_empties_a_table(bench: Bench) -> None:
    bench.make("id integer, v varchar", "", "(1, 'a'), (2, 'b')")
    with pytest.raises(Refused, match="would empty it"):
        bench.repair()

    assert len(bench.rows()) == 2


def test_a_plan_is_bound_to_its_contents_its_database_and_its_day(bench: Bench, tmp_path: Path) -> None:
    ten(bench)
    plan, path = bench.plan(), tmp_path / "plan.json"
    write_plan(plan, path)
    target, database = bench.project.connection.target, bench.project.connection.identity
    assert read_plan(path, target, database) == plan

    with pytest.raises(Refused, match="was made for target dev"):
        read_plan(path, target, "postgres:elsewhere")
    path.write_text(path.read_text().replace("fabricated", "fabricatee"))
    with pytest.raises(Refused, match="was edited"):
        read_plan(path, target, database)
    write_plan(Plan(**{**vars(plan), "expires_at": "2026-01-01T00:00:00+00:00"}), path)
    with pytest.raises(Refused, match="expired"):
        read_plan(path, target, database)
    path.write_text("[]")
    with pytest.raises(Refused, match="is no repair plan"):
        read_plan(path, target, database)


def test_rows_that_changed_after_the_plan_are_left_alone_and_counted(bench: Bench) -> None:
    ten(bench)
    plan = bench.plan()
    bench.run(
        "update kept set v = 'newer' where id = 2",  # no longer the before-image
        "delete from kept where id = 99",  # gone already
        "update truth set v = 'moved on' where id = 1",  # the definition asks for another row now
    )
    done = apply_plan(bench.project, plan, LOOSE)

    assert (done.inserted, done.updated, done.stale) == (0, 0, 3)
    assert bench.rows("select v from kept where id = 2") == [("newer",)]
    assert bench.verdict()[1] == Drift(missing=1, changed=1)


def test_ignored_columns_stay_as_they_are_but_come_with_inserted_rows(connection: Connection) -> None:
    bench = Bench(project_on(connection, ignore=frozenset({"note"})))
    bench.make("id integer, v integer, note varchar", "(1, 1, 'a'), (2, 2, 'b')", "(1, 9, 'mine')")
    bench.repair()

    assert bench.rows() == [(1, 1, "mine"), (2, 2, "b")]


def test_a_table_without_a_key_is_mended_by_copies(connection: Connection) -> None:
    bench = Bench(project_on(connection, key=()))
    bench.make("a integer, b varchar", "(1, 'x'), (1, 'x'), (2, null)", "(1, 'x'), (3, 'z'), (3, 'z'), (2, null)")
    done = bench.repair()

    assert (done.inserted, done.deleted) == (1, 2)
    assert bench.rows() == [(1, "x"), (1, "x"), (2, None)]


def test_composite_and_odd_names(connection: Connection) -> None:
    bench = Bench(project_on(connection, key=("Big Key", "select")))
    columns = '"Big Key" varchar, "select" integer, "a""b" json'
    bench.make(columns, """('x|y', 1, '{"a": 1}'), ('x', 2, null)""", """('x|y', 1, '{"a": 2}')""")
    done = bench.repair()

    assert (done.inserted, done.updated) == (1, 1)
    assert bench.verdict()[0] is Verdict.LEVEL


def test_an_unverified_model_is_never_repaired(bench: Bench) -> None:
    ten(bench)
    definition = Definition(**{**vars(bench.project.definitions[0]), "unverifiable": "it calls now()"})
    with pytest.raises(Refused, match=r"--exclude kept"):
        make_plan(Project(bench.project.connection, (definition,), Path(".")), LOOSE)


def test_columns_that_differ_are_not_mended_by_rows(bench: Bench) -> None:
    bench.run(
        "create table truth (id integer, v integer)",
        "create table kept (id integer)",
        "insert into truth values (1, 1)",
        "insert into kept values (1)",
    )
    with pytest.raises(Refused, match="--full-refresh"):
        bench.plan()


# --- what only Postgres has ---


@pytest.fixture
def pg(database: Database) -> Bench:
    return Bench(project_on(postgres(database)))


def test_generated_identity_and_trigger_columns(pg: Bench) -> None:
    columns = (
        "id integer generated always as identity primary key, v integer, w integer generated always as (v * 2) stored"
    )
    pg.run(
        f"create table kept ({columns})",
        "create table truth (id integer, v integer, w integer)",
        "insert into truth values (1, 1, 2), (2, 2, 4), (3, 3, 6)",
        "insert into kept overriding system value values (1, 1, default), (2, 9, default)",
        "create table seen (id integer)",
        "create function note() returns trigger language plpgsql as"
        " $$ begin insert into seen values (new.id); return new; end $$",
        "create trigger note after insert or update on kept for each row execute function note()",
    )
    pg.repair()

    assert pg.rows() == [(1, 1, 2), (2, 2, 4), (3, 3, 6)]
    assert pg.rows("select id from seen order by 1") == [(2,), (3,)]


def test_a_trigger_that_undoes_the_repair_rolls_it_back(pg: Bench) -> None:
    pg.make("id integer, v integer", "(1, 1), (2, 2)", "(1, 9), (2, 9)")
    pg.run(
        "create function spoil() returns trigger language plpgsql as $$ begin new.v := 9; return new; end $$",
        "create trigger spoil before update on kept for each row execute function spoil()",
    )
    with pytest.raises(Refused, match="rolled back"):
        pg.repair()
    assert pg.rows() == [(1, 9), (2, 9)]
    assert pg.rows("select count(*) from reconcile.repair") == [(0,)]


def test_a_foreign_key_holds_and_the_whole_table_is_rolled_back(pg: Bench) -> None:
    pg.make("id integer, v integer", "(1, 1), (2, 2)", "(1, 9), (2, 2), (3, 3)")
    pg.run(
        "alter table kept add primary key (id)",
        "create table child (id integer references kept)",
        "insert into child values (3)",
    )
    with pytest.raises(EvaluationFailed, match="foreign key"):
        pg.repair()
    assert pg.rows() == [(1, 9), (2, 2), (3, 3)]


def test_a_deferred_constraint_that_fails_at_the_commit_rolls_everything_back(pg: Bench) -> None:
    pg.make("id integer, v integer", "(1, 1), (2, 2)", "(1, 9), (2, 2)")
    pg.run(
        "create table parent (v integer primary key)",
        "insert into parent values (2), (9)",
        "alter table kept add foreign key (v) references parent deferrable initially deferred",
    )
    with pytest.raises(EvaluationFailed, match="foreign key"):
        pg.repair()
    assert pg.rows() == [(1, 9), (2, 2)]
    assert pg.rows("select count(*) from reconcile.repair_row") == [(0,)]


def test_two_rows_that_swap_a_unique_value_are_refused_by_the_constraint_and_rolled_back(pg: Bench) -> None:
    pg.make("id integer primary key, v integer unique", "(1, 10), (2, 20), (3, 30)", "(1, 20), (2, 10), (3, 31)")
    with pytest.raises(EvaluationFailed, match="unique constraint"):
        pg.repair()
    assert pg.rows() == [(1, 20), (2, 10), (3, 31)]


def test_partitioned_tables_and_views_of_the_definition(pg: Bench) -> None:
    pg.run(
        "create table truth (id integer, v integer)",
        "insert into truth select n, n from generate_series(1, 20) n",
        "create table kept (id integer, v integer) partition by range (id)",
        "create table kept_a partition of kept for values from (0) to (10)",
        "create table kept_b partition of kept for values from (10) to (100)",
        "insert into kept select * from truth where id <> 5",
        "update kept set v = 0 where id in (3, 15)",
    )
    done = pg.repair()

    assert (done.inserted, done.updated) == (1, 2)
    assert pg.verdict()[0] is Verdict.LEVEL


def test_a_read_only_role_may_check_and_its_repair_says_what_it_lacks(pg: Bench, database: Database) -> None:
    ten(pg)
    name = f"reader_{database.name}"
    pg.run(f"create role {name} login", f"grant select on truth, kept to {name}")
    reader = Bench(project_on(postgres(database, name)))

    assert reader.verdict()[0] is Verdict.DRIFT
    with pytest.raises(EvaluationFailed, match="permission denied"):
        reader.repair()
    pg.run(f"drop owned by {name}", f"drop role {name}")


def test_a_second_repair_at_once_leaves_with_a_sentence(pg: Bench) -> None:
    ten(pg)
    plan = pg.plan()
    engine = open_engine(pg.project.connection)
    with engine.repair_lock(), pytest.raises(Refused, match="another reconcile repair"):
        apply_plan(pg.project, plan, LOOSE)
    engine.close()
    assert apply_plan(pg.project, plan, LOOSE).stale == 0


def test_no_stronger_lock_than_row_exclusive_is_taken(pg: Bench, database: Database) -> None:
    ten(pg)
    import psycopg

    with psycopg.connect(database.conninfo, autocommit=True) as watcher:
        watcher.execute("create table locks (mode text)")
        watcher.execute(
            "create function spy() returns trigger language plpgsql as $$ begin"
            " insert into locks select mode from pg_locks where relation = 'kept'::regclass; return new; end $$"
        )
        watcher.execute("create trigger spy after insert or update on kept for each row execute function spy()")
    pg.repair()

    modes = {mode for (mode,) in pg.rows("select distinct mode from locks")}
    assert modes <= {"AccessShareLock", "RowShareLock", "RowExclusiveLock"}
    assert "RowExclusiveLock" in modes


_REPAIR = """
import sys
sys.path.insert(0, sys.argv[1])
import tests.reconcile.test_repair as t
from tests.conftest import Database
bench = t.Bench(t.project_on(t.postgres(Database(sys.argv[2], sys.argv[3]))))
plan = bench.plan(t.Guards(10_000, 100, True))
print("planned", flush=True)
t.apply_plan(bench.project, plan, t.Guards(10_000, 100, True))
"""


@pytest.mark.parametrize("wait", [0.0, 0.05, 0.12, 0.2, 0.35])
def test_a_repair_killed_at_any_moment_leaves_all_or_nothing_and_a_rerun_converges(
    pg: Bench, database: Database, wait: float
) -> None:
    pg.run(
        "create table truth as select n as id, n as v from generate_series(1, 3000) n",
        "create table kept as select id, case when id % 3 = 0 then 0 else v end as v from truth where id % 5 <> 0",
    )
    process = subprocess.Popen(
        [sys.executable, "-c", _REPAIR, str(ROOT), database.name, database.host], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(wait)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()

    verdict, drift = pg.verdict()
    journaled = (
        pg.rows("select to_regclass('reconcile.repair') is not null")[0][0]
        and pg.rows("select count(*) from reconcile.repair")[0][0]
    )
    assert drift in (Drift(), Drift(missing=600, changed=800))
    assert journaled == (1 if verdict is Verdict.LEVEL else 0)
    if verdict is Verdict.DRIFT:
        apply_plan(pg.project, pg.plan(Guards(10_000, 100, True)), Guards(10_000, 100, True))
    assert pg.verdict()[0] is Verdict.LEVEL
