{#
  The account's followers around each post: the last reading of the day before it, and the first one of each window after
  it (2 to 24, 24 to 48 and 48 to 72 hours). A reading that is missing stays NULL: it never becomes the whole account
  gained or lost. The model's CTE `posts`, of first tweets, is defined above.

  Readings meet posts by the day first, and by the hour then: a join by the hour alone looks at every pair of them.
#}
{% macro follower_windows() %}
with days as (

    {% for day in range(-3, 2) -%}
    select {{ day }} as days_away
    {{ 'union all' if not loop.last }}
    {% endfor %}

),

readings as (

    select
        readings.*,
        cast(readings.read_at as date) + days.days_away as post_date
    from {{ ref('stg_engagement__followers') }} as readings
    cross join days
    where readings.follower_count is not null

),

around as (

    select
        posts.decision_id,
        readings.follower_count,
        readings.read_at,
        readings.reading_id,
        readings.loaded_at,
        case
            when readings.read_at <= posts.posted_at then 'before'
            when readings.read_at < posts.posted_at + interval '2 hours' then 'at once'
            when readings.read_at < posts.posted_at + interval '24 hours' then '2h'
            when readings.read_at < posts.posted_at + interval '48 hours' then '24h'
            else '48h'
        end as reading_window
    from posts
    inner join readings
        on
            cast(posts.posted_at as date) = readings.post_date
            and readings.read_at > posts.posted_at - interval '24 hours'
            and readings.read_at < posts.posted_at + interval '72 hours'

),

ranked as (

    select
        *,
        row_number() over (
            partition by decision_id, reading_window
            order by
                case when reading_window = 'before' then read_at end desc,
                read_at,
                reading_id
        ) as nearness
    from around
    where reading_window <> 'at once'

)

select
    decision_id,
    max(case when reading_window = 'before' and nearness = 1 then follower_count end) as followers_before,
    max(case when reading_window = '2h' and nearness = 1 then follower_count end) as followers_2h,
    max(case when reading_window = '24h' and nearness = 1 then follower_count end) as followers_after,
    max(case when reading_window = '48h' and nearness = 1 then follower_count end) as followers_48h,
    max(loaded_at) as loaded_at
from ranked
group by decision_id
{% endmacro %}
