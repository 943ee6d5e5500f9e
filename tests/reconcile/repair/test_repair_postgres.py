"""Repair where only Postgres can be hurt: generated columns, triggers, foreign keys, locks, roles."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from reconcile.dbt.project import Project
from reconcile.errors import EvaluationFailed, Refused
from reconcile.repair.guards import Guards
from reconcile.repair.session import repair_session
from reconcile.repair.sql_script import write_script
from reconcile.repair.undo import undo
from reconcile.report.model import Verdict
from tests.conftest import Database
from tests.support.bench import Bench, model, postgres, project_on, ten

CASCADE = Guards(max_rows=1000, max_percent=100, allow_delete=True, cascade=True)


def test_generated_and_identity_columns(pg: Bench) -> None:
    columns = (
        "id integer generated always as identity primary key, v integer, w integer generated always as (v * 2) stored"
    )
    pg.run(
        f"create table kept ({columns})",
        "create table truth (id integer, v integer, w integer)",
        "insert into truth values (1, 1, 2), (2, 2, 4), (3, 3, 6)",
        "insert into kept overriding system value values (1, 1, default), (2, 9, default)",
    )
    pg.repair()

    assert pg.rows() == [(1, 1, 2), (2, 2, 4), (3, 3, 6)]


def test_a_trigger_that_spoils_an_undo_rolls_it_back(pg: Bench) -> None:
    pg.make("id integer, v integer", "(1, 1), (2, 2)", "(1, 8), (2, 8)")
    done = pg.repair()
    pg.run(
        "create function spoil() returns trigger language plpgsql as $$ begin new.v := 9; return new; end $$",
        "create trigger spoil before update on kept for each row execute function spoil()",
    )
    with pytest.raises(Refused, match="rolled back"):
        undo(pg.project, done.run_id, apply=True)
    assert pg.rows() == [(1, 1), (2, 2)]
    assert pg.rows("select count(*) from reconcile.repair") == [(1,)]


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


def test_a_swap_of_rows_that_others_refer_to_is_refused(pg: Bench) -> None:
    pg.make("id integer primary key, v integer unique", "(1, 10), (2, 20)", "(1, 20), (2, 10)")
    pg.run("create table child (id integer references kept on delete cascade)", "insert into child values (1)")
    with pytest.raises(Refused, match="a foreign key of child depends on them: rolled back"):
        pg.repair()
    assert pg.rows() == [(1, 20), (2, 10)]
    assert pg.rows("select * from child") == [(1,)]


def test_a_unique_value_that_another_row_has_is_refused(pg: Bench) -> None:
    pg.run("create table truth (id integer, v integer)", "create table kept (id integer primary key, v integer unique)")
    pg.run("insert into truth values (1, 10), (2, 10)", "insert into kept values (1, 10)")
    with pytest.raises(Refused, match="another row has a unique value of theirs"):
        pg.repair()
    assert pg.rows() == [(1, 10)]


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
    with pytest.raises(Refused, match="may not create the repair journal"):
        reader.repair()
    pg.run("create schema reconcile", f"grant usage, create on schema reconcile to {name}")
    with pytest.raises(Refused, match=f"may not .*: grant .* to {name}"):
        reader.repair()
    pg.run(f"drop owned by {name}", f"drop role {name}")


def test_no_stronger_lock_than_row_exclusive_is_taken(pg: Bench, database: Database) -> None:
    ten(pg)
    with psycopg.connect(database.conninfo, autocommit=True) as watcher:
        watcher.execute("create table locks (mode text)")
        watcher.execute(
            "create function spy(integer) returns boolean language plpgsql as $$ begin"
            " insert into locks select mode from pg_locks where relation = 'kept'::regclass; return true; end $$"
        )
        watcher.execute("alter table kept add check (spy(id)) not valid")
    pg.repair()

    modes = {mode for (mode,) in pg.rows("select distinct mode from locks")}
    assert modes <= {"AccessShareLock", "RowShareLock", "RowExclusiveLock"}
    assert "RowExclusiveLock" in modes


def test_copies_of_a_row_in_two_partitions_that_share_a_place(pg: Bench) -> None:
    pg.run(
        "create table truth (id integer, v integer)",
        "insert into truth values (1, 1), (11, 11)",
        "create table kept (id integer, v integer) partition by range (id)",
        "create table kept_a partition of kept for values from (0) to (10)",
        "create table kept_b partition of kept for values from (10) to (100)",
        "insert into kept values (1, 1), (1, 1), (11, 11)",  # (0, 1) in kept_a is a copy, (0, 1) in kept_b is not
    )
    assert pg.repair().deleted == 1
    assert pg.rows() == [(1, 1), (11, 11)]


def family(pg: Bench, *more: str) -> Bench:
    """Parents with children that refer to them; the child's model comes first by name."""
    models = (model("child", "select * from true_child"), model("parent", "select * from true_parent"))
    bench = Bench(Project(pg.project.connection, models, Path(".")))
    bench.run(
        "create table parent (id integer primary key, v integer)",
        "create table child (id integer primary key, parent_id integer references parent)",
        "create table true_parent (id integer, v integer)",
        "create table true_child (id integer, parent_id integer)",
        *more,
    )
    return bench


