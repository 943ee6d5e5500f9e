"""A second project that is not ours: an event stream, with the strategies and habits that such projects have."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.conftest import Database
from tests.support.dbt_projects import DbtProject, now

FIRST_DAY = (datetime.now(UTC) - timedelta(days=3)).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
SECOND_DAY = FIRST_DAY + timedelta(days=1)

STREAM = {
    "dbt_project.yml": """
name: stream
version: "1.0"
profile: stream
model-paths: [models]
snapshot-paths: [snapshots]
flags: {send_anonymous_usage_stats: false, require_batched_execution_for_custom_microbatch_strategy: true}
""",
    "models/sources.yml": """
version: 2
sources:
  - name: raw
    schema: raw
    tables:
      - name: events
        config: {loaded_at_field: loaded_at, event_time: event_at}
      - name: users
        config: {loaded_at_field: loaded_at}
""",
    "snapshots/users_history.sql": """
{% snapshot users_history %}
{{ config(unique_key='user_id', strategy='check', check_cols=['plan'], schema='history') }}
select user_id, plan from {{ source('raw', 'users') }}
{% endsnapshot %}
""",
    "models/stg_events.sql": """
{{ config(materialized='view', event_time='event_at') }}
select event_id, user_id, kind, amount, event_at, loaded_at from {{ source('raw', 'events') }}
""",
    "models/events.sql": """
{{ config(materialized='incremental', unique_key='event_id', incremental_strategy='delete+insert', tags=['hourly']) }}
select event_id, user_id, kind, amount, event_at from {{ ref('stg_events') }}
{% if is_incremental() %} where event_at > (select max(event_at) from {{ this }}) {% endif %}
""",
    "models/user_totals.sql": """
{{ config(materialized='incremental', unique_key='user_id', incremental_strategy='delete+insert') }}
select user_id, count(*) as n, sum(amount) as amount, max(loaded_at) as loaded_at from {{ ref('stg_events') }}
{% if is_incremental() %} where loaded_at > (select max(loaded_at) from {{ this }}) {% endif %}
group by user_id
""",
    "models/view_log.sql": """
{{ config(materialized='incremental', incremental_strategy='append') }}
select event_id, event_at from {{ ref('events') }} where kind = 'view'
{% if is_incremental() %} and event_at > (select max(event_at) from {{ this }}) {% endif %}
""",
    # on Postgres microbatch is a merge by its key; on DuckDB it replaces whole batches and takes no key
    "models/user_days.sql": """
{{ config(materialized='incremental', incremental_strategy='microbatch', event_time='day', batch_size='day',
          begin='BEGIN', unique_key=(['user_id', 'day'] if target.type == 'postgres' else none), lookback=1) }}
select user_id, cast(event_at as date) as day, count(*) as n from {{ ref('stg_events') }} group by 1, 2
""".replace("BEGIN", SECOND_DAY.date().isoformat()),
    "models/user_log.sql": """
{{ config(materialized='incremental', unique_key='user_id', incremental_strategy='append') }}
select user_id, plan from {{ source('raw', 'users') }}
""",
    "models/plan_changes.sql": """
{{ config(materialized='incremental', unique_key=['user_id', 'dbt_valid_from'], incremental_strategy='delete+insert') }}
select user_id, plan, dbt_valid_from from {{ ref('users_history') }}
""",
}
MODELS = {"events", "user_totals", "view_log", "user_days", "user_log", "plan_changes"}


def build_stream(folder: Path, database: Database | None) -> DbtProject:
    """The project with 60 events of three days, built once."""
    project = DbtProject(folder, database)
    project.write(STREAM)
    project.profile("stream")
    project.run(
        "create schema raw",
        "create table raw.users (user_id integer, plan varchar, loaded_at timestamp with time zone)",
        "create table raw.events (event_id integer, user_id integer, kind varchar, amount numeric(12, 2),"
        " event_at timestamp, loaded_at timestamp with time zone)",
        f"insert into raw.users select n, 'free', timestamp with time zone '{now()}' from generate_series(1, 6) s(n)",
        event_rows(1, 60),
    )
    project.dbt("build")
    return project


def event_rows(first: int, last: int, event_at: datetime = FIRST_DAY, user: str = "1 + n % 6") -> str:
    """Events, an hour after one another from ``event_at`` on, loaded now."""
    return (
        f"insert into raw.events select n, {user}, case when n % 3 = 0 then 'view' else 'buy' end, n * 1.25,"
        f" timestamp '{event_at}' + n * interval '1 hour', timestamp with time zone '{now()}'"
        f" from generate_series({first}, {last}) as s(n)"
    )
