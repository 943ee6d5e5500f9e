{# A JSON object as text, from {name: column}; NULL columns stay null. #}
{% macro json_text(columns) %}{{ return(adapter.dispatch('json_text', 'levelset')(columns)) }}{% endmacro %}

{% macro default__json_text(columns) -%}
    cast(json_object({% for name, column in columns.items() %}'{{ name }}', {{ column }}{{ ', ' if not loop.last }}{% endfor %}) as varchar)
{%- endmacro %}

{% macro postgres__json_text(columns) -%}
    cast(json_build_object({% for name, column in columns.items() %}'{{ name }}', {{ column }}{{ ', ' if not loop.last }}{% endfor %}) as varchar)
{%- endmacro %}