def test_parents_are_written_before_their_children_and_deleted_after_them(pg: Bench) -> None:
    bench = family(pg, "insert into true_parent values (1, 1)", "insert into true_child values (1, 1)")
    assert bench.repair().refused == ()
    assert bench.rows("select * from child") == [(1, 1)]

    bench.run("insert into parent values (2, 2)", "insert into child values (2, 2)")
    assert bench.repair().deleted == 2
    assert bench.rows("select * from parent") == [(1, 1)]


def test_foreign_keys_in_a_circle_are_refused(pg: Bench) -> None:
    bench = family(
        pg,
        "insert into true_parent values (1, 1)",
        "insert into true_child values (1, 1)",
        "alter table parent add foreign key (v) references child deferrable initially deferred",
    )
    with pytest.raises(Refused, match="foreign keys of child, parent form a circle"):
        bench.repair()
    assert bench.rows("select count(*) from parent") == [(0,)]


def test_a_deletion_that_cascades_is_refused_by_default(pg: Bench) -> None:
    family_with_grandchildren(pg)
    with pytest.raises(Refused, match=r"2 rows of child would be deleted by cascade and 1 rows of toy would be set to"):
        pg.repair()
    assert pg.rows("select * from child order by 1") == [(1, 1), (2, 3), (3, 3)]


def test_a_cascade_is_journaled_and_undone_with_the_parent(pg: Bench) -> None:
    family_with_grandchildren(pg)
    tables = ("kept", "child", "toy")
    before = [pg.rows(f"select * from {table} order by 1") for table in tables]
    done = pg.repair(CASCADE)
    assert done.deleted == 1
    assert pg.rows("select * from child") == [(1, 1)]
    assert pg.rows("select * from toy") == [(1, None)]
    after = [pg.rows(f"select * from {table} order by 1") for table in tables]

    undone = undo(pg.project, done.run_id, apply=True)
    assert undone.stale == 0
    assert [pg.rows(f"select * from {table} order by 1") for table in tables] == before
    undo(pg.project, undone.run_id, apply=True)
    assert [pg.rows(f"select * from {table} order by 1") for table in tables] == after


def family_with_grandchildren(pg: Bench) -> None:
    pg.make("id integer, v integer", "(1, 1), (2, 2)", "(1, 1), (2, 2), (3, 3)")
    pg.run(
        "alter table kept add primary key (id)",
        "create table child (id integer primary key, parent integer references kept on delete cascade)",
        "create table toy (id integer primary key, owner integer references child on delete set null)",
        "insert into child values (1, 1), (2, 3), (3, 3)",
        "insert into toy values (1, 2)",
    )


