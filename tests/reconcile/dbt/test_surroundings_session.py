"""A definition is evaluated in a session like that of dbt's build: with the settings and functions of its hooks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconcile import apply_repair, explain, plan_repair
from reconcile.report.model import Drift, TableReport, Verdict
from tests.conftest import Database
from tests.support.dbt_projects import DbtProject, Templates, judged

_BY_DAY = "select cast(seen_at as date) as day, count(*) as n, sum(v) as v from {{ ref('stg_events') }} group by 1"
_TOKYO = "set time zone 'Asia/Tokyo'"


def _of_events(column: str) -> str:
    return f"select id, {column} from {{{{ ref('stg_events') }}}}"


def _headed(header: str, sql: str) -> str:
    return f"{{% call set_sql_header(config) %}}{header};{{% endcall %}}{sql}"


# model -> its config beside key and materialization, its key, and its SQL
_BOTH = {
    "zoned": (f'pre_hook="{_TOKYO}"', "day", _BY_DAY),
    "set_to": ("pre_hook=\"set timezone to 'America/New_York'\"", "day", _BY_DAY),
    "by_var": ("pre_hook=\"set timezone = '{{ var('zone', 'Asia/Tokyo') }}'\"", "day", _BY_DAY),
    "by_macro": ("pre_hook=\"{{ set_zone('Asia/Tokyo') }}\"", "day", _BY_DAY),
    "outside": (f"pre_hook=before_begin(\"{_TOKYO}\"), post_hook='select 1'", "day", _BY_DAY),
    "by_header": ("", "day", _headed(_TOKYO, _BY_DAY)),
    "unset": ("", "day", _BY_DAY),
    "ranked": (  # its ties are looked for, which evaluates it twice more
        f'pre_hook="{_TOKYO}"',
        "day",
        "select day, id from (select cast(seen_at as date) as day, id, row_number() over ("
        "partition by cast(seen_at as date) order by seen_at desc, id) as place"
        " from {{ ref('stg_events') }}) as ranked where place = 1",
    ),
    "below_table": ("pre_hook=\"set timezone = 'Asia/Tokyo'\"", "day", "select day, n from {{ ref('days') }}"),
    "below_other": ("", "day", "select day, n from {{ ref('zoned') }}"),
    "wide/below_alike": ("", "day", "select day, n from {{ ref('wide_days') }}"),
    "header_of_more": ("", "day", _headed("create temp table made as select 1 as x", _BY_DAY)),
    "setting": ("", "day", '{% if execute %}{% do run_query("' + _TOKYO + '") %}{% endif %}' + _BY_DAY),
    "by_run": ("pre_hook=\"set timezone = '{{ 'UTC' if invocation_id else 'GMT' }}'\"", "day", _BY_DAY),
}
_POSTGRES = {
    "configured": ("pre_hook=\"select set_config('timezone', 'Asia/Tokyo', true)\"", "day", _BY_DAY),
    "local": ("pre_hook=\"set local timezone = 'Asia/Tokyo'\"", "day", _BY_DAY),
    "styled": ("pre_hook=\"set datestyle to 'SQL, DMY'\"", "id", _of_events("seen_at::text as said")),
    "parsed": ("pre_hook='set datestyle = iso, dmy'", "id", _of_events("written::date as d")),
    "digits": ("pre_hook='set extra_float_digits = -3'", "id", _of_events("(v / 3.0::float8)::text as t")),
    "spans": ("pre_hook='set intervalstyle = iso_8601'", "id", _of_events("(seen_at - '2026-01-01')::text as t")),
    "pathed": ("pre_hook='set search_path = shop, public'", "id", "select id, label from labels"),
    "custom": ("pre_hook=\"set app.tenant = 'north'\"", "id", _of_events("current_setting('app.tenant') as t")),
    "functional": (
        "",
        "id",
        _headed(
            _TOKYO + "; create function pg_temp.day_of(t timestamptz) returns date"
            " language sql stable as $$ select t::date; $$",
            _of_events("pg_temp.day_of(seen_at) as d"),
        ),
    ),
    "as_owner": ("pre_hook='set role postgres'", "id", _of_events("v")),
    "local_outside": ("pre_hook=before_begin(\"set local timezone = 'Asia/Tokyo'\")", "day", _BY_DAY),
    "below_literal": (f'pre_hook="{_TOKYO}"', "id", "select id from {{ ref('since') }}"),
}
_DUCKDB = {
    "functional": (
        "",
        "id",
        _headed(
            _TOKYO + "; create or replace temp macro day_of(t) as cast(t as date)", _of_events("day_of(seen_at) as d")
        ),
    ),
    "shadowing": (
        "",
        "id",
        _headed("create or replace temp macro md5(x) as 'same'", _of_events("md5(cast(v as varchar)) as m")),
    ),
}
_WHY = {
    "below_table": "the upstream model days is built in another session than below_table: their hooks and sql_headers"
    " differ in what they set (timezone; models/below_table.sql:1)",
    "below_other": "the upstream model zoned is built in another session than below_other",
    "header_of_more": "its sql_header is more than settings and temporary functions (create temp table made",
    "by_run": "its pre_hook sets timezone and reads invocation_id, which differs in every run (models/by_run.sql:1)",
    "setting": "it sets time zone while it is rendered, which a check does not apply",
    "as_owner": "its pre_hook sets role, which a check does not apply",
    "local_outside": "its pre_hook sets timezone for a transaction and runs outside of one",
    "below_literal": "the upstream model since is built in another session than below_literal",
    "shadowing": "its sql_header replaces DuckDB's own function md5",
}
_RAW = (
    "create schema shop",
    "create table raw_events (id int, seen_at timestamp with time zone, v int, written varchar)",
    "insert into raw_events select i, timestamp with time zone '2026-01-01 00:30:00+00' + i * interval '5 hours', i,"
    " '02/03/2026' from generate_series(1, 40) as s (i)",
    "create table shop.labels as select 1 as id, 'shop' as label",
    "create table labels as select 1 as id, 'public' as label",
)


def models_of(engine_kind: str) -> dict[str, tuple[str, str, str]]:
    return _BOTH | (_POSTGRES if engine_kind == "postgres" else _DUCKDB)


def build_sessions(folder: Path, database: Database | None) -> DbtProject:
    """Every model, in one thread: what one sets would reach the next, if dbt kept its connection."""
    project = DbtProject(folder, database)
    view = "{{ config(materialized='view') }} select * from {{ source('main', 'raw_events') }}"
    days = "select cast(seen_at as date) as day, count(*) as n from {{ source('main', 'raw_events') }} group by 1"
    project.write(
        {
            "dbt_project.yml": "name: sessions\nprofile: own\nflags: {send_anonymous_usage_stats: false}\n"
            "on-run-start: [\"set time zone 'Pacific/Kiritimati'\"]\n"
            "models: {sessions: {wide: {+pre-hook: \"set timezone = 'Asia/Tokyo'\"}}}\n",
            "models/sources.yml": "sources: [{name: main, schema: "
            f"{'public' if database is not None else 'main'}, tables: [{{name: raw_events}}]}}]\n",
            "macros/set_zone.sql": "{% macro set_zone(zone) %}{% if execute %}set timezone = '{{ zone }}'{% endif %}"
            "{% endmacro %}",
            "models/stg_events.sql": view,
            "models/since.sql": view + " where seen_at >= '2026-01-02 00:00:00'",
            "models/days.sql": "{{ config(materialized='table') }}" + days,
            "models/wide/wide_days.sql": "{{ config(materialized='table') }}" + days,
            **{
                f"models/{name}.sql": f"{{{{ config(materialized='incremental', unique_key='{key}'"
                f"{', ' + more if more else ''}) }}}} {body}"
                for name, (more, key, body) in models_of("duckdb" if database is None else "postgres").items()
            },
        }
    )
    project.profile("own")
    project.run(*_RAW)
    project.dbt("run", "--threads", "1")
    return project


@pytest.fixture
def sessions(templates: Templates, engine_kind: str, tmp_path: Path) -> Iterator[DbtProject]:
    with templates.copy(build_sessions, engine_kind, tmp_path / "sessions") as project:
        yield project


def found_in(project: DbtProject, *select: str) -> dict[str, TableReport]:
    return {found.name: found for found in judged(project, *select).tables}


def test_fresh_builds_are_level_under_the_settings_of_their_hooks(sessions: DbtProject, engine_kind: str) -> None:
    found = found_in(sessions)

    names = {name.rpartition("/")[2] for name in models_of(engine_kind)}
    assert {name: (table.verdict, table.error) for name, table in found.items() if name not in _WHY} == {
        name: (Verdict.LEVEL, None) for name in names if name not in _WHY
    }
    for name in names & _WHY.keys():
        assert found[name].verdict is Verdict.UNVERIFIED, name
        assert _WHY[name] in (found[name].error or ""), (name, found[name].error)
    days = "select day, n, v from {} order by day"
    assert sessions.rows(days.format("zoned")) != sessions.rows(days.format("unset"))
    assert judged(sessions, "below_table", upstream="shallow").tables[0].verdict is Verdict.LEVEL


def test_a_damaged_row_is_found_and_repaired_under_the_settings(sessions: DbtProject) -> None:
    where = {"project_dir": sessions.folder, "profiles_dir": sessions.folder}
    select = ["zoned", "functional"]
    found_in(sessions, *select)
    sessions.run("update zoned set v = 1000 where day = date '2026-01-03'", "delete from functional where id = 7")

    found = found_in(sessions, *select)
    assert (found["zoned"].drift, found["functional"].drift) == (Drift(changed=1), Drift(missing=1))
    assert [sample.key for sample in found["zoned"].samples] == [{"day": "2026-01-03"}]
    assert found["zoned"].causes in ({"manual_edit": 1}, {"unknown": 1})
    planned = plan_repair(select=select, **where).repair
    assert planned is not None
    assert (planned.inserted, planned.updated, planned.deleted) == (1, 1, 0)
    assert apply_repair(select=select, **where).verdict is Verdict.LEVEL


def test_days_of_another_time_zone_are_told_as_such(sessions: DbtProject) -> None:
    sessions.run("delete from zoned", "insert into zoned select day, n, v from unset")

    found = found_in(sessions, "zoned")["zoned"]
    assert found.verdict is Verdict.DRIFT
    assert found.causes.keys() == {"settings_changed"}
    assert found.hints[-1] == "rows were built under other settings: dbt build --full-refresh -s zoned"


def test_a_model_whose_hook_is_gone_since_its_proof(sessions: DbtProject) -> None:
    assert found_in(sessions, "zoned")["zoned"].verdict is Verdict.LEVEL
    file = sessions.folder / "models" / "zoned.sql"
    file.write_text(file.read_text().replace(f', pre_hook="{_TOKYO}"', ""))

    found = found_in(sessions, "zoned")["zoned"]
    assert found.verdict is Verdict.DRIFT
    assert found.causes.keys() == {"settings_changed"}
    sessions.dbt("run", "-s", "zoned", "--full-refresh")
    assert found_in(sessions, "zoned")["zoned"].verdict is Verdict.LEVEL


def test_the_statement_that_explain_prints_begins_with_the_settings(sessions: DbtProject, engine_kind: str) -> None:
    [told] = explain(select="functional", project_dir=sessions.folder, profiles_dir=sessions.folder)

    lines = [line for line in told.splitlines() if not line.startswith("--")]
    assert lines[0] == "set timezone = 'Asia/Tokyo';"
    assert lines[1].startswith("create")
    if engine_kind == "postgres":
        sessions.run(*[part for part in ["begin", told, "rollback"] if part])


def test_a_setting_for_every_session_of_a_file_leaves_all_unverified(templates: Templates, tmp_path: Path) -> None:
    with templates.copy(build_sessions, "duckdb", tmp_path / "sessions") as project:
        text = "{{ config(materialized='table', post_hook=\"set global timezone = 'UTC'\") }} select 1 as id"
        project.write({"models/everywhere.sql": text})
        for found in judged(project, "unset", "zoned").tables:
            assert found.verdict is Verdict.UNVERIFIED
            assert found.error == (
                "a hook of everywhere sets something for every session of the file (models/everywhere.sql)"
            )


def test_the_first_batch_alone_has_the_settings_of_a_pre_hook(templates: Templates, tmp_path: Path) -> None:
    with templates.copy(build_sessions, "postgres", tmp_path / "sessions") as project:
        config = "materialized='incremental', incremental_strategy='microbatch', event_time='seen_at', unique_key='id'"
        batches = f"{config}, begin='2026-01-01', batch_size='day', pre_hook=\"{_TOKYO}\""
        project.write({"models/batched.sql": f"{{{{ config({batches}) }}}} " + _of_events("seen_at")})
        found = found_in(project, "batched")["batched"]
        assert found.verdict is Verdict.UNVERIFIED
        assert "dbt runs it before the first batch only (models/batched.sql:1)" in (found.error or "")
