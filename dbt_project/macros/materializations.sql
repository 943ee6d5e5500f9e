{#
  dbt's materializations on Postgres, with two differences: a build takes its turn before it locks anything (see take_turns),
  and what it builds is swapped in without taking away the views over it (see swap_in).
#}
{% materialization view, adapter='postgres' %}
    {{ return(build_whole('view', sql)) }}
{% endmaterialization %}


{% materialization table, adapter='postgres' %}
    {{ return(build_whole('table', sql)) }}
{% endmaterialization %}


{% materialization incremental, adapter='postgres' %}
    {%- if not is_incremental() -%}
        {{ return(build_whole('table', sql)) }}
    {%- endif -%}
    {%- set target = this.incorporate(type='table') -%}
    {%- set built = make_temp_relation(target) -%}

    {{ begin_build() }}
    {%- do run_query(get_create_table_as_sql(True, built, sql)) -%}
    {%- set columns = process_schema_changes(config.get('on_schema_change'), built, target)
        or adapter.get_columns_in_relation(target) -%}
    {%- set strategy = adapter.get_incremental_strategy_macro(context, config.get('incremental_strategy')) -%}
    {% call statement('main') %}
        {{ strategy({
            'target_relation': target, 'temp_relation': built, 'unique_key': config.get('unique_key'),
            'dest_columns': columns, 'incremental_predicates': none
        }) }}
    {% endcall %}
    {{ end_build(target) }}
    {{ return({'relations': [target]}) }}
{% endmaterialization %}


{% macro build_whole(type, sql) %}
    {%- set target = this.incorporate(type=type) -%}
    {%- set fresh = make_intermediate_relation(target) -%}

    {{ begin_build() }}
    {% call statement('main') %}
        {{ get_create_view_as_sql(fresh, sql) if type == 'view' else get_create_table_as_sql(False, fresh, sql) }}
    {% endcall %}
    {%- if type == 'table' -%}{%- do create_indexes(fresh) -%}{%- endif -%}
    {%- do swap_in(fresh, target) -%}
    {{ end_build(target) }}
    {{ return({'relations': [target]}) }}
{% endmacro %}


{% macro begin_build() %}
    {{ run_hooks(pre_hooks, inside_transaction=False) }}
    {%- do run_query(take_turns(this)) -%}
    {%- if config.get('materialized') == 'incremental' -%}{%- do run_query(take_loads()) -%}{%- endif -%}
    {{ run_hooks(pre_hooks, inside_transaction=True) }}
{% endmacro %}


{% macro end_build(target) %}
    {%- set grants = config.get('grants') -%}
    {%- do apply_grants(target, grants, should_revoke=should_revoke(target, full_refresh_mode=False)) -%}
    {%- do persist_docs(target, model) -%}
    {{ run_hooks(post_hooks, inside_transaction=True) }}
    {%- do adapter.commit() -%}
    {{ run_hooks(post_hooks, inside_transaction=False) }}
{% endmacro %}
