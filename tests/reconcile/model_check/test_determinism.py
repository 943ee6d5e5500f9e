"""A definition that varies between evaluations, or whose rows a policy hides, is never level."""

from __future__ import annotations

import psycopg
import pytest

from reconcile.definition.model import Definition, ModelSettings
from reconcile.engines.duckdb import DuckDBEngine
from reconcile.engines.postgres import PostgresEngine
from reconcile.model_check.judge_model import judge_definition
from reconcile.report.model import TableReport, Verdict
from tests.conftest import Database
from tests.reconcile.conftest import Tables


def judge(tables: Tables, sql: str, *, ignore: tuple[str, ...] = ()) -> TableReport:
    """The report on a table that was built from ``sql`` just now."""
    tables.engine.execute(f"create table built as {sql}")
    definition = Definition(
        unique_id="model.p.built",
        name="built",
        relation_name="built",
        key=("grp",),
        sql=sql,
        contract={},
        settings=ModelSettings(ignore=frozenset(ignore)),
        path="built.sql",
    )
    return judge_definition(tables.engine, definition)


@pytest.fixture
def filled(tables: Tables) -> Tables:
    """On Postgres and DuckDB; Sail's list of names has a test in test_definition.py."""
    tables.engine.execute("create table source (grp integer, name varchar, happened timestamp)")
    tables.engine.execute("insert into source values (1, 'a', '2020-01-01'), (1, 'b', '2020-01-01'), (2, 'now', null)")
    return tables


def test_ties_are_found_beside_an_ignored_clock_column(filled: Tables) -> None:
    sql = "select grp, string_agg(name, ',') as names, now() as loaded_at from source group by grp"
    found = judge(filled, sql, ignore=("loaded_at",))
    assert found.verdict is Verdict.UNVERIFIED
    assert "break ties" in str(found.error)


def test_an_ignored_clock_column_alone_is_level(filled: Tables) -> None:
    found = judge(
        filled, "select grp, min(name) as n, now() as loaded_at from source group by grp", ignore=("loaded_at",)
    )
    assert (found.verdict, found.error) == (Verdict.LEVEL, None)


def test_unsettled_ties_are_unverified_with_the_reason(filled: Tables) -> None:
    found = judge(filled, "(select 1 as grp union all select 2) limit 1")
    assert found.verdict is Verdict.UNVERIFIED
    assert "tied rows" in str(found.error)


def test_a_volatile_call_inside_a_view_is_named(filled: Tables) -> None:
    filled.engine.execute("create view stamped as select grp, random() as r from source")
    found = judge(filled, "select grp, max(r) as r from stamped group by grp")
    assert found.verdict is Verdict.UNVERIFIED
    assert "random()" in str(found.error)


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("create function f() returns double precision language plpgsql as 'begin return random(); end'", "f()"),
        ("create function f() returns date language plpgsql stable as 'begin return current_date; end'", "f()"),
        (
            "create function g() returns date language plpgsql stable as 'begin return current_date; end';"
            "create function f() returns date language plpgsql stable as 'begin return g(); end'",
            "g()",
        ),
    ],
)
def test_functions_of_users_that_vary_are_found_in_postgres(pg_tables: Tables, statement: str, name: str) -> None:
    for one in statement.split(";create"):
        pg_tables.engine.execute(one if one.startswith("create") else f"create{one}")
    found = judge(pg_tables, "select 1 as grp, f() as v")
    assert found.verdict is Verdict.UNVERIFIED
    assert name in str(found.error)


@pytest.mark.parametrize(
    "expression",
    ["'now'::timestamp", "timestamptz 'today'", "age(timestamp '2020-01-01')", "localtime", "current_date"],
)
def test_times_of_the_statement_are_found_in_postgres(pg_tables: Tables, expression: str) -> None:
    sql = f"select grp from (select 1 as grp) as source where grp = 1 and {expression} is not null"
    assert judge(pg_tables, sql).verdict is Verdict.UNVERIFIED


def test_a_text_that_reads_like_a_time_is_a_text(pg_tables: Tables) -> None:
    pg_tables.engine.execute("create table source as select 1 as grp, 'today'::text as name")
    assert judge(pg_tables, "select grp, name from source where name = 'today'").verdict is Verdict.LEVEL


def test_stable_functions_of_users_without_a_clock_are_level(pg_tables: Tables) -> None:
    pg_tables.engine.execute("create function f() returns int language plpgsql stable as 'begin return 3; end'")
    assert judge(pg_tables, "select 1 as grp, f() as v").verdict is Verdict.LEVEL


@pytest.mark.parametrize("macro", ["random()", "today()", "nextval('s')"])
def test_macros_that_vary_are_found_in_duckdb(macro: str) -> None:
    filled = Tables(DuckDBEngine(":memory:"), "duckdb")
    filled.engine.execute("create sequence s")
    filled.engine.execute(f"create macro inner_one() as {macro}")
    filled.engine.execute("create macro outer_one() as inner_one()")
    assert judge(filled, "select 1 as grp, outer_one() as v").verdict is Verdict.UNVERIFIED


@pytest.mark.parametrize("hidden", ["source", "built"])
def test_a_policy_that_hides_rows_is_never_level(database: Database, hidden: str) -> None:
    role = f"part_{database.name}"
    sql = "select grp from source"
    database.run(
        "create table source as select 1 as grp union all select 2",
        f"create table built as {sql}",
        f"create role {role} login",
        f"grant select on source, built to {role}",
        f"alter table {hidden} enable row level security",
        f"create policy p on {hidden} for select to {role} using (grp = 1)",
    )
    definition = Definition("model.p.built", "built", "built", ("grp",), sql, {}, ModelSettings(), "built.sql")
    try:
        for name, verdict in ((role, Verdict.UNVERIFIED), ("postgres", Verdict.LEVEL)):
            engine = PostgresEngine(psycopg.conninfo.make_conninfo(database.conninfo, user=name))
            found = judge_definition(engine, definition)
            engine.close()
            assert found.verdict is verdict, found.error
            assert verdict is Verdict.LEVEL or "row-level security" in str(found.error)
    finally:
        database.run(f"drop owned by {role}", f"drop role {role}")
