{%- set verdicts = source('reconcile', 'verdict') -%}
{%- set there = adapter.get_relation(verdicts.database, verdicts.schema, verdicts.identifier) if execute -%}
select
    run_id,
    command,
    unique_id,
    model as model_name,
    verdict,
    scope,
    missing,
    extra,
    changed,
    duplicate,
    null_key,
    pending,
    elapsed_ms,
    {{ utc('finished_at') }} as finished_at
{% if there -%}
from {{ verdicts }}
{%- else -%}
-- no check has kept its verdicts here yet
from (
    select
        {%- for name in ['run_id', 'command', 'unique_id', 'model', 'verdict', 'scope'] %}
        cast(null as {{ text() }}) as {{ name }},
        {%- endfor %}
        {%- for name in ['missing', 'extra', 'changed', 'duplicate', 'null_key', 'pending', 'elapsed_ms'] %}
        cast(null as bigint) as {{ name }},
        {%- endfor %}
        cast(null as timestamp with time zone) as finished_at
) as no_verdicts
where 1 = 0
{%- endif %}
