{# The mean of what is known, with six decimals; NULL where nothing is. #}
{% macro mean(expression) -%}
    cast(avg({{ expression }}) as numeric(18, 6))
{%- endmacro %}

{# The share of rows for which a number is above a limit, among those where it is known. #}
{% macro share_above(column, limit=0) -%}
    cast(avg(case when {{ column }} > {{ limit }} then 1.0 when {{ column }} is not null then 0.0 end) as numeric(18, 6))
{%- endmacro %}
