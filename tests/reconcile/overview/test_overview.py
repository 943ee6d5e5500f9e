"""The state over time: verdicts kept in the database, open drift, time to repair, sources, panels."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from reconcile.dbt.project import Options
from reconcile.errors import ReconcileError
from reconcile.model_check.run import check
from reconcile.overview.assemble import models_over_time, overview
from reconcile.render.overview import print_overview
from reconcile.report.model import PastRun, PastTable, Verdict
from reconcile.report.overview import Overview
from reconcile.state.folder import FolderState, state_folder
from reconcile.state.verdict_table import TABLE
from tests.conftest import Database
from tests.support.dbt_projects import DbtProject, Templates

FILES = {
    "dbt_project.yml": "name: tiny\nprofile: tiny\nflags: {send_anonymous_usage_stats: false}\n",
    "models/kept.sql": """
{{ config(materialized='incremental', unique_key='id') }} select id, v from {{ source('raw', 'truth') }}
""",
    "models/health.sql": "{{ config(materialized='table') }} select 'a' as name, 1 as n union all select '<b>', null",
    "models/unbuilt.sql": "{{ config(materialized='table', tags=['later']) }} select 1 as n",
    "models/all.yml": """
version: 2
sources:
  - name: raw
    schema: raw
    loaded_at_field: loaded_at
    config: {freshness: {warn_after: {count: 1, period: hour}, error_after: {count: 30, period: day}}}
    tables:
      - {name: truth}
      - {name: nothing}
      - {name: absent}
      - {name: dated, loaded_at_field: day}
      - {name: worded, loaded_at_field: "'yesterday'"}
models:
  - name: health
    config: {meta: {reconcile: {panel: How it goes}}}
  - name: unbuilt
    config: {meta: {reconcile: {panel: Not yet there}}}
