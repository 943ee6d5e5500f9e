"""Each cause told of a real dbt run that leads to it, after a check that proved the tables level."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from reconcile.model_check.causes import Cause, Evidence, cause_of
from reconcile.report.model import Drift, TableReport
from tests.conftest import Database
from tests.support.dbt_projects import DbtProject, Templates, judged, now, table
from tests.support.event_stream import FIRST_DAY, build_stream, event_rows

SEEN = """
{{ config(materialized='incremental', unique_key='user_id', incremental_strategy='delete+insert') }}
select user_id, min(event_at) as first_at, max(event_at) as last_at from {{ ref('stg_events') }}
{% if is_incremental() %}
where user_id in (select user_id from {{ ref('stg_events') }} where event_at > (select max(last_at) from {{ this }}))
{% endif %}
group by user_id
"""


def build_proven(folder: Path, database: Database | None) -> DbtProject:
    """The stream, built and proven level."""
    project = build_stream(folder, database)
    assert judged(project).exit_code == 0
    return project


@pytest.fixture
def proven(templates: Templates, engine_kind: str, tmp_path: Path) -> Iterator[DbtProject]:
    with templates.copy(build_proven, engine_kind, tmp_path / "stream") as project:
        yield project


def found_in(project: DbtProject, name: str) -> TableReport:
    return table(judged(project, name), name)


def test_late_rows_that_the_filter_passed_over(proven: DbtProject) -> None:
    proven.run(event_rows(101, 103, FIRST_DAY - timedelta(hours=102)))
    proven.dbt("build", "-s", "+events")
    found = found_in(proven, "events")

    assert found.drift == Drift(missing=3)
    assert found.causes == {"late": 3}
    assert {sample.cause for sample in found.samples} == {"late"}
    # the newest event is 60 hours after the first day's start, the latest of the late ones an hour before it
    assert found.hints == (
        "the filter on event_at passed over them: a look-back of 2 days 13 hours would have caught all 3 late keys",
    )


def test_a_late_row_that_belongs_to_a_row_of_the_table(proven: DbtProject) -> None:
    proven.write({"models/seen.sql": SEEN})
    proven.dbt("run", "-s", "seen")
    assert found_in(proven, "seen").drift == Drift()
    proven.run(event_rows(201, 201, FIRST_DAY - timedelta(hours=300), user="2"))
    proven.dbt("run", "-s", "seen")
    found = found_in(proven, "seen")

    assert found.drift == Drift(changed=1)
    assert found.columns == {"first_at": 1}
    assert found.causes == {"late": 1}


def test_rows_deleted_upstream(proven: DbtProject, engine_kind: str) -> None:
    proven.run("delete from raw.events where event_id in (5, 6)")
    proven.dbt("build", "-s", "+events")
    found = found_in(proven, "events")

    assert found.drift == Drift(extra=2)
    # DuckDB does not say when a row was written: it may as well have been put there by hand
    assert found.causes == {"deleted_upstream" if engine_kind == "postgres" else "unknown": 2}


def test_rows_corrected_upstream_below_the_watermark(proven: DbtProject) -> None:
    proven.run(f"update raw.events set amount = 99, loaded_at = '{now()}' where event_id in (7, 8)")
    proven.dbt("build", "-s", "+events")
    found = found_in(proven, "events")

    assert found.drift == Drift(changed=2)
    assert found.columns == {"amount": 2}
    assert found.causes == {"corrected_upstream": 2}


def test_a_model_whose_logic_changed(proven: DbtProject) -> None:
    model = proven.folder / "models" / "events.sql"
    model.write_text(model.read_text().replace("kind, amount, event_at", "upper(kind) as kind, amount, event_at"))
    proven.run(event_rows(61, 63))
    proven.dbt("build", "-s", "+events")
    found = found_in(proven, "events")

    assert found.drift == Drift(changed=60)
    assert found.columns == {"kind": 60}
    assert found.causes == {"logic_changed": 60}


def test_rows_that_only_the_new_logic_has(proven: DbtProject) -> None:
    model = proven.folder / "models" / "events.sql"
    model.write_text(
        model.read_text() + "union all select -1, 1, 'made', cast(0 as numeric(12, 2)), timestamp '2020-01-01'\n"
    )
    found = found_in(proven, "events")

    assert found.drift == Drift(missing=1)
    assert found.causes == {"logic_changed": 1}


def test_a_running_sum_over_new_rows_only(proven: DbtProject) -> None:
    proven.run(event_rows(61, 63))
    proven.dbt("build", "-s", "+user_totals")
    found = found_in(proven, "user_totals")

    assert found.drift == Drift(changed=3)
    assert found.causes == {"partial_aggregate": 3}
    assert {cell.actual for sample in found.samples for name, cell in sample.columns.items() if name == "n"} == {"1"}


def test_a_model_that_appends_its_keys_again(proven: DbtProject) -> None:
    proven.dbt("build", "-s", "user_log")
    found = found_in(proven, "user_log")

    assert found.drift == Drift(duplicate=6)
    assert found.causes == {"duplicate": 6}
    assert {sample.cause for sample in found.samples} == {"duplicate"}


def test_rows_edited_by_hand(proven: DbtProject, engine_kind: str) -> None:
    name = found_in(proven, "events").relation
    proven.run(
        f"update {name} set amount = 0 where event_id in (10, 11)",
        f"delete from {name} where event_id = 12",
        f"insert into {name} values (777, 1, 'made', 1, timestamp '2026-01-01')",
    )
    found = found_in(proven, "events")

    assert found.drift == Drift(missing=1, extra=1, changed=2)
    told = {sample.kind: sample.cause for sample in found.samples}
    assert told["changed"] == told["missing"] == "manual_edit"
    assert told["extra"] == ("manual_edit" if engine_kind == "postgres" else "unknown")


def test_causes_of_more_rows_than_are_sampled_are_counted(proven: DbtProject) -> None:
    proven.run(event_rows(1000, 1400))
    proven.dbt("build", "-s", "+events")
    name = found_in(proven, "events").relation
    proven.run(f"update {name} set amount = -1 where event_id >= 1000", f"delete from {name} where event_id < 4")
    found = found_in(proven, "events")

    assert found.drift == Drift(missing=3, changed=401)
    assert found.causes == {"manual_edit": 404}
    proven.run(f"insert into {name} select event_id, user_id, 'x', amount, event_at from {name} where event_id = 1001")
    found = found_in(proven, "events")
    assert found.drift == Drift(missing=3, changed=400, duplicate=1)
    assert found.causes == {"manual_edit": 403, "duplicate": 1}
    assert found.truncated
    assert len(found.samples) == 100


def test_without_a_proof_nothing_is_guessed(proven: DbtProject, engine_kind: str) -> None:
    (proven.folder / "target" / "reconcile" / "proven.json").unlink()
    name = table(judged(proven, "user_log"), "user_log").relation.replace("user_log", "events")
    proven.run(f"delete from {name} where event_id = 12", f"update {name} set amount = 0 where event_id = 13")
    found = found_in(proven, "events")

    assert found.drift == Drift(missing=1, changed=1)
    # Postgres still tells that no build wrote the row: its transaction wrote nothing that is right
    changed = "manual_edit" if engine_kind == "postgres" else "unknown"
    assert {sample.kind: sample.cause for sample in found.samples} == {"missing": "unknown", "changed": changed}


@pytest.mark.parametrize(
    ("evidence", "cause"),
    [
        (Evidence("missing"), Cause.UNKNOWN),
        (Evidence("extra"), Cause.UNKNOWN),
        (Evidence("changed"), Cause.UNKNOWN),
        (Evidence("missing", in_before=False, in_former=False), Cause.LOGIC_CHANGED),
        (Evidence("missing", in_before=False, in_former=True), Cause.LATE),
        (Evidence("extra", in_former=False, untouched=True), Cause.DELETED_UPSTREAM),
        (Evidence("extra", untouched=False, by_build=True), Cause.DELETED_UPSTREAM),
        (Evidence("extra", untouched=True, never_refreshed=True), Cause.KEEPS_MORE),
        (Evidence("extra", by_build=False, never_refreshed=True), Cause.KEEPS_MORE),
        (Evidence("extra", in_former=True, never_refreshed=True), Cause.LOGIC_CHANGED),
        (Evidence("missing", in_before=True, never_refreshed=True), Cause.MANUAL_EDIT),
        (Evidence("changed", in_before=True, by_build=False, never_refreshed=True), Cause.MANUAL_EDIT),
        (Evidence("changed", in_before=True, before_is_expected=True, untouched=True), Cause.CORRECTED_UPSTREAM),
        (Evidence("changed", in_before=True, since_is_actual=True, by_build=True), Cause.PARTIAL_AGGREGATE),
        (Evidence("changed", in_before=False, by_build=False), Cause.MANUAL_EDIT),
        (Evidence("changed", in_before=True, by_build=True), Cause.UNKNOWN),
        (Evidence("extra", in_former=True, clock=True, only_clock=True), Cause.CLOCK_MOVED),
        (Evidence("extra", in_former=True, clock=True), Cause.LOGIC_CHANGED),
        (Evidence("extra", by_build=False, clock=True), Cause.CLOCK_MOVED),
        (Evidence("extra", in_former=False, untouched=True, clock=True), Cause.DELETED_UPSTREAM),
        (Evidence("extra", untouched=True), Cause.DELETED_UPSTREAM),
        (Evidence("changed", former_is_actual=True, clock=True, only_clock=True), Cause.CLOCK_MOVED),
    ],
)
def test_rules_at_their_edges(evidence: Evidence, cause: Cause) -> None:
    assert cause_of(evidence) is cause
