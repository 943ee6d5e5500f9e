"""Keys in another case than their columns, and versions of models, are what dbt makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconcile.dbt.project import _column_of
from reconcile.errors import ProjectError
from reconcile.report.model import Declared, Drift, Verdict
from tests.conftest import Database
from tests.support.dbt_projects import DbtProject, Templates, judged, table

HEAD = "{{ config(materialized='incremental', unique_key=%s) }} "
PROJECT = "name: named\nprofile: own\nflags: {send_anonymous_usage_stats: false}\n"


def built(folder: Path, database: Database | None, files: dict[str, str], facts: str) -> DbtProject:
    """A project of these files that was built once over ``raw.facts``."""
    project = DbtProject(folder, database)
    project.write({"dbt_project.yml": PROJECT, **files})
    project.profile("own")
    project.run(
        "create schema raw", "create table raw.facts (id integer, v integer)", f"insert into raw.facts values {facts}"
    )
    project.dbt("build")
    return project


def build_keys(folder: Path, database: Database | None) -> DbtProject:
    both = 'select v as "ID", id, v from {{ source("raw", "facts") }}'
    plain = "select id, v from {{ source('raw', 'facts') }}"
    models = {"upper": ("'ID'", plain), "listed": ("['Id', 'V']", plain)}
    if database is not None:  # DuckDB has no two columns that differ in case alone
        models |= {
            "both": ("'ID'", both),
            "quoted": ("'\"ID\"'", 'select id as "ID", v from {{ source("raw", "facts") }}'),
        }
    files = {
        "models/sources.yml": "sources: [{name: raw, tables: [{name: facts}]}]\n",
        **{f"models/{name}.sql": HEAD % key + sql for name, (key, sql) in models.items()},
    }
    project = built(folder, database, files, "(1, 7), (2, 7), (3, 8)")
    project.dbt("build")
    return project


def test_a_key_in_another_case_is_found_as_the_database_folds_it_or_refused(
    templates: Templates, engine_kind: str, tmp_path: Path
) -> None:
    with templates.copy(build_keys, engine_kind, tmp_path / "named") as project:
        found = {one.name: one for one in judged(project).tables}
        if engine_kind != "postgres":
            for one in found.values():
                assert one.verdict is Verdict.ERROR
            assert "write it as it is spelled there, id, in meta.reconcile.key" in (found["upper"].error or "")
            return
        assert {name: one.verdict for name, one in found.items()} == dict.fromkeys(found, Verdict.LEVEL)
        # the column "ID" of both holds 7 twice: dbt's key is id
        assert {name: one.key for name, one in found.items()} == {
            "upper": ("id",),
            "listed": ("id", "v"),
            "both": ("id",),
            "quoted": ("ID",),
        }
        project.run('update "quoted" set v = 0 where "ID" = 2')
        [sample] = table(judged(project, "quoted"), "quoted").samples
        assert sample.key == {"ID": "2"}


@pytest.mark.parametrize(
    ("unique_key", "postgres"),
    [
        ("id", "id"),
        ("ID", "id"),
        ('"ID"', "ID"),
        ('"a ""b"""', 'a "b"'),
        ("ÄId", "Äid"),  # Postgres folds ASCII alone in UTF8
        ("a || B", "a || B"),
        ('"A" || "B"', '"A" || "B"'),
        ("lower(ID)", "lower(ID)"),
    ],
)
def test_names_and_expressions_of_a_unique_key(unique_key: str, postgres: str) -> None:
    assert _column_of(unique_key, "postgres") == postgres
    assert _column_of(unique_key, "duckdb") == unique_key


def build_versions(folder: Path, database: Database | None) -> DbtProject:
    facts = "select id, v from {{ source('raw', 'facts') }}"
    files = {
        "models/models.yml": "sources: [{name: raw, tables: [{name: facts}]}]\n"
        "models: [{name: dim_x, latest_version: 2, versions: [{v: 1}, {v: 2}, {v: 3}]}]\n",
        "models/dim_x_v1.sql": HEAD % "'id'" + facts,
        "models/dim_x_v2.sql": HEAD % "'id'" + facts.replace("v from", "v + 1 as v from"),
        "models/dim_x_v3.sql": HEAD % "'id'" + facts.replace("v from", "coalesce(v, random()) as v from"),
        "models/below.sql": HEAD % "'id'" + "select a.id, a.v as old, b.v as v from {{ ref('dim_x', v=1) }} as a"
        " join {{ ref('dim_x') }} as b on b.id = a.id",
    }
    return built(folder, database, files, "(1, 7)")


def test_versions_of_a_model_are_named_and_selected_as_dbt_does(
    templates: Templates, engine_kind: str, tmp_path: Path
) -> None:
    with templates.copy(build_versions, engine_kind, tmp_path / "versions") as project:
        level = dict.fromkeys(("below", "dim_x.v1", "dim_x.v2"), Verdict.LEVEL)
        found = {one.name: one for one in judged(project).tables}
        assert {name: one.verdict for name, one in found.items()} == level | {"dim_x.v3": Verdict.UNVERIFIED}
        assert found["dim_x.v3"].hints == (
            "to compare the other columns, write in models/models.yml, under the versions of dim_x: "
            "- {v: 3, config: {meta: {reconcile: {ignore: [v]}}}}",
        )
        assert [one.name for one in judged(project, "dim_x.v2").tables] == ["dim_x.v2"]
        assert [one.name for one in judged(project, "dim_x").tables] == ["dim_x.v1", "dim_x.v2", "dim_x.v3"]
        relation = table(judged(project, "dim_x.v2"), "dim_x.v2").relation
        assert "dim_x_v2" in relation
        project.run(f"update {relation} set v = 0")
        declared = table(judged(project, "dim_x.v2"), "dim_x.v2").declared
        assert declared == Declared("models/models.yml", 2)
        assert {one.name: one.drift for one in judged(project).tables} == {
            "dim_x.v3": Drift(),
            "below": Drift(),
            "dim_x.v1": Drift(),
            "dim_x.v2": Drift(changed=1),
        }
        left_out = judged(project, exclude=("dim_x.v1",))
        assert [one.name for one in left_out.excluded] == ["dim_x.v1"]
        with pytest.raises(ProjectError, match=r"incremental models are below, dim_x\.v1, dim_x\.v2, dim_x\.v3"):
            judged(project, "dim_x.v4")
