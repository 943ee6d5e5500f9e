"""A dbt project in Spark's own SQL, on Delta tables behind Sail: judged by the engine, told as on every other one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from reconcile.dbt.project import Options
from reconcile.engines.spark import SparkEngine, connect
from reconcile.errors import ConnectionFailed
from reconcile.model_check.explain import explain
from reconcile.model_check.judge_model import CheckRequest
from reconcile.model_check.run import open_project
from reconcile.repair.run import RepairRequest, repair_run
from reconcile.repair.undo import undo
from reconcile.report.model import Drift, Report, Verdict
from reconcile.report.progress import Watcher
from reconcile.table_diff.run import DiffRequest, diff
from tests.conftest import Database
from tests.support.dbt_projects import DbtProject, judged, table
from tests.support.lake import Lake

pytestmark = pytest.mark.scale

_INCREMENTAL = """
{{ config(materialized='incremental', incremental_strategy='merge', file_format='delta', unique_key='user_id') }}
"""
FILES = {
    "dbt_project.yml": "name: lakehouse\nversion: '1.0'\nprofile: lakehouse\nmodel-paths: [models]\n",
    "models/schema.yml": """
version: 2
sources:
  - name: raw
    schema: main
    tables:
      - name: events
        config: {loaded_at_field: loaded_at}
models:
  - name: named
    config: {contract: {enforced: true}}
    columns:
      - {name: user_id, data_type: bigint}
      - {name: label, data_type: string}
      - {name: amount, data_type: "decimal(12, 2)"}
""",
    # double quotes hold a text there, and it looks like a CTE of ours
    "models/named.sql": """
{{ config(materialized='table', file_format='delta') }}
select user_id, "as not materialized (" || kind as label, cast(amount as decimal(12, 2)) as amount
from {{ source('raw', 'events') }}
""",
    "models/totals.sql": _INCREMENTAL
    + """
select user_id, count(*) as events, sum(amount) as amount, max(label) as label
from {{ ref('named') }}
{% if is_incremental() %}where user_id in (select user_id from {{ ref('named') }} where amount > 90){% endif %}
group by user_id
""",
    "models/latest.sql": _INCREMENTAL
    + """
