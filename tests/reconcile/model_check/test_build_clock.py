"""Models whose rows the clock decides are judged as of their last build, on a dbt project that is not ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reconcile.dbt.project import Options
from reconcile.model_check.causes import Cause
from reconcile.model_check.explain import explain
from reconcile.model_check.judge_model import CheckRequest
from reconcile.model_check.run import open_project
from reconcile.repair.guards import Guards
from reconcile.repair.session import repair_session
from reconcile.report.model import Drift, NotCompared, Report, TableReport, Verdict
from tests.conftest import Database
from tests.support.dbt_projects import DbtProject, Templates, judged, table

PROJECT = {
    "dbt_project.yml": """
name: clocks
version: "1.0"
profile: clocks
model-paths: [models]
flags: {send_anonymous_usage_stats: false}
""",
    "models/sources.yml": """
version: 2
sources: [{name: raw, schema: raw, tables: [{name: visits}]}]
""",
    "models/recent.sql": """
{{ config(materialized='incremental', unique_key='id') }}
select id, day, v, now() as loaded_at from {{ source('raw', 'visits') }} where day >= current_date - 30
{% if is_incremental() %} and id > (select max(id) from {{ this }}) {% endif %}
""",
    "models/spine.sql": """
{{ config(materialized='incremental', unique_key='day') }}
select cast(d as date) as day, 1 as n
from generate_series(cast('2026-01-01' as timestamp), cast(current_date as timestamp), interval '1 day') as s(d)
""",
    "models/fresh.sql": """
{{ config(materialized='incremental', unique_key='id') }}
select id, case when seen > now() - interval '1 day' then 'new' else 'old' end as age from {{ source('raw', 'visits') }}
""",
    "models/recent_rows.sql": """
{{ config(materialized='table') }}
select id, seen from {{ source('raw', 'visits') }} where seen > current_timestamp - interval '10 days'
""",
    "models/both_view.sql": """
{{ config(materialized='view') }}
select id, seen from {{ source('raw', 'visits') }} where seen > current_timestamp - interval '10 days'
""",
    "models/both_table.sql": """
{{ config(materialized='table') }}
select id from {{ ref('both_view') }}
""",
    "models/above.sql": """
{{ config(materialized='incremental', unique_key='id') }}
select id from {{ ref('recent_rows') }}
""",
    "models/both.sql": """
{{ config(materialized='incremental', unique_key='id') }}
select v.id from {{ ref('both_view') }} v join {{ ref('both_table') }} t on t.id = v.id
""",
    "models/daily.sql": """
{{ config(materialized='incremental', unique_key=['day', 'id']) }}
select current_date as day, id, v from {{ source('raw', 'visits') }}
""",
    "models/stamp.sql": "{{ config(materialized='incremental') }} select now() as a",
    "models/chance.sql": """
{{ config(materialized='incremental', unique_key='id') }}
select id, v from {{ source('raw', 'visits') }} where day >= current_date - 30 and random() < 2
""",
}
SETTLED = {"recent", "spine", "fresh", "above"}


@pytest.fixture
def clocks(templates: Templates, engine_kind: str, tmp_path: Path) -> Iterator[DbtProject]:
    with templates.copy(build_clocks, engine_kind, tmp_path / "clocks") as project:
        yield project


def build_clocks(folder: Path, database: Database | None) -> DbtProject:
    project = DbtProject(folder, database)
    project.write(PROJECT)
    project.profile("clocks")
    project.run(
        "create schema raw",
        "create table raw.visits (id integer, day date, v varchar, seen timestamp with time zone)",
        "insert into raw.visits select n, current_date - cast(n as integer), 'v', now() - n * interval '1 day'"
        " - interval '1 hour' from generate_series(0, 60) as s(n)",
    )
    project.dbt("build")
    return project


def noted(project: DbtProject, name: str, began: datetime, ended: datetime | None = None) -> None:
    """Let the last noted build of a model have run at this time."""
    results = project.folder / "target" / "run_results.json"
    memory = project.folder / "target" / "reconcile" / "builds.json"
    judged(project)  # notes what dbt has told
    results.unlink(missing_ok=True)
    body = json.loads(memory.read_text())
    body["dev"][f"model.clocks.{name}"] = f"{began.isoformat()}/{(ended or began).isoformat()}"
    memory.write_text(json.dumps(body))


def found_of(project: DbtProject, name: str, asked: CheckRequest | None = None) -> TableReport:
    return table(judged(project, name, asked=asked), name)


def errors(report: Report) -> dict[str, str | None]:
    return {t.name: t.error for t in report.tables if t.verdict is not Verdict.LEVEL}


def test_clock_bounds_are_judged_as_of_the_last_build(clocks: DbtProject) -> None:
    report = judged(clocks, *SETTLED)
    recent = table(report, "recent")

    assert errors(report) == {}
    assert "as of the build of 20" in recent.scope.reason
    assert recent.scope.reason.endswith("+00:00: current_date decides its rows or its key")
    assert recent.scope.rows_expected == 31
    assert recent.not_compared == (NotCompared("loaded_at", "build time"),)
    assert "age depends on now()" in table(report, "fresh").scope.reason


def test_drift_of_a_clock_bound_model_is_found(clocks: DbtProject) -> None:
    clocks.run(
        f"delete from {found_of(clocks, 'recent').relation} where id = 3",
        f"update {found_of(clocks, 'fresh').relation} set age = 'new' where id = 40",
    )
    assert found_of(clocks, "recent").drift == Drift(missing=1)
    assert found_of(clocks, "fresh").drift == Drift(changed=1)


def test_rows_that_passed_the_bound_since_the_build_are_no_drift(clocks: DbtProject) -> None:
    began = datetime.now(UTC) - timedelta(days=5)
    noted(clocks, "recent", began)
    clocks.run(
        f"delete from {found_of(clocks, 'recent').relation}",
        f"insert into {found_of(clocks, 'recent').relation}"
        " select id, day, v, now() from raw.visits where day >= current_date - 35",
    )
    found = found_of(clocks, "recent")

    assert (found.verdict, found.error) == (Verdict.LEVEL, None)
    assert found.scope.rows_expected == 36
    assert f"as of the build of {began.isoformat(timespec='seconds')}" in found.scope.reason


def test_without_a_noted_build_the_model_is_not_judged(clocks: DbtProject) -> None:
    (clocks.folder / "target" / "run_results.json").unlink()
    found = found_of(clocks, "recent")

    assert (found.verdict, found.error) == (
        Verdict.UNVERIFIED,
        "current_date decides its rows or its key: it is no function of its sources",
    )
    assert any("no build of recent is noted here: after `dbt build -s recent`" in hint for hint in found.hints)


def test_an_upstream_table_needs_a_noted_build_too(clocks: DbtProject) -> None:
    assert found_of(clocks, "above").verdict is Verdict.LEVEL
    memory = clocks.folder / "target" / "reconcile" / "builds.json"
    (clocks.folder / "target" / "run_results.json").unlink()
    body = json.loads(memory.read_text())
    del body["dev"]["model.clocks.recent_rows"]
    memory.write_text(json.dumps(body))
    found = found_of(clocks, "above")

    assert found.verdict is Verdict.UNVERIFIED
    assert "the clock is read in recent_rows" in str(found.error)
    assert any("dbt build -s recent_rows" in hint for hint in found.hints)


def test_the_clock_of_an_upstream_table_is_that_of_its_build(clocks: DbtProject) -> None:
    noted(clocks, "recent_rows", datetime.now(UTC) - timedelta(days=20))
    name = table(judged(clocks, "above"), "above").relation
    clocks.run(f"delete from {name}", f"insert into {name} select id from raw.visits where id < 30")
    found = found_of(clocks, "above")

    assert (found.verdict, found.error, found.scope.rows_expected) == (Verdict.LEVEL, None, 30)


def test_a_bound_that_the_clock_passed_in_the_build_is_not_judged(clocks: DbtProject) -> None:
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    noted(clocks, "fresh", today - timedelta(days=2), today - timedelta(days=1))
    found = found_of(clocks, "fresh")

    assert found.verdict is Verdict.UNVERIFIED
    assert str(found.error).startswith("the clock passed a bound of its rows while it was built (age depends on now()")
    assert str(found.error).endswith(": 1 keys differ")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("chance", " decides its rows or its key"),
        ("stamp", "now() decides all that could be compared"),
        ("daily", "current_date decides its rows or its key"),
        ("both", "the clock in both_view is read in the builds of several models"),
    ],
)
def test_what_no_single_time_settles_is_not_judged(clocks: DbtProject, name: str, why: str) -> None:
    found = found_of(clocks, name)

    assert found.verdict is Verdict.UNVERIFIED
    assert why in str(found.error)


def test_rows_kept_from_before_the_bound_have_a_cause(clocks: DbtProject) -> None:
    clocks.run("insert into recent select id, day, v, now() from raw.visits where id = 35")
    found = found_of(clocks, "recent")

    assert (found.drift, found.causes) == (Drift(extra=1), {Cause.CLOCK_MOVED.value: 1})
    assert found.samples[0].cause == "clock_moved"


def test_a_row_that_came_after_the_proof_is_not_the_clocks(clocks: DbtProject) -> None:
    assert found_of(clocks, "recent").verdict is Verdict.LEVEL
    clocks.run("insert into recent select id, day, v, now() from raw.visits where id = 35")
    found = found_of(clocks, "recent")

    assert (found.drift, "clock_moved" in found.causes) == (Drift(extra=1), False)


def test_the_proof_tells_rows_of_an_earlier_clock_from_foreign_ones(clocks: DbtProject) -> None:
    noted(clocks, "recent", datetime.now(UTC) - timedelta(days=5))
    name = found_of(clocks, "recent").relation
    clocks.run(f"delete from {name}", f"insert into {name} select id, day, v, now() from raw.visits where id <= 35")
    assert found_of(clocks, "recent").verdict is Verdict.LEVEL  # a proof by the clock of five days ago
    clocks.dbt("build", "-s", "recent")
    found = found_of(clocks, "recent")

    assert (found.drift, found.causes) == (Drift(extra=5), {"clock_moved": 5})


def test_a_later_build_that_was_not_noted_is_no_drift(clocks: DbtProject) -> None:
    noted(clocks, "recent", datetime.now(UTC) - timedelta(days=5))
    found = found_of(clocks, "recent")  # built today, elsewhere as far as this folder knows

    assert found.verdict is Verdict.UNVERIFIED
    assert "a build after" in str(found.error)
    assert "(5 missing)" in str(found.error)


def test_a_repair_writes_what_the_build_would_have(clocks: DbtProject) -> None:
    name = found_of(clocks, "recent").relation
    clocks.run(
        f"delete from {name} where id = 3",
        f"insert into {name} select id, day, v, now() from raw.visits where id = 35",
    )
    options = Options(project_dir=clocks.folder, profiles_dir=clocks.folder, select=("recent",))
    with repair_session(open_project(options)) as session:
        session.make()
        [planned] = session.plan.tables
        assert (planned.inserts, planned.updates, planned.deletes) == (1, 0, 1)
        assert session.allowed(Guards()) == set()
        assert "--allow-delete" in session.refused[0].reason
        session.apply(Guards(allow_delete=True))
    assert found_of(clocks, "recent").verdict is Verdict.LEVEL


def test_change_capture_does_not_cover_a_clock_bound(clocks: DbtProject) -> None:
    swept = found_of(clocks, "recent", CheckRequest("auto"))
    forced = found_of(clocks, "recent", CheckRequest("capture"))

    assert (swept.verdict, swept.scope.mode) == (Verdict.LEVEL, "sweep")
    assert swept.scope.reason.endswith("; its definition reads the clock")
    assert (forced.verdict, "its definition reads the clock" in str(forced.error)) == (Verdict.UNVERIFIED, True)


def test_explain_tells_whose_clock_it_takes(clocks: DbtProject) -> None:
    options = Options(project_dir=clocks.folder, profiles_dir=clocks.folder, select=("recent",))
    [told] = explain(options)

    assert "-- clock:     of the build of 20" in told
    assert "/* clock */ cast('" in told
