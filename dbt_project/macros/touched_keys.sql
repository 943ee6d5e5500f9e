{#
  The project's incremental strategy. A model's incremental SQL yields one row for every key that anything loaded since
  the last build may concern, recomputed whole; a key that no longer has a row comes with loaded_at NULL. So a row that
  a late correction takes away goes away, which delete+insert alone never does, and incremental = full refresh holds.
#}
{% macro get_incremental_touched_keys_sql(arguments) %}
    {% set key = arguments['unique_key'] %}
    {% set columns = arguments['dest_columns'] | map(attribute='quoted') | join(', ') %}
    delete from {{ arguments['target_relation'] }}
    where {{ key }} in (select {{ key }} from {{ arguments['temp_relation'] }});

    insert into {{ arguments['target_relation'] }} ({{ columns }})
    select {{ columns }} from {{ arguments['temp_relation'] }}
    where loaded_at is not null
{% endmacro %}


{#
  When the newest row behind this table reached staging. What was loaded at that very instant is taken again (>=):
  recomputing a key twice is harmless, missing one is not. An empty table starts from the beginning.
#}
{% macro last_loaded_at() %}{{ return(adapter.dispatch('last_loaded_at', 'levelset')()) }}{% endmacro %}

{% macro default__last_loaded_at() -%}
    (select coalesce(max(loaded_at), timestamp '1970-01-01 00:00:00') from {{ this }})
{%- endmacro %}

{# As a literal: of a bound it does not know Postgres expects a third of all rows to be new, and reads them all. #}
{% macro postgres__last_loaded_at() -%}
    {%- if execute -%}
        {%- set found = run_query("select 'at ' || coalesce(max(loaded_at), timestamp '1970-01-01 00:00:00') from " ~ this) -%}
        timestamp '{{ found.columns[0].values()[0][3:] }}'
    {%- else -%}
        timestamp '1970-01-01 00:00:00'
    {%- endif -%}
{%- endmacro %}
