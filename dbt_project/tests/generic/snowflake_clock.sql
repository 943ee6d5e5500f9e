{#
  A genuine own post went live within 10 minutes of its id's making; the three wrong tweets on record were 4 to 22 hours
  off, and a recovery once wrote its own time into posted_at.
#}
{% test snowflake_clock(model, column_name, posted_at='posted_at') %}
select {{ column_name }}, {{ posted_at }}, {{ snowflake_time(column_name) }} as made_at from {{ model }}
where
    {{ column_name }} {{ matches() }} '^[0-9]{10,18}$|^[0-8][0-9]{18}$'
    {# ids of other networks carry other clocks: the extractor judges them #}
    and {{ 'true' if var('network') == 'x' else 'false' }}
    and (
        {{ snowflake_time(column_name) }} > {{ posted_at }} + interval '10 minutes'
        or {{ snowflake_time(column_name) }} < {{ posted_at }} - interval '10 minutes'
    )
{% endtest %}
