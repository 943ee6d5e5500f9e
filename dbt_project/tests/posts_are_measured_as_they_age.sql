{{ config(store_failures=true) }}
-- A post is read again after its first day: rows once stayed as they were at the first reading for ever. Ages are taken
-- at the newest reading of all, so that source freshness, not this test, reports a scraper that has stopped. Red where
-- more than a quarter of the posts between 26 hours and 7 days old have no reading from after their 20th hour.
with readings as (

    select
        tweet_id,
        max(collected_at) as last_read_at
    from {{ ref('stg_engagement__snapshots') }}
    where validation_passed
    group by tweet_id

),

newest as (

    select max(last_read_at) as read_at from readings

),

aged as (

    select
        posts.tweet_id,
        coalesce(readings.last_read_at >= posts.posted_at + interval '20 hours', false) as is_fresh
    from {{ ref('int_posts') }} as posts
    inner join readings on posts.tweet_id = readings.tweet_id
    cross join newest
    where
        posts.posted_at < newest.read_at - interval '26 hours'
        and posts.posted_at > newest.read_at - interval '7 days'

)

select
    count(*) as posts,
    sum(case when is_fresh then 0 else 1 end) as stale
from aged
having count(*) >= 10 and sum(case when is_fresh then 0 else 1 end) > 0.25 * count(*)
