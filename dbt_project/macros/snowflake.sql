{# When a tweet id was made, naive UTC: its upper bits count milliseconds since 2010-11-04 01:42:54.657 (X's snowflake). #}
{% macro snowflake_time(column) %}{{ return(adapter.dispatch('snowflake_time', 'levelset')(column)) }}{% endmacro %}
{% macro default__snowflake_time(column) -%}
    cast(to_timestamp(((cast({{ column }} as bigint) >> 22) + 1288834974657) / 1000.0) at time zone 'UTC' as timestamp)
{%- endmacro %}
{% macro spark__snowflake_time(column) -%}
    timestamp_millis((cast({{ column }} as bigint) >> 22) + 1288834974657)
{%- endmacro %}
