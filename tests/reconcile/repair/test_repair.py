"""Repair: planned, guarded, applied row by row, journaled, undone."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import duckdb
import pytest

from reconcile.dbt.project import Project
from reconcile.definition.model import Definition
from reconcile.engines.factory import Connection
from reconcile.errors import Refused
from reconcile.repair import session as repair
from reconcile.repair.guards import Guards
from reconcile.repair.plan_file import PlannedRow, RepairPlan, open_plan, write_plan
from reconcile.repair.session import repair_session
from reconcile.repair.sql_script import write_script
from reconcile.repair.undo import undo
from reconcile.report.model import Drift, Refusal, Verdict
from tests.reconcile.compare.test_property import literal, random_case
from tests.support.bench import LOOSE, Bench, model, project_on, ten

pytestmark = pytest.mark.lake(long=True)


def test_every_kind_is_repaired_and_no_other_row_is_written(bench: Bench) -> None:
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
    path = tmp_path / "plan.json"
    plan = bench.plan(path)
    target, database = bench.project.connection.target, bench.project.connection.identity

    def read(database: str = database) -> tuple[RepairPlan, list[tuple[int, PlannedRow]]]:
        with open_plan(path, target, database) as (found, rows):
            return found, list(rows)

    found, rows = read()
    assert found == plan
    assert sum(row.copies or 1 for _, row in rows) == plan.tables[0].written == 6

    with pytest.raises(Refused, match="was made for target dev"):
        read("postgres:elsewhere")
    whole = path.read_text()
    for before, after in (("fabricated", "fabricatee"), (f'"deletes": {plan.tables[0].deletes}', '"deletes": 0')):
        path.write_text(whole.replace(before, after))
        with pytest.raises(Refused, match="was edited"):
            read()
    path.write_text(whole[: whole.index('"fabricated"')])
    with pytest.raises(Refused, match="is no repair plan"):
        read()
    write_plan(RepairPlan(**{**vars(plan), "expires_at": "2026-01-01T00:00:00+00:00"}), rows, path)
    with pytest.raises(Refused, match="expired"):
        read()
    path.write_text("[]")
    with pytest.raises(Refused, match="is no repair plan"):
        read()


def test_rows_that_changed_after_the_plan_are_left_alone_and_counted(bench: Bench, tmp_path: Path) -> None:
    ten(bench)
    bench.plan(tmp_path / "plan.json")
    bench.run(
        "update kept set v = 'newer' where id = 2",  # no longer the before-image
        "delete from kept where id = 99",  # gone already
        "update truth set v = 'moved on' where id = 1",  # the definition asks for another row now
    )
    done = bench.apply(tmp_path / "plan.json")

    assert (done.inserted, done.updated, done.stale) == (0, 0, 3)
    assert bench.rows("select v from kept where id = 2") == [("newer",)]
    assert bench.verdict()[1] == Drift(missing=1, changed=1)


def test_ignored_columns_stay_as_they_are_but_come_with_inserted_rows(connection: Connection) -> None:
    bench = Bench(project_on(connection, ignore=frozenset({"note"})))
    bench.make("id integer, v integer, note varchar", "(1, 1, 'a'), (2, 2, 'b')", "(1, 9, 'mine')")
    bench.repair()

    assert bench.rows() == [(1, 1, "mine"), (2, 2, "b")]


def test_a_table_without_a_key_is_repaired_by_copies(connection: Connection) -> None:
    bench = Bench(project_on(connection, key=()))
    bench.make("a integer, b varchar", "(1, 'x'), (1, 'x'), (2, null)", "(1, 'x'), (3, 'z'), (3, 'z'), (2, null)")
    done = bench.repair()

    assert (done.inserted, done.deleted) == (1, 2)
    assert bench.rows() == [(1, "x"), (1, "x"), (2, None)]


def test_composite_and_odd_names(connection: Connection) -> None:
    bench = Bench(project_on(connection, key=("Big Key", "select")))
    columns = f'"Big Key" varchar, "select" integer, "a""b" {"varchar" if connection.adapter == "spark" else "json"}'
    bench.make(columns, """('x|y', 1, '{"a": 1}'), ('x', 2, null)""", """('x|y', 1, '{"a": 2}')""")
    done = bench.repair()

    assert (done.inserted, done.updated) == (1, 1)
    assert bench.verdict()[0] is Verdict.LEVEL


def test_an_unverified_model_is_never_repaired(bench: Bench) -> None:
    ten(bench)
    definition = Definition(**{**vars(bench.project.definitions[0]), "unverifiable": "it calls now()"})
    with pytest.raises(Refused, match=r"--exclude kept"):
        Bench(Project(bench.project.connection, (definition,), Path("."))).repair()


def test_a_missing_column_is_not_repaired_by_rows(bench: Bench) -> None:
    bench.run(
        "create table truth (id integer, v integer)",
        "create table kept (id integer)",
        "insert into truth values (1, 1)",
        "insert into kept values (1)",
    )
    with pytest.raises(Refused, match="--full-refresh"):
        bench.repair()


@pytest.mark.lake(False)  # nothing is kept unique there
def test_rows_that_swap_unique_values_or_hand_them_on(bench: Bench) -> None:
    bench.make(
        "id integer primary key, v integer unique, w varchar",
        "(1, 10, 'a'), (2, 20, 'b'), (3, 30, 'c'), (4, 40, 'd'), (5, 50, 'e'), (7, 7, 'same')",
        "(1, 20, 'a'), (2, 10, 'b'), (3, 40, 'x'), (4, 50, 'd'), (6, 30, 'gone'), (7, 7, 'same')",
    )
    done = bench.repair()

    assert (done.inserted, done.updated, done.deleted) == (1, 4, 1)
    assert bench.rows() == bench.rows("select * from truth order by 1")
    assert bench.rows("select action, count(*) from reconcile.repair_row group by 1 order by 1") == [
        ("delete", 1),
        ("insert", 1),
        ("update", 4),
    ]
    undo(bench.project, done.run_id, apply=True)
    assert bench.rows() == [(1, 20, "a"), (2, 10, "b"), (3, 40, "x"), (4, 50, "d"), (6, 30, "gone"), (7, 7, "same")]


@pytest.mark.lake(False)
def test_the_script_for_review_does_what_the_repair_would(bench: Bench, tmp_path: Path) -> None:
    ten(bench)
    bench.run(
        "update truth set v = 'it''s; -- \\ \U0001f600' where id = 5", "insert into truth values (11, null, 'NaN')"
    )
    with repair_session(bench.project) as session:
        session.make()
        write_script(session, tmp_path / "repair.sql")
    script = (tmp_path / "repair.sql").read_text()
    assert len(bench.rows()) == 13  # written, and not run

    statements = [part for part in script.split(";\n") if part.strip()]
    bench.run(";\n".join(statements))
    assert bench.verdict() == (Verdict.LEVEL, Drift())
    # once more: no row that a key names is as it was, so nothing is done to it
    bench.run("update kept set v = 'newer' where id in (1, 2)")
    bench.run(";\n".join(statement for statement in statements if " limit 1)" not in statement))
    assert bench.verdict() == (Verdict.DRIFT, Drift(changed=2))


def test_columns_that_the_definition_lacks_keep_their_defaults(
    connection: Connection,
) -> None:
    bench = Bench(project_on(connection, ignore=frozenset({"seen"})))
    bench.run(
        "create table truth (id integer, v integer)",
        "create table kept (id integer, v integer, seen varchar default 'never')",
        "insert into truth values (1, 1), (2, 2)",
        "insert into kept values (1, 9, 'monday'), (3, 3, 'tuesday')",
    )
    done = bench.repair()
    assert bench.rows() == [(1, 1, "monday"), (2, 2, "never")]

    undo(bench.project, done.run_id, apply=True)
    assert bench.rows() == [(1, 9, "monday"), (3, 3, "tuesday")]


def test_what_differs_within_its_tolerance_is_not_written(connection: Connection) -> None:
    bench = Bench(project_on(connection, tolerance={"x": 0.5}))
    bench.make("id integer, v integer, x double precision", "(1, 1, 1.0), (2, 2, 2.0)", "(1, 9, 1.25), (2, 2, 2.25)")
    bench.repair()

    assert bench.rows() == [(1, 1, 1.25), (2, 2, 2.25)]


def test_the_journal_forgets_what_is_older_than_asked(bench: Bench) -> None:
    bench.make("id integer, v integer", "(1, 1), (2, 2)", "(1, 9), (2, 2)")
    old = bench.repair()
    bench.run("update reconcile.repair set applied_at = current_timestamp - interval '31 days'")
    bench.run("update kept set v = 0 where id = 2")
    with repair_session(bench.project) as session:
        session.make()
        done = session.apply(LOOSE)
        assert session.forget(30) == 1

    assert bench.rows("select distinct run_id from reconcile.repair_row") == [(done.run_id,)]
    with pytest.raises(Refused, match="holds no repair"):
        undo(bench.project, old.run_id, apply=True)


def test_the_refusal_of_one_model_does_not_stop_the_others(connection: Connection) -> None:
    models = (model("kept", "select * from truth"), model("other", "select id, 0 as v from truth"))
    bench = Bench(Project(connection, models, Path(".")))
    bench.make("id integer, v integer", "(1, 1), (2, 2)", "(1, 9), (2, 2)")
    bench.run("create table other (id integer, v integer)", "insert into other values (1, 0), (7, 0)")
    done = bench.repair(Guards(max_percent=100))
    assert done.refused == (Refusal("other", "other: 1 rows to delete, which needs --allow-delete"),)
    assert bench.rows() == [(1, 1), (2, 2)]
    assert bench.rows("select * from other order by 1") == [(1, 0), (7, 0)]

    done = bench.repair()
    assert (done.inserted, done.updated, done.deleted, done.stale, done.refused) == (1, 0, 1, 0, ())


def test_a_model_that_cannot_be_planned_does_not_stop_the_others(connection: Connection) -> None:
    models = (model("lost", "select id from truth"), model("kept", "select * from truth"))
    bench = Bench(Project(connection, models, Path(".")))
    bench.make("id integer, v integer", "(1, 1), (2, 2)", "(1, 9), (2, 2)")
    bench.run("create table lost (id integer, v integer)", "insert into lost values (1, 0)")
    done = bench.repair()

    assert [refusal.name for refusal in done.refused] == ["lost"]
    assert "--full-refresh" in done.refused[0].reason
    assert bench.rows() == [(1, 1), (2, 2)]


def test_a_model_that_needs_nothing_keeps_the_plan_of_another(connection: Connection) -> None:
    models = (model("kept", "select * from truth"), model("other", "select cast(null as integer) as id, 1 as v"))
    bench = Bench(Project(connection, models, Path(".")))
    bench.make("id integer, v integer", "(1, 1), (2, 2)", "(1, 9), (2, 2)")
    bench.run("create table other (id integer, v integer)", "insert into other values (null, 1)")
    with repair_session(bench.project) as session:
        session.make(brief=True)  # which takes a row without a key for drift
        assert session.apply(LOOSE).updated == 1

    assert bench.rows() == [(1, 1), (2, 2)]


def test_an_old_plan_is_evaluated_again_before_it_is_written(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.make("id integer, v integer", "(1, 1), (2, 2)", "(1, 9), (2, 2)")
    monkeypatch.setattr(repair, "_FRESH_SECONDS", 0.0)
    with repair_session(bench.project) as session:
        session.make()
        session.engine.execute("update truth set v = 9 where id = 1")  # its source was corrected to what the table has
        done = session.apply(LOOSE)

    assert (done.updated, done.stale) == (0, 1)
    assert bench.rows() == [(1, 9), (2, 2)]


def test_an_error_in_one_table_leaves_the_repair_of_another(connection: Connection) -> None:
    models = (model("kept", "select * from truth"), model("other", "select id, cast(null as integer) as v from truth"))
    bench = Bench(Project(connection, models, Path(".")))
    bench.make("id integer, v integer", "(1, 1), (2, 2)", "(1, 9), (2, 2)")
    bench.run("create table other (id integer, v integer not null)", "insert into other values (1, 0), (2, 0)")
    done = bench.repair()

    assert [refusal.name for refusal in done.refused] == ["other"]
    assert bench.rows() == [(1, 1), (2, 2)]
    assert bench.rows("select * from other order by 1") == [(1, 0), (2, 0)]
    undo(bench.project, done.run_id, apply=True)
    assert bench.rows() == [(1, 9), (2, 2)]


@pytest.mark.long
@pytest.mark.parametrize("part", range(3))
def test_a_repair_makes_random_tables_equal_and_an_undo_restores_them(connection: Connection, part: int) -> None:
    """Random tables: with and without a key, with keys that are NULL or occur too often."""
    repaired = 0
    for seed in range(part, 24 if connection.adapter == "spark" else 90, 3):
        types, n_key, expected, actual = random_case(seed)
        if not expected:
            continue  # a repair never empties a table
        columns = ", ".join(f"c{i} {kind}" for i, kind in enumerate(types))
        key = tuple(f"c{i}" for i in range(n_key))
        definition = model(f"kept{seed}", f"select * from truth{seed}", key)
        bench = Bench(Project(connection, (definition,), Path(".")))
        for name, rows in ((f"truth{seed}", expected), (f"kept{seed}", actual)):
            values = ", ".join(f"({', '.join(map(literal, row))})" for row in rows)
            bench.run(f"create table {name} ({columns})", *([f"insert into {name} values {values}"] if rows else []))
        query = f"select * from kept{seed}"
        before = Counter(bench.rows(query))
        with repair_session(bench.project) as session:
            session.make()
            done = session.apply(Guards(max_rows=1000, max_percent=100, allow_delete=True))
        assert Counter(bench.rows(query)) == Counter(bench.rows(f"select * from truth{seed}")), f"seed {seed}"
        assert bench.verdict() == (Verdict.LEVEL, Drift()), f"seed {seed}"
        if done.inserted or done.updated or done.deleted:
            undone = undo(bench.project, done.run_id, apply=True)
            assert (Counter(bench.rows(query)), undone.stale) == (before, 0), f"seed {seed}"
            repaired += 1
    assert repaired > 2


@pytest.mark.lake(False)
def test_a_keyless_table_is_repaired_by_its_surplus_rows_only(connection: Connection, tmp_path: Path) -> None:
    """An ignored column made every row a surplus: 2,000 inserts and 2,001 deletes for one drifted row."""
    bench = Bench(project_on(connection, key=(), ignore=frozenset({"note"})))
    bench.run(
        "create table truth as select n as v, 'truth' as note from generate_series(1, 200) as s (n)",
        "create table kept as select v, 'mine ' || v as note from truth",
        "update kept set v = -5 where v = 5",
    )
    before = bench.rows("select * from kept order by v, note")
    assert bench.plan(tmp_path / "plan.json").tables[0].unneeded == 0
    done = bench.repair()
    assert (done.inserted, done.updated, done.deleted) == (1, 0, 1)
    assert bench.rows("select count(*) from kept where note like 'mine %'") == [(199,)]
    assert bench.rows("select v from kept order by v") == bench.rows("select v from truth order by v")

    undo(bench.project, done.run_id, apply=True)
    assert bench.rows("select * from kept order by v, note") == before


@pytest.mark.lake(False)
def test_a_deleted_duplicate_comes_back_with_its_other_columns(connection: Connection) -> None:
    bench = Bench(project_on(connection, ignore=frozenset({"note", "seen"})))
    bench.run(
        "create table truth (id integer, v integer, note varchar)",
        "create table kept (id integer, v integer, note varchar, seen varchar)",
        "insert into truth values (1, 1, 'a'), (2, 2, 'b')",
        "insert into kept values (1, 1, 'x', 'monday'), (1, 1, 'y', 'tuesday'), (2, 2, 'b', null), (2, 3, 'z', 'now')",
    )
    everything = "select * from kept order by id, v, note"
    before = bench.rows(everything)
    done = bench.repair()
    assert (done.inserted, done.updated, done.deleted, done.stale) == (0, 0, 2, 0)
    assert bench.verdict()[0] is Verdict.LEVEL
    assert bench.rows("select id, v from kept order by 1") == [(1, 1), (2, 2)]

    undo(bench.project, done.run_id, apply=True)
    assert bench.rows(everything) == before


@pytest.mark.lake(False)
def test_the_script_deletes_rows_of_a_table_with_more_columns(connection: Connection, tmp_path: Path) -> None:
    bench = Bench(project_on(connection, ignore=frozenset({"seen"})))
    bench.run(
        "create table truth (id integer, v integer)",
        "create table kept (id integer, v integer, seen varchar default 'never')",
        "insert into truth values (1, 1), (2, 2)",
        "insert into kept values (1, 1, 'monday'), (2, 2, 'monday'), (2, 2, 'friday'), (3, 3, 'tuesday')",
    )
    with repair_session(bench.project) as session:
        session.make()
        write_script(session, tmp_path / "repair.sql")
    bench.run(*[part for part in (tmp_path / "repair.sql").read_text().split(";\n") if part.strip()])

    assert bench.rows("select id, v from kept order by 1") == [(1, 1), (2, 2)]


@pytest.mark.lake(False)
def test_an_ignored_clock_column_does_not_make_a_plan_stale(connection: Connection, tmp_path: Path) -> None:
    models = (model("kept", "select id, v, random() as built from truth", ignore=frozenset({"built"})),)
    bench = Bench(Project(connection, models, Path(".")))
    bench.run(
        "create table truth (id integer, v integer)",
        "create table kept (id integer, v integer, built double precision)",
        "insert into truth values (1, 1), (2, 2), (3, 3)",
        "insert into kept values (1, 1, 0.5), (2, 9, 0.5)",
    )
    bench.plan(tmp_path / "plan.json")
    done = bench.apply(tmp_path / "plan.json")

    assert (done.inserted, done.updated, done.stale) == (1, 1, 0)
    assert bench.rows("select built from kept where id = 2") == [(0.5,)]


@pytest.mark.lake(False)
@pytest.mark.parametrize(("written", "table", "passes"), [(3, 24, True), (5, 24, True), (6, 24, False), (3, 3, False)])
def test_a_few_rows_of_a_small_table_pass_the_percentage(bench: Bench, written: int, table: int, passes: bool) -> None:
    bench.run(
        f"create table truth as select n as id, n as v from generate_series(1, {table}) as s (n)",
        f"create table kept as select id, case when id <= {written} then -1 else v end as v from truth",
    )
    guards = Guards(max_percent=10)
    if passes:
        assert bench.repair(guards).updated == written
    else:
        with pytest.raises(Refused, match="--max-percent allows 10"):
            bench.repair(guards)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"rows": ' + "[" * 100_000,
        "{\n" + ' "a": 1,\n' * 10,
        '{\n "tables": ' + "[" * 100_000,
        "",
        "{\n",
    ],
)
def test_a_file_that_is_no_plan_is_refused_at_once(tmp_path: Path, text: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(Refused, match="is no repair plan"), open_plan(path, "dev", "x") as (_, rows):
        list(rows)


def test_duckdb_types_are_repaired_and_undone_or_refused_by_name(tmp_path: Path) -> None:
    """Each type as a value: changed, missing and extra."""
    path = str(tmp_path / "types.duckdb")
    duckdb.connect(path).close()
    connection = Connection("duckdb", "dev", 1, SimpleNamespace(path=path, settings={}))
    for number, (kind, one, two) in enumerate(DUCKDB_TYPES):
        name = f"kept{number}"
        bench = Bench(Project(connection, (model(name, f"select * from truth{number}"),), Path(".")))
        for table, rows in (
            (f"truth{number}", f"(1, {one}), (2, {two}), (3, null)"),
            (name, f"(1, {two}), (3, {one}), (4, {two})"),
        ):
            bench.run(f"create table {table} (id integer, v {kind})", f"insert into {table} values {rows}")
        everything = f"select id, typeof(v), v::varchar from {name} order by id"
        before = bench.rows(everything)
        done = bench.repair()
        assert bench.rows(everything) == bench.rows(everything.replace(name, f"truth{number}")), kind
        undo(bench.project, done.run_id, apply=True)
        assert bench.rows(everything) == before, kind


DUCKDB_TYPES = (
    ("struct(a integer, b varchar)", "{'a': 1, 'b': 'it''s, \"x\"'}", "{'a': null, 'b': 'NULL'}"),
    ("map(varchar, integer)", "map {'a=b': 1, 'c': null}", "map {}"),
    ("enum ('x', 'y z')", "'x'", "'y z'"),
    ("interval", "interval '1 month 3 hours'", "interval '30 days -1 second'"),
    ("varchar[]", "['a', 'NULL', null, '']", "[]"),
    ("integer[3]", "[1, 2, 3]", "[3, 2, null]"),
    ("bit", "'0101'", "'1'"),
    ("blob", "'\\xAA\\x00'::blob", "''::blob"),
    ("timestamp with time zone", "'2026-05-06 10:00+03:30'", "'infinity'"),
    ("time with time zone", "'10:00:00+05'", "'23:59:59.999999-01'"),
    ("timestamp_ns", "'2026-01-01 00:00:00.123456789'", "'1970-01-01'"),
    ("decimal(38, 10)", "1.5", "-0.0000000001"),
    ("hugeint", "170141183460469231731687303715884105727", "-1"),
    ("uuid", "'fbdb6652-fa84-4ce3-ba55-5f88d7c98816'", "'00000000-0000-0000-0000-000000000000'"),
    ("json", "'{\"a\": [1, null]}'", "'null'"),
    ("double", "0.1", "'nan'"),
)


def test_a_duckdb_type_without_a_faithful_text_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "union.duckdb")
    duckdb.connect(path).close()
    bench = Bench(project_on(Connection("duckdb", "dev", 1, SimpleNamespace(path=path, settings={}))))
    bench.make("id integer, v union(n integer, s varchar)", "(1, 5), (2, 7)", "(1, 'x'), (2, 7)")
    with pytest.raises(Refused, match=r"its column v is of type UNION\(n INTEGER, s VARCHAR\)"):
        bench.repair()
