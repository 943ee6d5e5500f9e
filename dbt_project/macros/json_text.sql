{# A JSON object as text, from {name: column}; NULL columns stay null. The same text on every engine. #}
{% macro json_text(columns) %}{{ return(adapter.dispatch('json_text', 'levelset')(columns)) }}{% endmacro %}

{% macro default__json_text(columns) -%}
    cast(json_object({% for name, column in columns.items() %}'{{ name }}', {{ column }}{{ ', ' if not loop.last }}{% endfor %}) as {{ text() }})
{%- endmacro %}

{% macro postgres__json_text(columns) -%}
    cast('{' {% for name, column in columns.items() -%}
        || '"{{ name }}":' || coalesce(cast(to_json({{ column }}) as varchar), 'null') {{ "|| ','" if not loop.last }}
    {%- endfor %} || '}' as {{ text() }})
{%- endmacro %}

{% macro spark__json_text(columns) -%}
    '{' {% for name, column in columns.items() -%}
        || '"{{ name }}":' || substring(to_json(array({{ column }})), 2, length(to_json(array({{ column }}))) - 2)
        {{- " || ','" if not loop.last }}
    {% endfor %} || '}'
{%- endmacro %}
