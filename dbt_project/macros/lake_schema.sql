{#
  A schema of the lake. Its tables lie in a folder of its name under LEVELSET_LAKE, where they are found again when the
  server's memory is gone: Sail keeps no catalog. Without that variable, a server named by SPARK_REMOTE has a separate one.
#}
{% macro lake_schema(name) -%}
    {%- set here = '' if env_var('SPARK_REMOTE', '') else env_var('PWD', '.') ~ '/.levelset/lake' -%}
    {%- set lake = env_var('LEVELSET_LAKE', here) -%}
    create schema if not exists {{ name }}{% if lake %} location '{{ lake }}/{{ name }}'{% endif %}
{%- endmacro %}

{% macro spark__create_schema(relation) -%}
    {%- call statement('create_schema') -%}
        {{ lake_schema(relation.without_identifier()) }}
    {%- endcall -%}
{%- endmacro %}
