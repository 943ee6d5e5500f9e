"""Models whose rows depend on more than their compiled SQL are not judged; the report names reason and place."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconcile.report.model import Verdict
from tests.support.dbt_projects import DbtProject, judged

_BODY = "select id, v from {{ ref('truth') }}"
_MODELS = {
    "plain": ("", _BODY),
    "analyzed": ("post_hook='analyze {{ this }}'", _BODY),
    "granted": ("post_hook='{{ harmless(this) }}'", _BODY),
    "logged": ("post_hook=\"insert into hook_log values ('{{ this }}')\"", _BODY),
    "purged": ("post_hook='delete from {{ this }} where id > 100'", _BODY),
    "raised": ("post_hook='update {{ this }} set v = v + 0'", _BODY),
    "by_macro": ("post_hook='{{ purge(this) }}'", _BODY),
    "zoned": ("pre_hook=\"set TimeZone = 'Asia/Tokyo'\"", _BODY),
    "by_command": ("", _BODY + "{% if flags.WHICH in ('run', 'build') %} where id < 1000{% endif %}"),
    "by_run": ("", "select id, v, '{{ invocation_id }}' as run_id from {{ ref('truth') }}"),
    "by_clock": ("", "select id, v, '{{ modules.datetime.datetime.now() }}' as built_at from {{ ref('truth') }}"),
    "by_day": ("", "select id, v, date '{{ run_started_at.strftime('%Y-%m-%d') }}' as day from {{ ref('truth') }}"),
    "by_ephemeral": ("", "select id, v, run_id from {{ ref('stamped') }}"),
    "mixed_in": ("", "select id, v, v || '{{ invocation_id }}' as tagged from {{ ref('truth') }}"),
    "filtered_by_day": ("", _BODY + " where date '{{ run_started_at.date() }}' > date '2020-01-01'"),
    "by_year": ("", _BODY + "{% if run_started_at.year > 2026 %} where v > 0{% endif %}"),
    "writing": (
        "",
        "{% if execute %}{% do run_query('create table if not exists written (i int)') %}{% endif %}" + _BODY,
    ),
    "merged": ("incremental_strategy='merge', merge_update_columns=['v']", _BODY),
    "headed": ("", "{% call set_sql_header(config) %}select 1;{% endcall %}" + _BODY),
    "below": ("", "select id, v from {{ ref('purged') }}"),
    "commented": ("", "{# invocation_id #}" + _BODY),
    "filled_elsewhere": ("", _BODY),
    "aliased": ("alias='another_name'", _BODY),
    "filler": ("post_hook=\"insert into {{ ref('aliased') }} select 3, 30 where 1 = 0\"", _BODY),
}
_WHY = {
    "purged": "its post_hook may change its rows after they are built (models/purged.sql:1)",
    "raised": "its post_hook may change its rows",
    "by_macro": "its post_hook may change its rows",
    "mixed_in": "tagged depends on invocation_id",
    "filtered_by_day": "run_started_at decides its rows or its key",
    "by_year": "the SQL of by_year is another one in every run: run_started_at (models/by_year.sql)",
    "writing": "it runs a statement that writes while it is rendered (create table if not exists written",
    "merged": "its merge_update_columns keep the first value of every other column (models/merged.sql:1)",
    "headed": "its sql_header is more than settings and temporary functions (select 1), and is not applied"
    " (models/headed.sql:1)",
    "below": "the upstream model purged: its post_hook may change its rows",
    "aliased": "the post_hook of filler writes to aliased",
    "filled_elsewhere": "the hook surroundings-on-run-end-0 of the run may write to filled_elsewhere",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> DbtProject:
    project = DbtProject(tmp_path_factory.mktemp("surroundings"), None)
    configured = "materialized='incremental', unique_key='id'"
    project.write(
        {
            "dbt_project.yml": "name: surroundings\nprofile: own\nflags: {send_anonymous_usage_stats: false}\n"
            "on-run-start: ['create table if not exists hook_log (said varchar)']\n"
            "on-run-end: [\"{{ fill('filled_elsewhere') }}\"]\n",
            "seeds/truth.csv": "id,v\n1,10\n2,20\n",
            "models/stamped.sql": "{{ config(materialized='ephemeral') }} select id, v, '{{ invocation_id }}' as run_id"
            " from {{ ref('truth') }}",
            "macros/hooks.sql": "{% macro harmless(relation) %}{% if execute and is_incremental() %}"
            "comment on table {{ relation }} is 'x'{% endif %}{% endmacro %}\n"
            "{% macro purge(relation) %}delete from {{ relation }} where id > 100{% endmacro %}\n"
            "{% macro fill(name) %}insert into filled_elsewhere select 3, 30 where 1 = 0{% endmacro %}\n",
            **{
                f"models/{name}.sql": f"{{{{ config({configured}{', ' + more if more else ''}) }}}} {body}"
                for name, (more, body) in _MODELS.items()
            },
        }
    )
    project.profile("own")
    project.dbt("build")
    return project


def test_models_with_writing_hooks_or_run_values_are_not_judged(built: DbtProject) -> None:
    found = {table.name: table for table in judged(built).tables}

    assert {name: table.verdict for name, table in found.items() if name not in _WHY} == {
        name: Verdict.LEVEL for name in _MODELS if name not in _WHY
    }
    assert {
        name: [entry.column for entry in table.not_compared] for name, table in found.items() if table.not_compared
    } == {
        "by_run": ["run_id"],
        "by_clock": ["built_at"],
        "by_day": ["day"],
        "by_ephemeral": ["run_id"],
    }
    for name, why in _WHY.items():
        assert found[name].verdict is Verdict.UNVERIFIED, name
        assert why in (found[name].error or ""), (name, found[name].error)


def test_a_damaged_table_beside_them_still_drifts(built: DbtProject, tmp_path: Path) -> None:
    built.run("update plain set v = 11 where id = 1")
    try:
        report = judged(built, "plain", "purged")
    finally:
        built.run("update plain set v = 10 where id = 1")

    assert report.exit_code == 1
    assert {table.name: table.verdict for table in report.tables} == {
        "plain": Verdict.DRIFT,
        "purged": Verdict.UNVERIFIED,
    }
