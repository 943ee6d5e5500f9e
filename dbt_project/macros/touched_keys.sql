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
    where loaded_at is not null;
    {{ remember_loads() }}
{% endmacro %}


{% macro built_relation(target) %}{{ return(target.incorporate(path={'identifier': target.identifier ~ '__dbt_built'})) }}{% endmacro %}


{#
  When the newest row behind this table reached staging. What was loaded at that very instant is taken again (>=):
  recomputing a key twice is harmless, missing one is not. An empty table starts from the beginning.
#}
{% macro last_loaded_at() %}{{ return(adapter.dispatch('last_loaded_at', 'levelset')()) }}{% endmacro %}

{% macro default__last_loaded_at() -%}
    (select coalesce(max(loaded_at), timestamp '1970-01-01 00:00:00') from {{ this }})
{%- endmacro %}

{# As a literal: of a bound it does not know Postgres expects a third of all rows to be new, and reads them all. #}
{% macro postgres__last_loaded_at() %}
    {#- dbt compiles a model in the transaction that builds it: its turn comes first, or it would wait with a lock on the table -#}
    {%- if execute -%}{%- do run_query(take_turns(this)) -%}{%- endif -%}
    {{- return(levelset.literal_last_loaded_at()) -}}
{% endmacro %}

{# Sail 0.7 fails on unions of rows that are each bound by a subquery. #}
{% macro spark__last_loaded_at() %}{{ return(levelset.literal_last_loaded_at()) }}{% endmacro %}

{% macro literal_last_loaded_at() -%}
    {%- if execute -%}
        {%- set found = run_query("select 'at ' || coalesce(max(loaded_at), timestamp '1970-01-01 00:00:00') from " ~ this) -%}
        timestamp '{{ found.columns[0].values()[0][3:] }}'
    {%- else -%}
        timestamp '1970-01-01 00:00:00'
    {%- endif -%}
{%- endmacro %}


{#
  The same on Spark, where dbt knows the strategy `merge` alone: one MERGE, so one commit. It meets rows by the primary
  key, since a unique key may name several; what the table holds of a touched key and the build does not goes. The build's
  rows are stored first: the MERGE reads them three times, and planned over its query it takes ten times as long.
#}
{% macro spark__get_merge_sql(target, source, unique_key, dest_columns, incremental_predicates) %}
    {%- set built = built_relation(target) -%}
    {%- do run_query('create or replace table ' ~ built ~ ' using delta as select * from ' ~ source) -%}
    {%- set columns = adapter.get_columns_in_relation(target) | map(attribute='name') | list -%}
    {%- set keys = (model.constraints | selectattr('type', 'equalto', 'primary_key') | map(attribute='columns') | first)
        or model.columns.values() | selectattr('constraints') | map(attribute='name') | list -%}
    {%- set same = [] -%}
    {%- for key in keys %}{% do same.append('held.' ~ key ~ ' = built.' ~ key) %}{% endfor -%}
    merge into {{ target }} as held
    using (
        select {{ columns | join(', ') }}, false as is_gone from {{ built }} where loaded_at is not null
        union all
        select {{ columns | join(', ') }}, true as is_gone from {{ target }} as held
        where {{ unique_key }} in (select {{ unique_key }} from {{ built }})
            and not exists (select 1 from {{ built }} as built where built.loaded_at is not null and {{ same | join(' and ') }})
    ) as built
    on {{ same | join(' and ') }}
    when matched and built.is_gone then delete
    when matched then update set {% for column in columns %}{{ column }} = built.{{ column }}{{ ', ' if not loop.last }}{% endfor %}
    when not matched then insert ({{ columns | join(', ') }}) values ({% for column in columns %}built.{{ column }}{{ ', ' if not loop.last }}{% endfor %})
{% endmacro %}
