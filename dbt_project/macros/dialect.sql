{# What engines spell in their own way: the types of text and of numbers with a point, a pattern's operator, two clocks. #}
{% macro text() %}{{ return(adapter.dispatch('text', 'levelset')()) }}{% endmacro %}
{% macro default__text() %}varchar{% endmacro %}
{% macro spark__text() %}string{% endmacro %}

{% macro double() %}{{ return(adapter.dispatch('double', 'levelset')()) }}{% endmacro %}
{% macro default__double() %}double precision{% endmacro %}
{% macro spark__double() %}double{% endmacro %}

{# Patterns are anchored at both ends: then it is the same whether an engine looks for one anywhere or matches the whole. #}
{% macro matches() %}{{ return(adapter.dispatch('matches', 'levelset')()) }}{% endmacro %}
{% macro default__matches() %}~{% endmacro %}
{% macro spark__matches() %}rlike{% endmacro %}

{% macro seconds_between(before, after) %}{{ return(adapter.dispatch('seconds_between', 'levelset')(before, after)) }}{% endmacro %}
{% macro default__seconds_between(before, after) %}extract(epoch from {{ after }} - {{ before }}){% endmacro %}
{% macro spark__seconds_between(before, after) %}(unix_micros({{ after }}) - unix_micros({{ before }})) / 1000000.0{% endmacro %}

{# Monday is 1. #}
{% macro iso_weekday(column) %}{{ return(adapter.dispatch('iso_weekday', 'levelset')(column)) }}{% endmacro %}
{% macro default__iso_weekday(column) %}cast(extract(isodow from {{ column }}) as integer){% endmacro %}
{% macro spark__iso_weekday(column) %}cast((dayofweek({{ column }}) + 5) % 7 + 1 as integer){% endmacro %}

{# NOT NULL, where the server can alter a table (var alter_columns): Sail 0.7 cannot, and the tests look for NULLs. #}
{% macro spark__alter_column_set_constraints(relation, column_dict) %}
    {%- if var('alter_columns') -%}
        {%- for name, column in column_dict.items() if column.constraints | selectattr('type', 'equalto', 'not_null') | list -%}
            {%- call statement() -%}alter table {{ relation }} alter column {{ name }} set not null{%- endcall -%}
        {%- endfor -%}
    {%- endif -%}
{% endmacro %}
