{#
  Create the schema in which reconcile keeps its verdicts, and the loader's tables, empty, from the columns that the source declares. Only statements are emitted:
  looking relations up here would open a transaction that dbt-duckdb never commits.
#}
{% macro create_raw_tables() %}{{ return(adapter.dispatch('create_raw_tables', 'levelset')()) }}{% endmacro %}

{# Spark takes one statement at a time. #}
{% macro spark__create_raw_tables() %}
    {%- if execute and var('create_raw_tables') and flags.WHICH in ('run', 'build', 'test', 'seed', 'snapshot') -%}
        {%- for source in graph.sources.values() | selectattr('source_name', 'equalto', 'engagement') -%}
            {%- do run_query(lake_schema(source.schema)) -%}
            {%- set columns = [] -%}
            {%- for column in source.columns.values() %}{% do columns.append(column.name ~ ' ' ~ raw_type(column.data_type)) %}{% endfor -%}
            {%- do run_query(
                'create table if not exists ' ~ source.schema ~ '.' ~ source.identifier ~ ' (' ~ columns | join(', ') ~ ') using delta'
            ) -%}
        {%- endfor -%}
    {%- endif -%}
    select 1
{% endmacro %}

{% macro default__create_raw_tables() %}
    {%- if execute and target.type == 'duckdb' and flags.WHICH in ('run', 'build') %}
{#- what a build goes by (see newly_loaded): its two threads would each create it. The second as dlt makes it #}
{{ create_built_loads(target.schema) }};
create schema if not exists staging;
create table if not exists staging._dlt_loads (
    load_id varchar not null, schema_name varchar, status bigint not null,
    inserted_at timestamp with time zone not null, schema_version_hash varchar
);
    {%- endif %}
    {% if execute and var('create_raw_tables') and flags.WHICH in ('run', 'build', 'test', 'seed', 'snapshot') %}
        {% for source in graph.sources.values() | selectattr('source_name', 'equalto', 'engagement') %}
create schema if not exists {{ source.schema }};
create table if not exists {{ source.schema }}.{{ source.identifier }} (
            {%- for column in source.columns.values() %}
    {{ column.name }} {{ raw_type(column.data_type) }}{{ ' not null' if column.meta.get('required') }}{{ ',' if not loop.last }}
            {%- endfor %}
);
            {{ create_raw_indexes(source) }}
        {% endfor %}
create schema if not exists reconcile;
    {% else %}
select 1
    {% endif %}
{% endmacro %}


{% macro raw_type(name) %}{{ return(adapter.dispatch('raw_type', 'levelset')(name)) }}{% endmacro %}

{% macro spark__raw_type(name) %}
    {% do return({'varchar': 'string', 'json': 'string'}.get(name, name)) %}
{% endmacro %}

{% macro default__raw_type(name) %}
    {% do return({'timestamp': 'timestamp with time zone', 'json': 'json', 'double': 'double'}.get(name, name)) %}
{% endmacro %}

{% macro postgres__raw_type(name) %}
    {% do return({'timestamp': 'timestamp with time zone', 'json': 'jsonb', 'double': 'double precision'}.get(name, name)) %}
{% endmacro %}


{# dlt makes no index that the models or the reconciler could use; DuckDB needs none. #}
{% macro create_raw_indexes(source) %}{{ return(adapter.dispatch('create_raw_indexes', 'levelset')(source)) }}{% endmacro %}

{% macro default__create_raw_indexes(source) %}{% endmacro %}

{% macro postgres__create_raw_indexes(source) %}
    {%- for column in source.columns.values() if column.meta.get('indexed') %}
        {{- create_raw_index(source, column.name, column.name) }}
    {%- endfor %}
    {#- what an incremental build goes by: the expression of the staging views #}
    {%- if source.columns['_dlt_load_id'].meta.get('indexed') %}
        {{- create_raw_index(source, 'loaded', '(' ~ dlt_loaded_at() ~ ')') }}
        {{- create_raw_index(source, 'load_id', '_dlt_load_id') }}
    {%- endif %}
    {#- posts that a new follower reading concerns, and the few decisions that are threads #}
    {%- if 'thread_tweet_ids' in source.columns %}
        {{- create_raw_index(source, 'posted_at', '(' ~ utc('posted_at') ~ ')') }}
        {{- create_raw_index(source, 'threads', 'decision_id', 'where thread_tweet_ids is not null') }}
    {%- endif %}
    {#- change capture reads whole rows of it, as they were and as they are; altered once, since it takes a lock #}
do $$ begin
    if (select relreplident <> 'f' from pg_class where oid = '{{ source.schema }}.{{ source.identifier }}'::regclass) then
        alter table {{ source.schema }}.{{ source.identifier }} replica identity full;
    end if;
end $$;
{% endmacro %}


{# Not `create index if not exists`: that locks the table against loads before it looks. #}
{% macro create_raw_index(source, name, expression, condition='') %}
    {%- set index = source.identifier ~ '_' ~ name ~ '_idx' %}
do $$ begin
    if to_regclass('{{ source.schema }}.{{ index }}') is null then
        create index {{ index }} on {{ source.schema }}.{{ source.identifier }} ({{ expression }}) {{ condition }};
    end if;
end $$;
{% endmacro %}
