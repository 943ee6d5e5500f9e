"""reconcile on a dbt project that is not ours, with nothing added to it: a shop with orders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconcile.dbt.project import Options
from reconcile.errors import ProjectError
from reconcile.model_check.explain import explain
from reconcile.model_check.run import check
from reconcile.report.model import Drift, NotCompared, Report, Verdict
from tests.conftest import Database
from tests.support.dbt_projects import DbtProject, Templates, judged, now, table

SHOP = {
    "dbt_project.yml": """
name: shop
version: "1.0"
profile: shop
model-paths: [models]
seed-paths: [seeds]
snapshot-paths: [snapshots]
flags: {send_anonymous_usage_stats: false}
vars: {smallest: 0}
models:
  shop:
    +on_schema_change: ignore
""",
    "seeds/countries.csv": "code,name\nde,Germany\nfr,France\n",
    "models/sources.yml": """
version: 2
sources:
  - name: raw
    schema: raw
    loaded_at_field: loaded_at
    tables: [{name: orders}, {name: customers}]
""",
    "models/stg_orders.sql": """
{{ config(materialized='view') }}
select id, customer_id, day, amount, loaded_at from {{ source('raw', 'orders') }} where amount >= {{ var('smallest') }}
""",
    "models/eph_customers.sql": """
{{ config(materialized='ephemeral') }}
select c.id, c.country, n.name as country_name
from {{ source('raw', 'customers') }} c left join {{ ref('countries') }} n on n.code = c.country -- a trailing comment
""",
    "models/dim_customers.sql": """
{{ config(materialized='table') }}
select * from {{ ref('eph_customers') }}
""",
    "macros/newer.sql": """
{% macro newer(column) %}
    {% if is_incremental() %}
    where {{ column }} > (select coalesce(max({{ column }}), timestamp '1970-01-01') from {{ this }})
    {% endif %}
{% endmacro %}
""",
    "models/orders_merged.sql": """
{{ config(materialized='incremental', unique_key='id', incremental_strategy='merge',
          schema='mart', alias='Orders Merged') }}
with fresh as (select o.*, d.country_name from {{ ref('stg_orders') }} o
               left join {{ ref('dim_customers') }} d on d.id = o.customer_id)
select id, customer_id, country_name, amount, loaded_at from fresh {{ newer('loaded_at') }}
""",
    "models/orders_appended.sql": """
{{ config(materialized='incremental', incremental_strategy='append', tags=['log']) }}
select id, amount, loaded_at from {{ ref('stg_orders') }} {{ newer('loaded_at') }}
""",
    "models/customer_days.sql": """
{{ config(materialized='incremental', unique_key=['customer_id', 'day'], incremental_strategy='delete+insert',
          full_refresh=false, pre_hook="insert into raw.hooks values ('ran')") }}
