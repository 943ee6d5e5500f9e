{#
  Fresh statistics for what was just written: the next build and the next check are planned on them. A large table that grew
  by a little keeps those it has (to look at 30,000 rows again costs more than the build); autovacuum renews them.
#}
{% macro analyze(relation) %}{{ return(adapter.dispatch('analyze', 'levelset')(relation)) }}{% endmacro %}

{% macro default__analyze(relation) %}{% endmacro %}

{# Nothing of the kind there: what the build has stored on its way goes. #}
{% macro spark__analyze(relation) %}drop table if exists {{ built_relation(relation) }}{% endmacro %}

{% macro postgres__analyze(relation) -%}
    {%- if execute and is_incremental() -%}
        {%- set known = run_query("select reltuples from pg_class where oid = '" ~ relation ~ "'::regclass") -%}
        {%- set rows = known.columns[0].values()[0] -%}
    {%- endif -%}
    {%- if rows is not defined or rows < 50000 -%}
        analyze {{ relation }}
    {%- endif -%}
{%- endmacro %}
