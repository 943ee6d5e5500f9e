{# Times are naive UTC from the staging layer on: one rule, stated once, the same on every engine and session. #}
{% macro utc(column) %}cast({{ column }} at time zone 'UTC' as timestamp){% endmacro %}

{# When dlt loaded a row: its load id is the epoch of the load package. #}
{% macro dlt_loaded_at(column='_dlt_load_id') -%}
    cast(to_timestamp(cast({{ column }} as double precision)) at time zone 'UTC' as timestamp)
{%- endmacro %}

{# The instant as a clock in the account's time zone shows it (var time_zone): hours and weekdays are its own. #}
{% macro local_time(column) -%}
    {% if var('time_zone') == 'UTC' %}{{ column }}{% else %}(({{ column }} at time zone 'UTC') at time zone '{{ var('time_zone') }}'){% endif %}
{%- endmacro %}
