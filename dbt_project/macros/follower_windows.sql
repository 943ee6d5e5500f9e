{#
  The account's followers around each post: the last reading of the day before it, and the first one of the second day
  after it. A reading that is missing stays NULL: it never becomes the whole account gained or lost.
  `touched` narrows to a relation or CTE with a column decision_id.
#}
{% macro follower_windows(touched=none) %}
with posts as (

    select decision_id, posted_at from {{ ref('int_posts') }}
    where
        thread_position = 0
        {% if touched %}and decision_id in (select decision_id from {{ touched }}){% endif %}

),

readings as (

    select * from {{ ref('stg_engagement__followers') }}
    where follower_count is not null

),

around as (

    select
        posts.decision_id,
        readings.follower_count,
        readings.loaded_at,
        readings.read_at <= posts.posted_at as is_before,
        row_number() over (
            partition by posts.decision_id, readings.read_at <= posts.posted_at
            order by
                case when readings.read_at <= posts.posted_at then readings.read_at end desc,
                readings.read_at,
                readings.reading_id
        ) as nearness
    from posts
    inner join readings
        on
            readings.read_at > posts.posted_at - interval '24 hours'
            and readings.read_at < posts.posted_at + interval '48 hours'
    where readings.read_at <= posts.posted_at or readings.read_at >= posts.posted_at + interval '24 hours'

)

select
    decision_id,
    max(case when is_before and nearness = 1 then follower_count end) as followers_before,
    max(case when not is_before and nearness = 1 then follower_count end) as followers_after,
    max(loaded_at) as loaded_at
from around
group by decision_id
{% endmacro %}
