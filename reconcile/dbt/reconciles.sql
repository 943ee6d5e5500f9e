{#
  A model holds exactly what its own SQL yields as a full refresh: evaluated here, inside `dbt build`, over the tables
  that it reads as they are (test those too, and the whole is proven). Rows that it returns differ; `reconcile check`
  says in which columns and why, and `reconcile repair` fixes them.

      data_tests:
        - reconciles          # what meta.reconcile ignores is ignored here too, and so are columns with a tolerance

  A model whose macros call ref() or source() names what they read, for dbt to let the test read it too:

        - reconciles: {arguments: {upstream: ["ref('stg_orders')", "source('shop', 'orders')"]}}

  What the model's pre_hooks and sql_header set (`set time zone ...`) is set here too, if they hold no jinja and a sql_header
  nothing else; for other models that set something the test is an error, and `reconcile check` may judge them.

  What was loaded between the model's build and this test is reported as missing. Written by `reconcile install`.
#}
{% test reconciles(model, ignore=none, upstream=[]) %}
{%- if not execute -%}
select 1 where 1 = 0
{%- else -%}
    {%- set found = namespace(node=none) -%}
    {%- for node in graph.nodes.values() if node.resource_type == 'model' and node.relation_name == model | string -%}
        {%- set found.node = node -%}
    {%- endfor -%}
    {%- if found.node is none -%}
        {{ exceptions.raise_compiler_error("reconciles: " ~ model ~ " is no model of this project, or has its own `where`: put the test on a model") }}
    {%- endif -%}
    {%- do reconciles__set_as_built(found.node) -%}
    {%- set settings = (found.node.config.meta or {}).get('reconcile') or {} -%}
    {%- set ignore = ignore or settings.ignore or [] -%}
    {%- set ignore = ([ignore] if ignore is string else ignore) + (settings.tolerance or {}).keys() | list -%}
    {%- set expected = render(reconciles__read_as_tables(found.node)) -%}
    {%- set columns = adapter.get_columns_in_relation(model) | rejectattr('name', 'in', ignore) | list -%}
    {{ reconciles__differences(expected, model, columns) }}
{%- endif -%}
{% endtest %}


{# In this test's session, which dbt closes after it. #}
{% macro reconciles__set_as_built(node) %}
    {%- set value = "('[^'\\\\]*'|-?\\w+)" -%}
    {%- set names = "(time\\s+zone|(timezone|datestyle|intervalstyle|extra_float_digits|search_path)\\s*(=|\\bto\\b))" -%}
    {%- set plain = "(?i)set\\s+(session\\s+|local\\s+)?(" ~ names ~ "\\s*" ~ value ~ "(\\s*,\\s*" ~ value ~ ")*)" -%}
    {%- set sets = "(?i)\\b(re)?set\\s+(session\\s+|local\\s+|global\\s+)?" ~ names ~ "|\\bset\\s+role\\b|set_config\\s*\\(" -%}
    {%- for hook in node.config.get('pre-hook', []) + [{'sql': node.config.sql_header or '', 'all': true}] -%}
        {%- if hook.all or modules.re.search(sets, hook.sql) -%}
            {%- for statement in hook.sql.split(';') if statement | trim -%}
                {%- set match = modules.re.fullmatch(plain, statement | trim) -%}
                {%- if not match -%}
                    {{ exceptions.raise_compiler_error("reconciles: " ~ node.name ~ " is built in a session that this test cannot set up ("
                        ~ statement | trim ~ "): use `reconcile check`") }}
                {%- endif -%}
                {%- do run_query('set ' ~ match.group(2)) -%}
            {%- endfor -%}
        {%- endif -%}
    {%- endfor -%}
{% endmacro %}


{# The model's raw SQL with ref() and source() answered from the graph: dbt lets a test call them for what it tests only. #}
{% macro reconciles__read_as_tables(node) %}
    {%- set sql = modules.re.sub('\\bref\\s*\\(', 'reconciles__ref(', node.raw_code) -%}
    {{ return(modules.re.sub('\\bsource\\s*\\(', 'reconciles__source(', sql)) }}
{% endmacro %}

{% macro reconciles__ref(package_or_name, name=none) %}
    {%- set wanted = name or package_or_name -%}
    {%- for node in graph.nodes.values() if node.name == wanted and node.resource_type in ('model', 'seed', 'snapshot')
            and (name is none or node.package_name == package_or_name) -%}
        {%- if node.config.materialized == 'ephemeral' -%}
            {#- separate lines: it may end in a comment -#}
            {{ return('(\n' ~ render(reconciles__read_as_tables(node)) ~ '\n)') }}
        {%- endif -%}
        {{ return(node.relation_name) }}
    {%- endfor -%}
    {{ exceptions.raise_compiler_error("reconciles: no model " ~ wanted) }}
{% endmacro %}

{% macro reconciles__source(source_name, name) %}
    {%- for source in graph.sources.values() if source.source_name == source_name and source.name == name -%}
        {{ return(source.relation_name) }}
    {%- endfor -%}
    {{ exceptions.raise_compiler_error("reconciles: no source " ~ source_name ~ "." ~ name) }}
{% endmacro %}


{#- What exists on one side only, copies counted; NULL equals NULL. A changed row shows on both sides. -#}
{% macro reconciles__differences(expected, model, columns) %}
with definition as (
{{ expected }}
),

expected as (
    select
    {%- for column in columns %}
        {{ reconciles__comparable('cast(' ~ column.quoted ~ ' as ' ~ column.data_type ~ ')', column) }} as {{ column.quoted }}{{ ',' if not loop.last }}
    {%- endfor %}
    from definition
),

actual as (
    select
    {%- for column in columns %}
        {{ reconciles__comparable(column.quoted, column) }} as {{ column.quoted }}{{ ',' if not loop.last }}
    {%- endfor %}
    from {{ model }}
)

select 'a full refresh would build it' as found, lacking.* from (
    select * from expected except all select * from actual
) as lacking
union all
select 'it is in the table' as found, surplus.* from (
    select * from actual except all select * from expected
) as surplus
{% endmacro %}

{# json has no equality on Postgres #}
{% macro reconciles__comparable(expression, column) -%}
    {{ 'cast(' ~ expression ~ ' as varchar)' if column.dtype | lower == 'json' else expression }}
{%- endmacro %}
