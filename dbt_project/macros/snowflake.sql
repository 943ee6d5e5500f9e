{# When a tweet id was made, naive UTC: its upper bits count milliseconds since 2010-11-04 01:42:54.657 (X's snowflake). #}
{% macro snowflake_time(column) -%}
    (timestamp '1970-01-01 00:00:00' + ((cast({{ column }} as bigint) >> 22) + 1288834974657) * interval '1 millisecond')
{%- endmacro %}
