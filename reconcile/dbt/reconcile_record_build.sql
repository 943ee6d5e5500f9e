{#
  Record when each model was built, for `reconcile check` on any machine to tell rows that were loaded after the build
  from rows that the build lost. In dbt_project.yml:

      on-run-end:
        - "{{ reconcile_record_build(results) }}"

  It writes to reconcile.build alone, where that table exists (`reconcile install` makes it) and this role may insert
  into it. Without that, and outside `dbt run`, `dbt build` and `dbt retry`, it does nothing. Written by `reconcile install`.
#}
{% macro reconcile_record_build(results) %}
    {%- if not execute or flags.WHICH not in ('run', 'build', 'retry') or target.type not in ('postgres', 'duckdb') -%}
        {{ return('') }}
    {%- endif -%}
    {%- set rows = [] -%}
    {%- for result in results if result.status == 'success' and result.node.resource_type == 'model' and result.node.relation_name -%}
        {%- set began = (result.timing or []) | map(attribute='started_at') | select | list -%}
        {%- set ended = (result.timing or []) | map(attribute='completed_at') | select | list -%}
        {%- if began and ended -%}
            {%- set texts = [result.node.unique_id, result.node.relation_name, target.name, invocation_id] -%}
            {%- set times = [] -%}
            {%- for time in (began | min, ended | max) -%}
                {#- in UTC -#}
                {%- do times.append("timestamp with time zone '" ~ time.replace(tzinfo=none).isoformat() ~ "+00:00'") -%}
            {%- endfor -%}
            {%- do rows.append("('" ~ texts | map('replace', "'", "''") | join("', '") ~ "', " ~ times | join(', ') ~ ')') -%}
        {%- endif -%}
    {%- endfor -%}
    {%- if rows and reconcile_may_record_build() -%}
        insert into reconcile.build (unique_id, relation, target, invocation_id, started_at, completed_at)
        values {{ rows | join(', ') }}
    {%- endif -%}
{% endmacro %}


{# to_regclass is an error in a schema without USAGE, and NULL for a table that is not there #}
{% macro reconcile_may_record_build() %}
    {%- if target.type == 'postgres' -%}
        {%- set asked = "select case when has_schema_privilege(to_regnamespace('reconcile')::oid, 'usage') then has_table_privilege(to_regclass('reconcile.build')::oid, 'insert') else false end" -%}
    {%- else -%}
        {%- set asked = "select count(*) > 0 from information_schema.tables where table_catalog = current_database() and table_schema = 'reconcile' and table_name = 'build'" -%}
    {%- endif -%}
    {{ return(run_query(asked).rows[0][0]) }}
{% endmacro %}
