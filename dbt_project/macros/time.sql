{# Times are naive UTC from the staging layer on: one rule, stated once, the same on every engine and session. #}
{% macro utc(column) %}{{ return(adapter.dispatch('utc', 'levelset')(column)) }}{% endmacro %}
{% macro default__utc(column) %}cast({{ column }} at time zone 'UTC' as timestamp){% endmacro %}
{# The session's clock is UTC there (profiles.yml), and a timestamp is read off it. #}
{% macro spark__utc(column) %}cast({{ column }} as timestamp){% endmacro %}

{#
  When dlt loaded a row: its load id is the epoch of the load package, with up to seven decimals. Rounded to microseconds as a
  decimal, half up: engines round a floating-point number each in their own way.
#}
{% macro dlt_loaded_at(column='_dlt_load_id') %}
    {{- return(adapter.dispatch('dlt_loaded_at', 'levelset')('cast(' ~ column ~ ' as decimal(20, 6))')) -}}
{% endmacro %}
{% macro default__dlt_loaded_at(epoch) -%}
    make_timestamp(cast({{ epoch }} * 1000000 as bigint))
{%- endmacro %}
{% macro postgres__dlt_loaded_at(epoch) -%}
    cast(to_timestamp(cast({{ epoch }} as double precision)) at time zone 'UTC' as timestamp)
{%- endmacro %}
{% macro spark__dlt_loaded_at(epoch) -%}
    timestamp_micros(cast({{ epoch }} * 1000000 as bigint))
{%- endmacro %}

{# The instant as a clock in the account's time zone shows it (var time_zone): hours and weekdays are its own. #}
{% macro local_time(column) %}{{ return(adapter.dispatch('local_time', 'levelset')(column)) }}{% endmacro %}
{% macro default__local_time(column) -%}
    {% if var('time_zone') == 'UTC' %}{{ column }}{% else %}(({{ column }} at time zone 'UTC') at time zone '{{ var('time_zone') }}'){% endif %}
{%- endmacro %}
{% macro spark__local_time(column) -%}
    {% if var('time_zone') == 'UTC' %}{{ column }}{% else %}from_utc_timestamp({{ column }}, '{{ var('time_zone') }}'){% endif %}
{%- endmacro %}