def test_an_undo_that_would_cascade_is_refused(pg: Bench) -> None:
    pg.make("id integer primary key, v integer", "(1, 1), (2, 2)", "(1, 1)")
    done = pg.repair()
    pg.run("create table child (id integer references kept on delete cascade)", "insert into child values (2)")
    with pytest.raises(Refused, match="1 rows of child would be deleted by cascade"):
        undo(pg.project, done.run_id, apply=True)
    assert pg.rows("select * from child") == [(2,)]


def test_a_check_that_rewrites_other_rows_rolls_the_repair_back(pg: Bench) -> None:
    pg.make("id integer, v integer", "(1, 1), (2, 2)", "(1, 9), (2, 2)")
    pg.run(
        "create function spread(integer, integer) returns boolean language plpgsql as"
        " $$ begin if $2 <> 7 then update kept set v = 7 where id <> $1 and v <> 7; end if; return true; end $$",
        "alter table kept add check (spread(id, v)) not valid",
    )
    with pytest.raises(Refused, match="wrote 1 rows that are not in the plan: rolled back"):
        pg.repair()
    assert pg.rows() == [(1, 9), (2, 2)]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("alter table kept alter column v type bigint", r'column "v" of kept changed type \(integer -> bigint\)'),
        ("alter table kept rename column v to w", r'column "v" of kept was dropped or renamed'),
        ("alter table kept drop column v, add column v integer", r"column number of v of kept changed \(2 -> 3\)"),
        ("alter table kept add column w integer", r'column "w" of kept was added'),
        ("create rule quiet as on insert to kept do instead nothing", "rule quiet of kept was added"),
        ("alter table kept add check (v < 100)", "constraint kept_v_check of kept was added"),
        ("alter table kept enable row level security", r"row security of kept changed \(off -> enabled\)"),
    ],
)
def test_a_plan_for_a_table_that_changed_is_refused(pg: Bench, tmp_path: Path, change: str, sentence: str) -> None:
    pg.make("id integer, v integer", "(1, 1), (2, 2)", "(1, 9), (2, 2)")
    pg.plan(tmp_path / "plan.json")
    pg.run(change)
    again = r"after the plan was made. Make a new plan: reconcile repair -s kept --plan plan.json"
    with pytest.raises(Refused, match=f"{sentence} {again}"):
        pg.apply(tmp_path / "plan.json")
    assert pg.rows("select id from kept order by 1") == [(1,), (2,)]


def test_a_constraint_with_a_new_name_and_an_equal_definition_is_no_change(pg: Bench, tmp_path: Path) -> None:
    pg.make("id integer, v integer", "(1, 1), (2, 2)", "(1, 9), (2, 2)")
    pg.run("alter table kept add constraint low check (v < 100), add constraint kept_key primary key (id)")
    pg.plan(tmp_path / "plan.json")
    pg.run("alter table kept rename constraint low to small", "alter table kept rename constraint kept_key to k")
    assert pg.apply(tmp_path / "plan.json").updated == 1

    pg.run("update kept set v = 9 where id = 1")
    pg.plan(tmp_path / "plan.json")
    pg.run("alter table kept drop constraint small, add constraint large check (v < 1000)")
    with pytest.raises(Refused, match="constraint small of kept was dropped"):
        pg.apply(tmp_path / "plan.json")


def test_a_plan_of_many_rows_is_found_again_without_a_nested_loop(pg: Bench, tmp_path: Path) -> None:
    """A nested loop would evaluate 36 million pairs of rows, a second per 10,000 of them."""
    pg.run(
        "create table truth as select i as id, 'v' || i as v, i % 7 as w from generate_series(1, 6000) as i",
        "create table kept (id integer primary key, v text, w integer)",
    )
    pg.plan(tmp_path / "plan.json")
    done = pg.apply(tmp_path / "plan.json", Guards(max_rows=10_000, max_percent=100))

    assert (done.inserted, done.stale) == (6000, 0)
    assert pg.verdict()[0] is Verdict.LEVEL