select user_id, kind from (
    select user_id, kind, row_number() over (partition by user_id order by loaded_at desc) as n
    from {{ source('raw', 'events') }}
) where n = 1
""",
    "models/stamped.sql": _INCREMENTAL
    + "select user_id, current_timestamp() as at from {{ source('raw', 'events') }} group by user_id\n",
}


@pytest.fixture(scope="module")
def house(spark_connect: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DbtProject]:
    """Built once: 100 users of three events each, one of which has two at one instant."""
    from tests.support.lake import a_lake

    folder = tmp_path_factory.mktemp("lakehouse")
    with a_lake(spark_connect, folder / "lake") as lake:
        project = DbtProject(folder, lake)
        project.write(FILES)
        project.profile("lakehouse")
        lake.run(
            "create table events (user_id bigint, kind string, amount double, loaded_at timestamp) using delta",
            "insert into events select id % 100, concat('kind ', id), id, timestamp_seconds(1767225600 + id)"
            " from range(300)",
        )
        project.dbt("run")
        yield project


def test_what_was_built_is_level(house: DbtProject) -> None:
    report = judged(house, "totals", "latest")

    assert report.verdict is Verdict.LEVEL, [(t.name, t.error, t.drift) for t in report.tables]
    assert {(t.scope.rows_expected, t.scope.rows_actual) for t in report.tables} == {(100, 100)}
    assert "captured on Postgres only" in judged_auto(house).tables[0].scope.reason


def judged_auto(house: DbtProject) -> Report:
    return judged(house, "totals", asked=CheckRequest("auto"))


def test_every_kind_of_drift_is_found_with_its_values(house: DbtProject) -> None:
    lake = house.database
    assert isinstance(lake, Lake)
    assert (
        judged(house, "totals").verdict is Verdict.LEVEL
    )  # so that it is known what was, and by whose hand it changed
    lake.run(
        "update main.totals set events = 7 where user_id = 5",
        "delete from main.totals where user_id in (8, 9)",
        "insert into main.totals select 1000 as user_id, events, amount, label from main.totals where user_id = 1",
        "insert into main.totals select * from main.totals where user_id = 2",
        "insert into main.totals select cast(null as bigint) as user_id, events, amount, label from main.totals"
        " where user_id = 3",
    )
    found = table(judged(house, "totals"), "totals")

    assert found.drift == Drift(missing=2, extra=1, changed=1, duplicate=1, null_key=1)
    assert found.columns == {"events": 1}
    changed = next(sample for sample in found.samples if sample.kind == "changed")
    assert (changed.key, changed.columns["events"].expected, changed.columns["events"].actual) == (
        {"user_id": "5"},
        "3",
        "7",
    )

    assert found.causes == {"duplicate": 1, "manual_edit": 3, "unknown": 1}  # what wrote a row is not known there

    house.dbt("run", "--full-refresh", "-s", "totals")
    assert judged(house, "totals").verdict is Verdict.LEVEL


def test_more_drift_than_samples_has_its_causes_too(house: DbtProject) -> None:
    lake = house.database
    assert isinstance(lake, Lake)
    lake.run("insert into main.totals select user_id + 1000, events, amount, label from main.totals")
    lake.run("insert into main.totals select user_id + 5000, events, amount, label from main.totals")
    found = table(judged(house, "totals"), "totals")

    assert (found.drift.extra, sum(found.causes.values())) == (300, 300), found.error
    assert len(found.samples) < 300
    house.dbt("run", "--full-refresh", "-s", "totals")


def test_an_order_that_ties_is_not_judged_and_a_build_time_set_aside(house: DbtProject) -> None:
    lake = house.database
    assert isinstance(lake, Lake)
    lake.run("insert into main.events select user_id, 'another', amount, loaded_at from main.events where user_id = 7")
    report = judged(house, "latest", "stamped")

    assert [t.verdict for t in report.tables] == [Verdict.UNVERIFIED, Verdict.LEVEL]
    assert "orders by ties" in str(table(report, "latest").error)
    assert [entry.reason for entry in table(report, "stamped").not_compared] == ["build time"]
    lake.run("delete from main.events where kind = 'another'")


def test_between_postgres_and_the_lake_only_rows_of_unequal_buckets_travel(
    house: DbtProject, database: Database
) -> None:
    """Twenty thousand rows of every type that both have, three of which differ; with NULLs, quotes and line breaks."""
    lake = house.database
    assert isinstance(lake, Lake)
    database.run(
        """create table t as select id,
        case when id % 7 = 0 then null else 'it''s "' || id || '", ' || chr(10) end as label,
        case when id % 11 = 0 then '' end as empty, cast(id * 1.5 as numeric(20, 6)) as amount,
        id / 8.0::float8 as ratio, id % 2 = 0 as even, date '2026-01-01' + id % 300 as day,
        timestamp '2026-01-01' + id * interval '1.5 seconds' as at from generate_series(1, 20000) as id""",
    )
    lake.run(
        """create or replace table main.t using delta as select cast(id as int) as id,
        case when id % 7 = 0 then null else concat('it\\'s "', id, '", ', char(10)) end as label,
        case when id % 11 = 0 then '' end as empty, cast(id * 1.5 as decimal(20, 6)) as amount, id / 8.0D as ratio,
        id % 2 = 0 as even, date_add(date '2026-01-01', cast(id % 300 as int)) as day,
        timestamp_micros(1767225600000000 + id * 1500000) as at from range(1, 20001)""",
        "update main.t set amount = 1 where id = 77",
        "delete from main.t where id = 12345",
        "update main.t set empty = null where id = 11",
    )
    report = diff(
        DiffRequest(f"{database.url}#t", "dev:main.t", ("id",)),
        Options(project_dir=house.folder, profiles_dir=house.folder),
        wait=lambda: None,
    )
    found = report.tables[0]

    assert found.drift == Drift(missing=1, changed=2), (found.samples[:5], found.schema_changes)
    assert found.columns == {"amount": 1, "empty": 1}
    assert "by value the rows of the 3 unequal ones" in found.scope.reason
    assert (found.scope.rows_expected, found.scope.rows_actual) == (20_000, 19_999)


def test_a_repair_makes_it_level_and_an_undo_takes_it_back(house: DbtProject) -> None:
    lake = house.database
    assert isinstance(lake, Lake)
    before = lake.rows("select * from main.totals order by user_id")
    lake.run(
        "update main.totals set amount = 0.01, label = null where user_id = 5",
        "delete from main.totals where user_id = 8",
    )
    broken = lake.rows("select * from main.totals order by user_id")
    options = Options(project_dir=house.folder, profiles_dir=house.folder, select=("totals",))
    asked = RepairRequest(None, True, False, 10_000, 10.0, confirm=lambda planned: True)
    report = repair_run(options, asked, Watcher())

    assert report.verdict is Verdict.LEVEL
    assert report.repair is not None
    assert (report.repair.inserted, report.repair.updated, report.repair.stale) == (1, 1, 0)
    assert lake.rows("select * from main.totals order by user_id") == before
    # the verdict is kept beside the journal, as on every other engine
    assert lake.rows("select command, model, verdict from reconcile.verdict") == [("repair", "totals", "level")]

    project = open_project(options)
    assert report.repair.run_id is not None
    undone = undo(project, report.repair.run_id, apply=True)
    assert (undone.updated, undone.deleted) == (1, 1)
    assert lake.rows("select * from main.totals order by user_id") == broken
    undo(project, undone.run_id, apply=True)
    assert lake.rows("select * from main.totals order by user_id") == before


def test_explain_shows_a_statement_that_can_be_run_there(house: DbtProject) -> None:
    lake = house.database
    assert isinstance(lake, Lake)
    [text] = explain(Options(project_dir=house.folder, profiles_dir=house.folder, select=("totals",)))
    statement = "\n".join(line for line in text.splitlines() if not line.startswith("--")).strip().removesuffix(";")

    assert "max(label) as label" in statement
    assert lake.rows(statement) == [(100, 100, 100, 0, 100, 0)]


def test_a_table_that_is_not_there_says_what_to_run(house: DbtProject) -> None:
    lake = house.database
    assert isinstance(lake, Lake)
    lake.run("drop table main.latest")
    found = table(judged(house, "latest"), "latest")

    assert found.verdict is Verdict.ERROR
    assert found.error == "main.latest does not exist: run `dbt build -s latest` first"


def test_an_address_without_a_server_is_one_sentence() -> None:
    with pytest.raises(ConnectionFailed, match=r"cannot reach Spark Connect at 127\.0\.0\.1:9: .*refused"):
        connect("sc://127.0.0.1:9/;token=secret")


def test_a_quote_in_a_value_stays_in_it(house: DbtProject) -> None:
    assert isinstance(house.database, Lake)
    engine = SparkEngine(house.database.remote)
    hostile = 'it\'s \\ "so" `x`; drop table t --'

    assert engine.one(f"select {engine.literal(hostile)}") == (hostile,)
    assert engine.one("select $1", [hostile]) == (hostile,)
    engine.close()