select customer_id, day, sum(amount) as amount, max(loaded_at) as loaded_at
from {{ ref('orders_merged_days') }}
group by customer_id, day
{% if is_incremental() %}
having max(loaded_at) > (select max(loaded_at) from {{ this }})
{% endif %}
""",
    "models/orders_merged_days.sql": """
{{ config(materialized='incremental', unique_key='id', incremental_strategy='delete+insert') }}
select m.id, m.customer_id, o.day, m.amount, m.loaded_at
from {{ ref('orders_merged') }} m join {{ ref('stg_orders') }} o on o.id = m.id
{% if is_incremental() %} where m.loaded_at > (select max(loaded_at) from {{ this }}) {% endif %}
""",
    "models/stamped.sql": """
{{ config(materialized='incremental', unique_key='id', tags=['stamped']) }}
select id, amount, now() as built_at from {{ ref('stg_orders') }}
""",
}
EVERY = {"orders_merged", "orders_appended", "customer_days", "orders_merged_days", "stamped"}


@pytest.fixture
def shop(templates: Templates, engine_kind: str, tmp_path: Path) -> Iterator[DbtProject]:
    """The shop, built, then built once more after another load."""
    with templates.copy(build_shop, engine_kind, tmp_path / "shop") as project:
        yield project


def build_shop(folder: Path, database: Database | None) -> DbtProject:
    project = DbtProject(folder, database)
    project.write(SHOP)
    project.profile("shop")
    project.run(
        "create schema raw",
        "create table raw.hooks (said varchar)",
        "create table raw.customers (id integer, country varchar, loaded_at timestamp with time zone)",
        "create table raw.orders (id integer, customer_id integer, day date, amount numeric(12, 2),"
        " loaded_at timestamp with time zone)",
        "insert into raw.customers select n, case when n % 2 = 0 then 'de' else 'fr' end,"
        " timestamp with time zone '2026-01-01 00:00:00+00' from generate_series(1, 5) as s(n)",
        order_rows(1, 40, "2026-01-01 00:00:00+00"),
    )
    project.dbt("build")
    project.run(order_rows(41, 60, "2026-01-02 00:00:00+00"))
    project.dbt("build")
    return project


def order_rows(first: int, last: int, loaded_at: str) -> str:
    return (
        f"insert into raw.orders select n, 1 + n % 5, date '2026-01-01' + cast(n % 7 as integer), n * 1.5,"
        f" timestamp with time zone '{loaded_at}' from generate_series({first}, {last}) as s(n)"
    )


def relation(report: Report, name: str) -> str:
    return table(report, name).relation


def test_a_correctly_built_project_is_level_beside_build_times(shop: DbtProject) -> None:
    report = judged(shop)

    assert {t.name for t in report.tables} == EVERY
    assert {t.name: t.error for t in report.tables if t.verdict is not Verdict.LEVEL} == {}
    assert {t.name: t.not_compared for t in report.tables if t.not_compared} == {
        "stamped": (NotCompared("built_at", "build time"),)
    }
    assert (report.verdict, report.exit_code) == (Verdict.LEVEL, 0)
    assert table(report, "customer_days").key == ("customer_id", "day")
    assert table(report, "orders_appended").key == ()


def test_checking_runs_no_hook_and_leaves_dbts_artefacts_alone(shop: DbtProject) -> None:
    hooks = shop.rows("select count(*) from raw.hooks")
    artefacts = {p.name: p.read_bytes() for p in (shop.folder / "target").glob("*.json")}
    judged(shop)

    assert shop.rows("select count(*) from raw.hooks") == hooks == [(2,)]
    assert {p.name: p.read_bytes() for p in (shop.folder / "target").glob("*.json")} == artefacts


def test_drift_is_found_through_every_strategy_and_down_to_the_sources(shop: DbtProject) -> None:
    before = judged(shop)
    merged, days, appended = (relation(before, n) for n in ("orders_merged", "customer_days", "orders_appended"))
    shop.run(
        f"update {merged} set amount = 0 where id = 3",
        f"delete from {days} where customer_id = 1 and day = (select min(day) from {days} where customer_id = 1)",
        f"insert into {appended} select * from {appended} where id = 7",
    )
    report = judged(shop, exclude=("stamped",))

    assert table(report, "orders_merged").drift == Drift(changed=1)
    assert table(report, "orders_merged").samples[0].columns["amount"].expected == "4.50"
    assert table(report, "customer_days").drift == Drift(missing=1)
    assert table(report, "orders_appended").drift == Drift(extra=1)
    # its own rows are right: drift of the table above it is that table's, not its
    assert table(report, "orders_merged_days").verdict is Verdict.LEVEL
    shallow = judged(shop, "orders_merged_days", upstream="shallow")
    assert table(shallow, "orders_merged_days").drift == Drift(changed=1)


def test_a_late_row_that_the_incremental_filter_lost_is_missing(shop: DbtProject) -> None:
    shop.run(order_rows(900, 902, "2025-12-31 00:00:00+00"))
    shop.dbt("build", "--exclude", "stamped")
    report = judged(shop, "orders_merged")

    assert table(report, "orders_merged").drift == Drift(missing=3)
    assert report.exit_code == 1


def test_rows_loaded_after_the_last_build_are_pending_and_no_drift(shop: DbtProject) -> None:
    shop.dbt("build", "--exclude", "stamped")
    shop.run(order_rows(70, 74, now()))
    report = judged(shop, "orders_merged")
    found = table(report, "orders_merged")

    assert found.drift == Drift(pending=5)
    assert {sample.kind for sample in found.samples} == {"pending"}
    assert (report.verdict, report.exit_code) == (Verdict.LEVEL, 0)
    assert "pending rows were loaded after the last noted build (" in found.scope.reason

    shop.run(f"update {found.relation} set amount = -1 where id = 5", f"delete from {found.relation} where id = 6")
    assert table(judged(shop, "orders_merged"), "orders_merged").drift == Drift(missing=1, changed=1, pending=5)

    shop.dbt("build", "--exclude", "stamped")
    assert table(judged(shop, "orders_merged"), "orders_merged").drift == Drift(missing=1, changed=1)


def test_a_later_build_that_was_not_noted_here_makes_nothing_pending(shop: DbtProject) -> None:
    """A scheduler elsewhere built since, and lost a late row: by the old build's time that row would look pending."""
    shop.dbt("build", "--exclude", "stamped")
    noted = (shop.folder / "target" / "run_results.json").read_text()
    shop.run(order_rows(70, 74, now()))
    shop.dbt("build", "--exclude", "stamped")
    shop.run(order_rows(80, 80, now()))
    name = relation(judged(shop, "orders_merged"), "orders_merged")
    # as a build elsewhere would leave it: rows 70 to 74 are in, row 80 was lost
    (shop.folder / "target" / "run_results.json").write_text(noted)
    (shop.folder / "target" / "reconcile" / "builds.json").unlink()
    found = table(judged(shop, "orders_merged"), "orders_merged")

    assert shop.rows(f"select count(*) from {name} where id between 70 and 80") == [(5,)]
    assert found.drift == Drift(missing=1)