def test_an_undo_of_a_column_that_changed_is_refused(pg: Bench) -> None:
    pg.make("id integer, v integer", "(1, 1), (2, 2)", "(1, 9), (2, 2)")
    done = pg.repair()
    pg.run("alter table kept rename column v to w")
    with pytest.raises(Refused, match=r'column "v" of kept no longer exists'):
        undo(pg.project, done.run_id, apply=True)
    pg.run("alter table kept rename column w to v", "alter table kept alter column v type bigint")
    with pytest.raises(Refused, match=r"changed type \(integer -> bigint\) after the repair"):
        undo(pg.project, done.run_id, apply=True)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("char(3)", ("'USD'", "'EUR'", "'x'")),
        ("bit(5)", ("'10101'", "'01010'", "'11111'")),
        ("varchar(5)", ("'ab  '", "'ab'", "''")),
        ("char(3)[]", ("array['USD', 'E']", "array['EUR']", "'{}'")),
        ("numeric", ("2.50", "1.5", "1e20")),
        ("interval", ("'1 mon -3 days'", "'-1 day +03:30'", "'-1-2 +3 -4:05:06'")),
        ("timestamptz", ("'2026-05-06 10:00+03:30'", "'infinity'", "'0044-03-15 BC'")),
        ("date", ("'2026-05-06'", "'2026-06-05'", "'-infinity'")),
        ("double precision", ("0.1", "0.30000000000000004", "'-0'")),
        ("bytea", ("'\\x00ff'", "''", "'a'")),
        ("money", ("12.34", "-5", "1000")),
        ("tstzrange", ("'[2026-01-01,2026-02-01)'", "'empty'", "'(,)'")),
    ],
)
def test_values_survive_repair_and_undo_under_other_settings(
    pg: Bench, database: Database, kind: str, values: tuple[str, ...]
) -> None:
    one, two, three = values
    pg.make(f"id integer, v {kind}", f"(1, {one}), (2, {two}), (3, null)", f"(1, {two}), (3, {three}), (4, {one})")
    everything = "select id, v::text from kept order by id"
    settings = [
        f"alter database {database.name} set {name} = {value}"
        for name, value in (
            ("datestyle", "'SQL, DMY'"),
            ("intervalstyle", "'sql_standard'"),
            ("timezone", "'Asia/Tehran'"),
            ("extra_float_digits", "-5"),
        )
    ]
    before = pg.rows(everything)
    pg.run(*settings)
    done = pg.repair()
    pg.run(*(f"alter database {database.name} reset {name}" for name in ("datestyle", "intervalstyle")))
    assert pg.rows(everything) == pg.rows(everything.replace("kept", "truth"))
    undo(pg.project, done.run_id, apply=True)
    pg.run(f"alter database {database.name} reset all")

    assert pg.rows(everything) == before


def test_an_identity_column_is_repaired_by_delete_and_insert(pg: Bench, tmp_path: Path) -> None:
    columns = "id integer primary key, v integer generated always as identity"
    pg.run(
        f"create table kept ({columns})",
        "create table truth (id integer, v integer)",
        "insert into truth values (1, 10), (2, 20)",
        "insert into kept overriding system value values (1, 10), (2, 2)",
    )
    with repair_session(pg.project) as session:
        session.make()
        write_script(session, tmp_path / "repair.sql")
    done = pg.repair()
    assert done.updated == 1
    assert pg.rows() == [(1, 10), (2, 20)]
    undo(pg.project, done.run_id, apply=True)
    assert pg.rows() == [(1, 10), (2, 2)]

    pg.run(*[part for part in (tmp_path / "repair.sql").read_text().split(";\n") if part.strip()])
    assert pg.rows() == [(1, 10), (2, 20)]
