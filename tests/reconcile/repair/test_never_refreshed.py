"""A model with full_refresh: false may keep rows whose source was purged: no repair deletes them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reconcile.engines.factory import open_engine
from reconcile.errors import Refused
from reconcile.model_check.judge_model import judge_definition
from reconcile.repair.guards import Guards
from reconcile.repair.session import repair_session
from reconcile.report.model import Drift, Verdict
from tests.support.bench import Bench
from tests.support.dbt_projects import DbtProject, Templates, judged, table

EVERYTHING = Guards(max_rows=1000, max_percent=100, allow_delete=True, cascade=True)


def never(bench: Bench, key: tuple[str, ...] = ("id",)) -> Bench:
    """The bench's model with full_refresh: false."""
    [definition] = bench.project.definitions
    changed = replace(definition, never_refreshed=True, key=key)
    return Bench(replace(bench.project, definitions=(changed,)))


def test_rows_that_only_the_table_has_are_left_and_the_others_written(bench: Bench, tmp_path: Path) -> None:
    bench.make("id integer, v integer", "(1, 1), (2, 2), (3, 3)", "(1, 1), (2, 2), (7, 7), (8, 8)")
    kept = never(bench)
    plan = kept.plan(tmp_path / "plan.json")
    assert [(t.inserts, t.updates, t.deletes) for t in plan.tables] == [(1, 0, 0)]
    with repair_session(kept.project) as session:
        session.make(brief=True)
        done = session.apply(EVERYTHING)

    assert (done.inserted, done.updated, done.deleted) == (1, 0, 0)
    assert bench.rows() == [(1, 1), (2, 2), (3, 3), (7, 7), (8, 8)]
    [refusal] = done.refused
    assert refusal.reason == (
        "kept: 2 rows that only the table has are left: its full_refresh is false, so rows whose source was purged may "
        "be right and no repair deletes any"
    )


def test_changed_rows_beside_rows_that_are_kept_may_be_right(bench: Bench) -> None:
    """A sum over sources that were purged in part: its definition yields less than there was."""
    bench.make("id integer, v integer", "(1, 1), (2, 2)", "(1, 9), (2, 2), (7, 7)")
    with pytest.raises(Refused, match="its 1 changed rows may be right for the same reason"):
        never(bench).repair(EVERYTHING)
    assert bench.rows() == [(1, 9), (2, 2), (7, 7)]

    bench.run("delete from kept where id = 7")
    assert never(bench).repair(EVERYTHING).updated == 1


def test_the_cause_is_that_it_keeps_more(bench: Bench) -> None:
    bench.make("id integer, v integer", "(1, 1), (2, 2)", "(1, 1), (2, 2), (7, 7)")
    engine = open_engine(bench.project.connection)
    found = judge_definition(engine, never(bench).project.definitions[0])
    other = judge_definition(engine, bench.project.definitions[0])
    engine.close()

    assert (found.verdict, found.drift) == (Verdict.DRIFT, Drift(extra=1))
    assert found.causes == {"keeps_more_than_source": 1}
    assert [sample.cause for sample in found.samples] == ["keeps_more_than_source"]
    assert "keeps_more_than_source" not in other.causes


def test_a_repair_with_nothing_else_to_do_says_what_it_leaves(bench: Bench) -> None:
    bench.make("id integer, v integer", "(1, 1), (2, 2)", "(1, 1), (2, 2), (7, 7)")
    with pytest.raises(Refused, match="1 row that only the table has is left: its full_refresh is false"):
        never(bench).repair(EVERYTHING)
    assert bench.rows() == [(1, 1), (2, 2), (7, 7)]


@pytest.mark.parametrize(
    ("truth", "kept", "key"),
    [
        ("(1, 1), (2, 2)", "(1, 1), (2, 2), (2, 2)", ("id",)),
        ("(1, 1), (2, 2)", "(1, 1), (2, 2), (null, 3)", ("id",)),
        ("(1, 1), (2, 2)", "(1, 1), (2, 3)", ()),  # without a key a changed row is one to delete and one to insert
        ("(1, 1), (2, 2)", "(1, 1), (2, 2), (3, 3)", ()),
    ],
)
def test_deletions_for_other_reasons_refuse_the_whole_model(
    bench: Bench, truth: str, kept: str, key: tuple[str, ...]
) -> None:
    bench.make("id integer, v integer", truth, kept)
    before = bench.rows()
    with pytest.raises(Refused, match="its repair needs 1 deletions"):
        never(bench, key).repair(EVERYTHING)
    assert bench.rows() == before


def test_a_plan_with_deletions_made_before_the_setting_deletes_nothing(bench: Bench, tmp_path: Path) -> None:
    bench.make("id integer, v integer", "(1, 1), (2, 2)", "(1, 9), (2, 2), (7, 7)")
    assert bench.plan(tmp_path / "plan.json").tables[0].deletes == 1
    done = never(bench).apply(tmp_path / "plan.json", EVERYTHING)

    assert (done.updated, done.deleted, done.stale) == (1, 0, 1)
    assert bench.rows() == [(1, 1), (2, 2), (7, 7)]


def test_other_models_still_delete(bench: Bench) -> None:
    bench.make("id integer, v integer", "(1, 1), (2, 2)", "(1, 1), (2, 2), (7, 7)")
    assert bench.repair(EVERYTHING).deleted == 1
    assert bench.rows() == [(1, 1), (2, 2)]


CONFIG = "{{ config(materialized='incremental', unique_key='id'%s) }} select id, v from %s"


def build_purged(folder: Path, database: object) -> DbtProject:
    """A chain of three models on a source that was purged after the build."""
    project = DbtProject(folder, database)  # type: ignore[arg-type]
    project.write(
        {
            "dbt_project.yml": "name: purged\nprofile: own\nflags: {send_anonymous_usage_stats: false}\n",
            "models/sources.yml": "sources: [{name: raw, tables: [{name: facts}]}]\n",
            "models/kept_facts.sql": CONFIG % (", full_refresh=false", "{{ source('raw', 'facts') }}"),
            "models/through.sql": "{{ config(materialized='view') }} select * from {{ ref('kept_facts') }}",
            "models/below.sql": CONFIG % ("", "{{ ref('through') }}"),
            "models/beside.sql": CONFIG % (", full_refresh=true", "{{ source('raw', 'facts') }}"),
        }
    )
    project.profile("own")
    project.run(
        "create schema raw",
        "create table raw.facts (id integer, v integer)",
        "insert into raw.facts values (1, 1), (2, 2), (3, 3)",
    )
    project.dbt("build")
    project.run("delete from raw.facts where id = 1")
    return project


def test_models_of_dbt_on_a_purged_source(templates: Templates, engine_kind: str, tmp_path: Path) -> None:
    with templates.copy(build_purged, engine_kind, tmp_path / "purged") as project:
        report = judged(project)
        kept, below, beside = (table(report, name) for name in ("kept_facts", "below", "beside"))

        assert (kept.verdict, kept.drift) == (Verdict.DRIFT, Drift(extra=1))
        assert kept.causes == {"keeps_more_than_source": 1}
        assert below.verdict is Verdict.UNVERIFIED
        assert "the upstream model kept_facts is never refreshed in full (full_refresh: false)" in (below.error or "")
        assert "rows differ (1 extra)" in (below.error or "")
        assert (beside.verdict, beside.drift) == (Verdict.DRIFT, Drift(extra=1))
        assert "keeps_more_than_source" not in beside.causes

        shallow = table(judged(project, "below", upstream="shallow"), "below")
        assert shallow.verdict is Verdict.LEVEL