def test_a_build_that_is_not_noted_makes_nothing_pending(shop: DbtProject) -> None:
    shop.run(order_rows(70, 74, now()))
    (shop.folder / "target" / "run_results.json").unlink()
    (shop.folder / "target" / "reconcile" / "builds.json").unlink(missing_ok=True)

    assert table(judged(shop, "orders_merged"), "orders_merged").drift == Drift(missing=5)


def test_variables_change_the_definition(shop: DbtProject) -> None:
    report = judged(shop, "orders_appended", vars="{smallest: 50}")

    assert table(report, "orders_appended").drift.extra == 33


def test_a_process_that_checks_again_and_again_finds_dbt_as_it_was(shop: DbtProject) -> None:
    from dbt.adapters.base import impl

    flags = list(impl.DEFAULT_BASE_BEHAVIOR_FLAGS)  # dbt-adapters adds to it with every adapter it makes
    shop.dbt("parse")
    judged(shop, "orders_appended")
    assert flags == impl.DEFAULT_BASE_BEHAVIOR_FLAGS


def test_selection_is_dbts(shop: DbtProject) -> None:
    assert {t.name for t in judged(shop, "tag:log").tables} == {"orders_appended"}
    assert {t.name for t in judged(shop, "stg_orders+", exclude=("stamped",)).tables} == EVERY - {"stamped"}
    assert {t.name for t in judged(shop, "path:models/customer_days.sql").tables} == {"customer_days"}


def test_a_selection_without_incremental_models_is_trouble_with_a_suggestion(shop: DbtProject) -> None:
    with pytest.raises(ProjectError, match="did you mean orders_merged"):
        judged(shop, "orders_mergd")
    with pytest.raises(ProjectError, match="holds no incremental model"):
        judged(shop, "stg_orders")


def test_a_table_that_was_never_built_is_an_error_with_the_command_to_run(shop: DbtProject) -> None:
    name = relation(judged(shop, "orders_appended"), "orders_appended")
    shop.run(f"drop table {name}")
    found = table(judged(shop, "orders_appended"), "orders_appended")

    assert found.verdict is Verdict.ERROR
    assert "run `dbt build -s orders_appended` first" in (found.error or "")


def test_two_empty_sides_are_not_level(shop: DbtProject) -> None:
    name = relation(judged(shop, "orders_appended"), "orders_appended")
    shop.run("delete from raw.orders", f"delete from {name}")
    found = table(judged(shop, "orders_appended"), "orders_appended")

    assert (found.verdict, found.error) == (Verdict.UNVERIFIED, "both sides are empty: nothing was compared")

    path = shop.folder / "models" / "orders_appended.sql"
    path.write_text("{{ config(meta={'reconcile': {'allow_empty': true}}) }}\n" + path.read_text())
    found = table(judged(shop, "orders_appended"), "orders_appended")
    assert (found.verdict, found.error, found.scope.rows_actual) == (Verdict.LEVEL, None, 0)


def test_a_column_that_the_table_lacks_is_schema_drift(shop: DbtProject) -> None:
    path = shop.folder / "models" / "orders_appended.sql"
    path.write_text(path.read_text().replace("select id, amount,", "select id, amount, customer_id,"))
    found = table(judged(shop, "orders_appended"), "orders_appended")

    assert found.drift.schema == 1
    assert [(c.column, c.problem) for c in found.schema_changes] == [("customer_id", "missing")]


def test_a_column_that_is_ignored_is_named(shop: DbtProject) -> None:
    meta = "version: 2\nmodels: [{name: stamped, config: {meta: {reconcile: {ignore: [amount]}}}}]\n"
    shop.write({"models/stamped.yml": meta})
    found = table(judged(shop, "stamped"), "stamped")

    assert (found.verdict, found.columns_compared) == (Verdict.LEVEL, 1)
    assert found.not_compared == (NotCompared("amount", "ignored"), NotCompared("built_at", "build time"))


def test_explain_prints_sql_that_runs_and_says_why(shop: DbtProject) -> None:
    options = Options(project_dir=shop.folder, profiles_dir=shop.folder)
    told = {text.split()[1]: text for text in explain(options)}

    assert set(told) == EVERY
    assert "-- key:       customer_id, day" in told["customer_days"]
    assert "none: rows are compared as a multiset" in told["orders_appended"]
    assert "-- set aside: built_at (build time)" in told["stamped"]
    assert "rows loaded since its last build are reported separately" in told["orders_merged"]
    if shop.database is not None:
        assert "no unique index keeps (id)" in told["orders_merged"]
        assert "rows scanned" in told["orders_merged"]
    [row] = shop.rows(told["orders_merged"].split("\n", 1)[1].strip().rstrip(";"))
    assert row[:3] == (60, 60, 60)


def test_no_project_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="--project-dir"):
        check(Options(project_dir=tmp_path))
