{%- set tables = {
    'outcomes': ('decision_id', ['likes', 'retweets', 'replies', 'impressions']),
    'learning_posts': ('tweet_id', ['likes_count', 'retweets_count', 'replies_count', 'impressions_count']),
    'tweet_metrics': ('tweet_id', ['likes_count', 'retweets_count', 'replies_count', 'impressions_count']),
} -%}

with joined as (

    {% for name in var('legacy') -%}
    {%- set key, counters = tables[name] -%}
    select
        '{{ name }}' as table_name,
        coalesce(ours.{{ key }}, legacy.row_key) as row_key,
        coalesce(legacy.legacy_rows, 0) as legacy_rows,
        ours.{{ key }} is not null as is_ours,
        {% for counter in counters -%}
        ours.{{ counter }} as our_{{ loop.index }},
        legacy.{{ counter }} as legacy_{{ loop.index }},
        {% endfor -%}
        abs(extract(epoch from ours.created_at) - legacy.posted_epoch) as seconds_apart
    from {{ ref(name) }} as ours
    full outer join (
        select
            coalesce(cast({{ key }} as {{ text() }}), '') as row_key,
            count(*) as legacy_rows,
            {% for counter in counters -%}
            max({{ counter }}) as {{ counter }},
            {% endfor -%}
            max(extract(epoch from created_at)) as posted_epoch
        from {{ source('legacy', name) }}
        group by 1
    ) as legacy on ours.{{ key }} = legacy.row_key
    {{ 'union all' if not loop.last }}
    {% endfor %}

),

caused as (

    select
        table_name,
        row_key,
        legacy_rows,
        case
            when legacy_rows > 1 then 'counted twice'
            when not is_ours then 'nothing behind it'
            when legacy_rows = 0 then 'lost'
            {% for i in range(1, 5) -%}
            when legacy_{{ i }} = 0 and our_{{ i }} > 0 then 'zero over a number'
            {% endfor -%}
            {% for i in range(1, 5) -%}
            when legacy_{{ i }} is not null and our_{{ i }} is null then 'number over nothing'
            {% endfor -%}
            when seconds_apart > 600 then 'wrong hour'
            {% for i in range(1, 5) -%}
            when legacy_{{ i }} is distinct from our_{{ i }} then 'other number'
            {% endfor -%}
        end as cause
    from joined

)

select
    cast(table_name as {{ text() }}) as table_name,
    cast(row_key as {{ text() }}) as row_key,
    cast(cause as {{ text() }}) as cause,
    legacy_rows
from caused
where cause is not null