""",
}


def build_tiny(folder: Path, database: Database | None) -> DbtProject:
    project = DbtProject(folder, database)
    project.write(FILES)
    project.profile("tiny")
    project.run(
        "create schema raw",
        "create table raw.truth as select n as id, n * 2 as v, now() - interval '2 hours' as loaded_at"
        " from generate_series(1, 40) as s(n)",
        "create table raw.nothing (loaded_at timestamp)",
        "create table raw.dated as select date '2026-01-01' as day",
        "create table raw.worded as select 1 as n",
    )
    project.dbt("build", "--exclude", "tag:later")
    return project


@pytest.fixture
def tiny(templates: Templates, engine_kind: str, tmp_path: Path) -> Iterator[DbtProject]:
    with templates.copy(build_tiny, engine_kind, tmp_path / "tiny") as project:
        yield project


def options(project: DbtProject) -> Options:
    return Options(project_dir=project.folder, profiles_dir=project.folder)


def printed(found: Overview, width: int = 100) -> str:
    out = io.StringIO()
    print_overview(found, Console(file=out, width=width, markup=False, highlight=False, emoji=False, no_color=True))
    return out.getvalue()


def test_the_page_over_time_tells_of_models_sources_and_panels(tiny: DbtProject) -> None:
    with pytest.raises(ReconcileError, match="nothing was ever checked on target dev"):
        overview(options(tiny))
    check(options(tiny), start_record=True)
    tiny.run("update kept set v = 0 where id in (7, 8)")
    check(options(tiny))
    found = overview(options(tiny))

    [model] = found.models
    assert (model.name, model.verdict, model.keys) == ("kept", Verdict.DRIFT, 2)
    assert model.open_since == found.runs[-1].at
    assert (found.verdict, len(found.runs)) == (Verdict.DRIFT, 2)
    assert {s.name: s.status for s in found.sources} == {
        "raw.truth": "warn",
        "raw.nothing": "empty",
        "raw.absent": "unknown",
        "raw.dated": "error",
        "raw.worded": "unknown",
    }
    truth = next(s for s in found.sources if s.name == "raw.truth")
    assert truth.age is not None
    assert 7_000 < truth.age < 9_000
    assert (truth.warn_after, truth.error_after) == ("1 hour", "30 days")
    assert [(p.title, p.columns, sorted(p.rows)) for p in found.panels] == [
        ("How it goes", ("name", "n"), [("<b>", None), ("a", "1")])
    ]
    assert found.notices == ("Not yet there: its table does not exist yet, dbt build makes it",)
    said = printed(found)
    assert "1 of 1 models have open drift; 5 of 5 sources are not fresh." in said
    assert "▁█" in said
    assert max(map(len, said.splitlines())) <= 100
    json.dumps(found.as_dict())


def test_verdicts_are_kept_in_the_database_only_with_the_reconcile_schema(tiny: DbtProject) -> None:
    homes = "select count(*) from information_schema.tables where table_schema = 'reconcile'"
    check(options(tiny))
    assert tiny.rows(homes) == [(0,)]  # a check of a database that never heard of us writes nothing

    first = check(options(tiny), start_record=True)
    tiny.run("delete from kept where id < 4")
    second = check(options(tiny))
    kept = tiny.rows(f"select run_id, verdict, missing, rows_expected, scope, error from {TABLE} order by run_id")
    assert kept == [
        (first.run_id, "level", 0, 40, "sweep", None),
        (second.run_id, "drift", 3, 40, "sweep", None),
    ]


def test_files_and_database_tell_one_history(tiny: DbtProject) -> None:
    kept_in_both = check(options(tiny), start_record=True)
    files = FolderState(state_folder(tiny.folder))
    files.keep_report(kept_in_both)
    only_a_file = replace(kept_in_both, run_id="20990101T000000-abcdef", finished_at="2099-01-01T00:00:00.000Z")
    files.keep_report(only_a_file)
    files.keep_report(replace(only_a_file, run_id="20990102T000000-abcdef", target="elsewhere"))

    assert [run.run_id for run in overview(options(tiny)).runs] == [kept_in_both.run_id, "20990101T000000-abcdef"]


def test_a_role_that_may_not_write_checks_all_the_same(pg_tiny: DbtProject) -> None:
    pg_tiny.run(
        "create schema reconcile",
        "create role looker login",
        "grant usage on schema raw, public, reconcile to looker",
        "grant select on all tables in schema raw, public to looker",
    )
    try:
        profile = pg_tiny.folder / "profiles.yml"
        profile.write_text(profile.read_text().replace("user: postgres", "user: looker"))
        report = check(options(pg_tiny))
        assert report.verdict is Verdict.LEVEL
        assert pg_tiny.rows("select count(*) from pg_class where relname = 'verdict'") == [(0,)]
    finally:
        pg_tiny.run("drop owned by looker", "drop role looker")


@pytest.fixture
def pg_tiny(templates: Templates, tmp_path: Path) -> Iterator[DbtProject]:
    with templates.copy(build_tiny, "postgres", tmp_path / "tiny") as project:
        yield project


def test_a_database_that_is_away_leaves_what_the_files_tell(pg_tiny: DbtProject) -> None:
    FolderState(state_folder(pg_tiny.folder)).keep_report(check(options(pg_tiny)))
    profile = pg_tiny.folder / "profiles.yml"
    profile.write_text(profile.read_text().replace("port: 5432", "port: 5431"))
    found = overview(options(pg_tiny))

    assert [model.verdict for model in found.models] == [Verdict.LEVEL]
    assert (found.sources, found.panels) == ((), ())
    assert "the database could not be looked at" in found.notices[0]


def run_at(hour: int, **found: Verdict) -> PastRun:
    tables = {name: PastTable(verdict, 5 if verdict is Verdict.DRIFT else 0) for name, verdict in found.items()}
    return PastRun(f"r{hour:02}", f"2026-06-01T{hour:02}:00:00.000Z", tables)


def test_a_drift_is_open_until_a_run_finds_it_gone() -> None:
    """What could not be judged ends no drift, and neither does a run that did not look."""
    level, drift, unverified = Verdict.LEVEL, Verdict.DRIFT, Verdict.UNVERIFIED
    runs = [
        run_at(1, a=level, b=drift),
        run_at(2, a=drift, b=drift),
        run_at(3, a=unverified),
        run_at(5, a=drift, b=drift),
        run_at(6, a=level, b=unverified),
        run_at(8, a=drift),
        run_at(9, a=level),
    ]
    b, a = models_over_time(runs)

    assert (a.name, a.open_since, a.repaired_in, a.time_to_repair) == ("a", None, (4 * 3600.0, 3600.0), 2.5 * 3600)
    assert (b.name, b.open_since, b.repaired_in) == ("b", "2026-06-01T01:00:00.000Z", ())
    assert (b.verdict, b.time_to_repair) == (unverified, None)
    assert [found for _, found in b.runs].count(None) == 3
