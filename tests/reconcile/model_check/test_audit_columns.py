"""Columns that only tell when a row was built are set aside; whatever else differs between builds is not judged."""

from __future__ import annotations

import dataclasses

import pytest

from reconcile.definition.model import Definition, ModelSettings
from reconcile.engines.duckdb import DuckDBEngine
from reconcile.engines.volatility import marked_run_value
from reconcile.model_check.judge_model import judge_definition
from reconcile.report.model import NotCompared, TableReport, Verdict
from tests.reconcile.conftest import Tables

RUN = marked_run_value("'5b3c0f'", "invocation_id")
DAY = marked_run_value("'2026-11-27'", "run_started_at")
# a column of a model -> the reason for which it is not compared
SET_ASIDE = {
    "now() as built_at": "build time",
    "current_timestamp as built_at": "build time",
    "cast(current_timestamp as timestamp) as built_at": "build time",
    "current_date as built_at": "build time",
    "current_timestamp at time zone 'utc' as built_at": "build time",
    "extract(epoch from now()) as built_at": "build time",
    "random() as built_at": "random() differs at every build",
    "gen_random_uuid() as built_at": "gen_random_uuid() differs at every build",
    f"{RUN} as built_at": "invocation_id differs at every build",
    f"cast({RUN} as varchar) || '-x' as built_at": "invocation_id differs at every build",
    f"date {DAY} as built_at": "run_started_at differs at every build",
}
ON_POSTGRES = {
    "clock_timestamp() as built_at": "build time",
    "pg_catalog.statement_timestamp() as built_at": "build time",
    "'now'::timestamp as built_at": "build time",
    "timestamptz 'today' as built_at": "build time",
    "age(timestamp '2020-01-01') as built_at": "build time",
}
# a whole model, each of whose rows or values depends on more than its sources
NOT_JUDGED = {
    "a clock value that a row may replace": "select id, coalesce(happened, cast(now() as timestamp)) as x from source",
    "an age": "select id, current_date - cast(happened as date) as days from source",
    "an age of one argument": "select id, age(happened) as old from source",
    "a filter": "select id, v from source where happened < now()",
    "a filter below an audit column": "select id, v, now() as built_at from source where happened < current_date",
    "a random key": "select gen_random_uuid() as id, v from source",
    "a random order": "select * from (select id, v from source order by random() limit 2) as few",
    "a join": "select s.id, s.v from source s join source o on o.happened < now() and o.id = s.id",
    "a group": "select v as id, count(*) as n from source group by v, random()",
    "distinct rows": "select id, count(*) as n from (select distinct id, random() as r from source) x group by id",
    "one branch of a union": "select id, now() as built_at from source union all select id + 10, null from source",
    "the side of an outer join": (
        "select s.id, o.built_at from source s left join (select 1 as id, now() as built_at) o on o.id = s.id"
    ),
    "an aggregate": "select id, max(happened) < max(now()) as past from source group by id",
    "a count of what is late": "select id, count(*) filter (where happened < now()) as n from source group by id",
    "a limit": "select id, v from source order by id limit cast(extract(day from now()) as integer)",
    "a run value in a filter": f"select id, v from source where v <> {RUN}",
    "a run value beside a row": f"select id, v || {RUN} as tagged from source",
}


def judge(tables: Tables, sql: str, built: str | None = None, **settings: frozenset[str]) -> TableReport:
    """The report on a table that was built from ``built`` just now, where its definition is ``sql``."""
    tables.engine.execute("create table source (id integer, v varchar, happened timestamp)")
    tables.engine.execute("insert into source values (1, 'a', '2020-01-01'), (2, 'b', '2020-01-01'), (3, 'c', null)")
    tables.engine.execute(f"create table built as {built or sql}")
    return judge_definition(tables.engine, definition(sql, **settings))


def definition(sql: str, **settings: frozenset[str]) -> Definition:
    return Definition(
        "model.p.built", "built", "built", ("id",), sql, {}, ModelSettings(**settings), "models/built.sql"
    )  # type: ignore[arg-type]


@pytest.mark.lake(False)
@pytest.mark.parametrize("column", SET_ASIDE)
def test_a_column_of_the_build_alone_is_set_aside(tables: Tables, column: str) -> None:
    found = judge(tables, f"select id, v, {column} from source")
    assert (found.verdict, found.error) == (Verdict.LEVEL, None)
    assert (found.columns_compared, found.not_compared) == (2, (NotCompared("built_at", SET_ASIDE[column]),))


@pytest.mark.lake(False)
@pytest.mark.parametrize("column", ON_POSTGRES)
def test_the_clock_as_postgres_spells_it_is_set_aside(pg_tables: Tables, column: str) -> None:
    found = judge(pg_tables, f"select id, v, {column} from source")
    assert (found.verdict, found.error) == (Verdict.LEVEL, None)
    assert found.not_compared == (NotCompared("built_at", ON_POSTGRES[column]),)


@pytest.mark.parametrize(
    "sql",
    [
        "select id, v from source tablesample bernoulli (50)",
        "select id, v, row_number() over (order by random()) as n from source",
        "select * from (values (1, now()), (2, now())) as made (id, v)",
        "select id, count(*) over (order by id rows random()::int preceding) as n from source",
    ],
)
def test_what_a_plan_of_postgres_does_not_print_is_unverified(pg_tables: Tables, sql: str) -> None:
    assert judge(pg_tables, sql).verdict is Verdict.UNVERIFIED


