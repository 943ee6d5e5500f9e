{%- set columns = {
    'outcomes': ['impressions', 'likes', 'retweets', 'replies', 'bookmarks', 'quotes', 'followers_gained', 'profile_clicks'],
    'learning_posts': ['likes_count', 'retweets_count', 'replies_count', 'bookmarks_count', 'impressions_count'],
    'tweet_metrics': ['likes_count', 'retweets_count', 'replies_count', 'bookmarks_count', 'impressions_count'],
} -%}

with counted as (

    {% for table, names in columns.items() -%}
    {% set last_table = loop.last -%}
    {% for name in names -%}
    select
        '{{ table }}' as table_name,
        '{{ name }}' as column_name,
        count(*) as rows_in_all,
        count({{ name }}) as rows_known,
        count(case when {{ name }} = 0 then 1 end) as rows_zero
    from {{ ref(table) }}
    {{ 'union all' if not (loop.last and last_table) }}
    {% endfor -%}
    {% endfor %}

)

select
    cast(table_name || '.' || column_name as {{ text() }}) as column_id,
    cast(table_name as {{ text() }}) as table_name,
    cast(column_name as {{ text() }}) as column_name,
    rows_in_all,
    rows_known,
    rows_zero,
    {{ ratio('rows_known', 'rows_in_all') }} as share_known,
    {{ ratio('rows_zero', 'rows_known') }} as share_zero
from counted
