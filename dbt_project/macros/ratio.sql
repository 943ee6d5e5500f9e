{# numerator / denominator with six decimals; NULL where either is NULL or the denominator is 0. #}
{% macro ratio(numerator, denominator) -%}
    cast(cast({{ numerator }} as {{ double() }}) / nullif({{ denominator }}, 0) as numeric(18, 6))
{%- endmacro %}