def test_rows_of_a_sample_are_not_judged_in_duckdb() -> None:
    tables = Tables(DuckDBEngine(":memory:"), "duckdb")
    assert judge(tables, "select id, v from source using sample 2 rows").error == (
        "using sample decides its rows or its key: it is no function of its sources"
    )


@pytest.mark.lake(False)
@pytest.mark.parametrize(
    "sql",
    [
        "with a as (select *, now() as built_at from source), b as (select * from a where v <> 'b') select * from b",
        "with s as (select id, v, random() as built_at from source) select s.* from s, s o where o.id = s.id",
        "with src as (select *, now() as built_at, row_number() over (partition by id order by v) as n from source)"
        " select id, v, built_at from src where n = 1",
        "select id, v, now() as built_at from source union all select id + 10, v, now() from source",
        "select id, max(v) as v, now() as built_at from source group by id",
        'with b as (select now() as built_at) select s.id, s.v, b.built_at as "BUILT_AT" from source s cross join b',
    ],
)
def test_an_audit_column_is_set_aside_wherever_it_comes_from(tables: Tables, sql: str) -> None:
    found = judge(tables, sql)
    assert (found.verdict, found.error) == (Verdict.LEVEL, None)
    assert [entry.column.lower() for entry in found.not_compared if entry.reason != "ignored"] == ["built_at"]


@pytest.mark.lake(False)
def test_drift_beside_an_audit_column_is_found_exactly(tables: Tables) -> None:
    built = "select id, case when id = 2 then 'wrong' else v end as v, now() as built_at from source where id < 3"
    found = judge(tables, "select id, v, now() as built_at from source", built)
    assert (found.verdict, found.drift.changed, found.drift.missing) == (Verdict.DRIFT, 1, 1)
    assert found.columns == {"v": 1}


@pytest.mark.lake(False)
@pytest.mark.parametrize("what", NOT_JUDGED)
def test_what_depends_on_the_build_and_on_rows_is_unverified(tables: Tables, what: str) -> None:
    found = judge(tables, NOT_JUDGED[what])
    assert found.verdict is Verdict.UNVERIFIED
    assert "no function of its sources" in str(found.error) or "order of tied rows" in str(found.error)


@pytest.mark.lake(False)
def test_the_lines_that_settle_a_column_are_printed(tables: Tables) -> None:
    sql = "select id, v, coalesce(happened, cast(now() as timestamp)) as built_at from source"
    found = judge(tables, sql)
    assert "built_at depends on now()" in str(found.error)
    [hint] = found.hints
    assert hint.endswith("under models: - {name: built, config: {meta: {reconcile: {ignore: [built_at]}}}}")
    settled = judge_definition(tables.engine, definition(sql, ignore=frozenset({"built_at"})))
    assert (settled.verdict, settled.not_compared) == (Verdict.LEVEL, (NotCompared("built_at", "ignored"),))


@pytest.mark.lake(False)
def test_a_clock_inside_a_view_is_no_audit_column(tables: Tables) -> None:
    tables.engine.execute("create view clock as select now() as built_at")
    found = judge(tables, "select source.id, source.v, clock.built_at from source cross join clock")
    assert found.verdict is Verdict.UNVERIFIED


@pytest.mark.lake(False)
def test_a_function_of_a_user_is_no_clock_whatever_its_name(tables: Tables, engine_kind: str) -> None:
    """Its body reads a table, so that its value is content."""
    tables.engine.execute("create table dates (day date)")
    if engine_kind == "postgres":
        tables.engine.execute("create function today() returns bigint language sql as 'select count(*) from dates'")
    if engine_kind == "duckdb":
        tables.engine.execute("create macro today() as (select count(*) from dates)")
    found = judge(tables, "select id, v, today() as day, now() as built_at from source")
    assert [entry.column for entry in found.not_compared] in ([], ["built_at"])
    if engine_kind == "duckdb":
        assert (found.verdict, found.columns_compared) == (Verdict.LEVEL, 3)
    else:  # Postgres calls it volatile, as its user did
        assert found.verdict is Verdict.UNVERIFIED
        assert "day depends on today()" in str(found.error)


@pytest.mark.lake(False)
def test_a_key_that_is_an_expression_is_not_judged_beside_a_clock(tables: Tables) -> None:
    judge(tables, "select id, v, now() as built_at from source")
    sql = "select id, v, now() as built_at from source"
    keyed = dataclasses.replace(definition(sql), key=("cast(built_at as date)",))
    found = judge_definition(tables.engine, keyed)
    assert found.verdict is Verdict.UNVERIFIED
    assert "which is an expression" in str(found.error)


@pytest.mark.lake(False)
def test_a_word_of_the_clock_that_is_a_text_is_compared(tables: Tables) -> None:
    found = judge(tables, "select id, case when id = 1 then 'today' else v end as day, now() as built_at from source")
    assert (found.verdict, found.columns_compared) == (Verdict.LEVEL, 2)
