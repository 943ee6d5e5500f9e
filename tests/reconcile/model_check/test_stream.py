"""reconcile on an event stream: microbatch, snapshots as leaves, append without a key, ties, state selection."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from reconcile.compare.key_filter import Keys, read_keys
from reconcile.errors import ReconcileError
from reconcile.model_check.judge_model import CheckRequest
from reconcile.report.model import Drift, Report, Verdict
from tests.support.dbt_projects import DbtProject, Templates, judged, table
from tests.support.event_stream import FIRST_DAY, MODELS, SECOND_DAY, build_stream, event_rows


@pytest.fixture
def stream(templates: Templates, engine_kind: str, tmp_path: Path) -> Iterator[DbtProject]:
    with templates.copy(build_stream, engine_kind, tmp_path / "stream") as project:
        yield project


def verdicts(report: Report) -> dict[str, str]:
    return {found.name: found.verdict.value for found in report.tables}


def test_every_strategy_is_level_after_builds(stream: DbtProject) -> None:
    assert verdicts(judged(stream)) == dict.fromkeys(MODELS, "level")

    stream.run(event_rows(61, 66), "update raw.users set plan = 'paid' where user_id < 3")
    stream.dbt("build", "--exclude", "user_totals", "user_log")  # these two are built to go wrong
    assert verdicts(judged(stream, exclude=("user_totals", "user_log"))) == dict.fromkeys(
        MODELS - {"user_totals", "user_log"}, "level"
    )


def test_a_microbatch_model_is_judged_over_its_batches(stream: DbtProject) -> None:
    """Rows before ``begin`` are in no batch; a late row beyond the look-back is lost."""
    stream.run(event_rows(100, 101, FIRST_DAY - timedelta(hours=101)))
    stream.dbt("build", "-s", "+user_days")
    assert table(judged(stream, "user_days"), "user_days").drift == Drift()

    stream.run(event_rows(300, 301, SECOND_DAY - timedelta(hours=299)))
    stream.dbt("build", "-s", "+user_days")
    found = table(judged(stream, "user_days"), "user_days")
    assert found.drift.any()
    if found.key:
        assert found.drift == Drift(changed=2)
        assert found.columns == {"n": 2}


def test_state_selects_what_was_modified(stream: DbtProject, tmp_path: Path) -> None:
    stream.dbt("parse")
    shutil.copytree(stream.folder / "target", tmp_path / "state", ignore=shutil.ignore_patterns("reconcile"))
    model = stream.folder / "models" / "events.sql"
    model.write_text(model.read_text().replace("amount, event_at", "amount, event_at, 1 as more"))

    modified = judged(stream, "state:modified", state=tmp_path / "state")
    assert {found.name for found in modified.tables} == {"events"}
    assert {found.name for found in judged(stream, "state:modified+", state=tmp_path / "state").tables} == {
        "events",
        "view_log",
    }


TIED = {
    "row_number": "select user_id, event_id from (select *, row_number() over (partition by user_id order by kind) as n"
    " from {{ ref('stg_events') }}) as ranked where n = 1",
    "lag": "select event_id as user_id, lag(event_id) over (partition by user_id order by kind) as before"
    " from {{ ref('stg_events') }}",
    "distinct on": "select distinct on (user_id) user_id, event_id from {{ ref('stg_events') }} order by user_id, kind",
    "limit": "select event_id as user_id, kind from {{ ref('stg_events') }} order by kind limit 7",
    "array_agg": "select user_id, array_agg(event_id) as ids from {{ ref('stg_events') }} group by user_id",
    "string_agg": "select user_id, string_agg(cast(event_id as varchar), ',' order by kind) as ids"
    " from {{ ref('stg_events') }} group by user_id",
}
SETTLED = {
    "row_number": TIED["row_number"].replace("order by kind", "order by kind, event_id"),
    "harmless": "select user_id, kind from (select *, row_number() over (partition by user_id order by kind) as n"
    " from {{ ref('stg_events') }}) as ranked where n = 1",
    "array_agg": TIED["array_agg"].replace("array_agg(event_id)", "array_agg(event_id order by event_id)"),
    "rank": "select user_id, max(place) as place from (select user_id, rank() over (order by kind) as place"
    " from {{ ref('stg_events') }}) as ranked group by user_id",
}


def incremental(sql: str) -> str:
    return "{{ config(materialized='incremental', unique_key='user_id') }}\n" + sql


def test_ties_that_matter_are_unverified_and_ties_that_do_not_are_judged(stream: DbtProject) -> None:
    for name, sql in TIED.items():
        stream.write({f"models/tied_{name.replace(' ', '_')}.sql": incremental(sql)})
    for name, sql in SETTLED.items():
        stream.write({f"models/settled_{name}.sql": incremental(sql)})
    stream.dbt("run", "-s", "path:models/tied*", "path:models/settled*")
    report = judged(stream, "path:models/tied*", "path:models/settled*")

    told = verdicts(report)
    assert {name for name, verdict in told.items() if verdict == "unverified"} == {
        f"tied_{name.replace(' ', '_')}" for name in TIED
    }, told
    assert {name for name, verdict in told.items() if verdict == "level"} == {f"settled_{name}" for name in SETTLED}
    found = table(report, "tied_row_number")
    assert found.error is not None
    assert "it orders by ties in ROW_NUMBER() OVER (PARTITION BY user_id ORDER BY kind)" in found.error
    assert found.hints[0].startswith("add a column to that ORDER BY that no two rows share")
    assert report.exit_code == 2


def test_only_the_keys_that_were_given_are_compared(stream: DbtProject, tmp_path: Path) -> None:
    report = judged(stream, "events", "plan_changes")
    events, days = table(report, "events").relation, table(report, "plan_changes").relation
    stream.run(f"update {events} set amount = 0 where event_id in (5, 6, 7)", f"update {days} set plan = 'x'")
    ids = tmp_path / "ids.txt"
    ids.write_text("5\n6\n8\n999\n")
    found = table(judged(stream, "events", asked=CheckRequest("keys", read_keys(str(ids)))), "events")
    assert found.drift == Drift(changed=2)
    assert (found.scope.mode, found.scope.keys_checked, found.scope.rows_actual) == ("keys", 4, 3)

    rows = stream.rows(f"select user_id, dbt_valid_from from {days} where user_id < 3")
    lines = [json.dumps({"user_id": str(user), "dbt_valid_from": str(at)}) for user, at in rows]
    (tmp_path / "keys.jsonl").write_text("\n".join(lines))
    composite = CheckRequest("keys", read_keys(str(tmp_path / "keys.jsonl")))
    assert table(judged(stream, "plan_changes", asked=composite), "plan_changes").drift == Drift(changed=2)

    ids.write_text("998\n999\n")
    nothing = table(judged(stream, "events", asked=CheckRequest("keys", read_keys(str(ids)))), "events")
    assert (nothing.verdict, nothing.error) == (
        Verdict.UNVERIFIED,
        "none of the 2 keys is on either side: nothing was compared",
    )


def test_ties_of_other_keys_are_no_matter(stream: DbtProject, tmp_path: Path) -> None:
    only_one = TIED["row_number"].replace("order by kind", "order by case when user_id = 1 then 0 else event_id end")
    stream.write({"models/tied_one.sql": incremental(only_one)})
    stream.dbt("run", "-s", "tied_one")
    (tmp_path / "ids.txt").write_text("2\n3\n")
    found = table(
        judged(stream, "tied_one", asked=CheckRequest("keys", read_keys(str(tmp_path / "ids.txt")))), "tied_one"
    )

    assert (found.verdict, found.scope.rows_actual) == (Verdict.LEVEL, 2)
    assert table(judged(stream, "tied_one"), "tied_one").verdict is Verdict.UNVERIFIED


def test_what_a_keys_file_may_hold(tmp_path: Path) -> None:
    def read(text: str, name: str = "keys.csv") -> Keys:
        (tmp_path / name).write_text(text)
        return read_keys(str(tmp_path / name))

    assert read("a,b\n1,x\n1,x\n2,y\n").of(("b", "a")) == [("x", "1"), ("y", "2")]
    assert read("id\n7\n").of(("id",)) == [("7",)]
    assert read("7\n8\n", "keys.txt").of(("id",)) == [("7",), ("8",)]
    with pytest.raises(ReconcileError, match="has no column c: it has a, b"):
        read("a,b\n1,x\n").of(("a", "c"))
    with pytest.raises(ReconcileError, match="names no key of"):
        read("7\n", "keys.txt").of(("a", "b"))
    assert read('{"id": 1}\n{"id": null}\n{"id": "x"}\n', "keys.jsonl").of(("id",)) == [("1",), (None,), ("x",)]
    assert read('id,v\n"a\nb",1\n').of(("id",)) == [("a\nb",)]
    for broken in ("not json", "[1]"):
        with pytest.raises(ReconcileError, match="line 2: no JSON object"):
            read(f'{{"id": 1}}\n{broken}\n', "keys.jsonl")
    with pytest.raises(ReconcileError, match="entry 2 lacks a part of the key"):
        read('{"a": 1, "b": 1}\n{"a": 2}\n', "keys.jsonl").of(("a", "b"))
    with pytest.raises(ReconcileError, match="holds no keys"):
        read("\n")
    with pytest.raises(ReconcileError, match="cannot be read"):
        read_keys(str(tmp_path / "absent.csv"))


def test_without_capture_a_scope_of_capture_judges_nothing(stream: DbtProject, engine_kind: str) -> None:
    why = {
        "postgres": "its changes are not captured (reconcile setup)",
        "duckdb": "changes are captured on Postgres only",
    }[engine_kind]
    report = judged(stream, "events", asked=CheckRequest("capture"))
    found = table(report, "events")

    assert (found.verdict, found.scope.mode, report.exit_code) == (Verdict.UNVERIFIED, "capture", 2)
    assert found.error == f"{why}; a sweep would tell, and --scope capture forbids it"
