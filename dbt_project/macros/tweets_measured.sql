{#
  One row a measured tweet: the counters of its winning snapshot, and what its other snapshots add.

  A macro and no model, because an incremental build must narrow the snapshots to the touched tweets before the
  windows: Postgres pushes no semi-join through a window (1,100 ms against 42 for 1,000 of a million keys).
  `touched` names a relation or CTE with a column tweet_id; without it every tweet is computed. The model's CTE `posts`
  is defined above.
#}
{% macro tweets_measured(touched=none) %}
with snapshots as (

    select * from {{ ref('stg_engagement__snapshots') }}
    where
        validation_passed
        {% if touched %}and tweet_id in (select tweet_id from {{ touched }}){% endif %}

),

-- the latest accepted snapshot wins; of two at the same instant the one with the greater id
ranked as (

    select
        tweet_id,
        snapshot_id,
        data_source,
        likes,
        retweets,
        replies,
        quotes,
        bookmarks,
        views,
        profile_clicks,
        collected_at,
        row_number() over (partition by tweet_id order by collected_at desc, snapshot_id desc) as recency,
        min(collected_at) over (partition by tweet_id) as first_metrics_at,
        max(loaded_at) over (partition by tweet_id) as loaded_at
    from snapshots

),

-- the last reading within an hour of posting, and how far the two fixed passes have come
aged as (

    select
        snapshots.tweet_id,
        snapshots.likes + snapshots.retweets + snapshots.replies as engagement,
        snapshots.collected_at - posts.posted_at as age,
        case
            when snapshots.collected_at <= posts.posted_at + interval '60 minutes'
                then row_number() over (
                    partition by
                        snapshots.tweet_id,
                        snapshots.collected_at <= posts.posted_at + interval '60 minutes'
                    order by snapshots.collected_at desc, snapshots.snapshot_id desc
                )
        end as first_hour_recency
    from snapshots
    inner join posts on snapshots.tweet_id = posts.tweet_id

),

passes as (

    select
        tweet_id,
        max(case when first_hour_recency = 1 then engagement end) as first_hour_engagement,
        max(case when age >= interval '24 hours' then 2 when age >= interval '1 hour' then 1 else 0 end) as collected_pass
    from aged
    group by tweet_id

)

select
    ranked.tweet_id,
    ranked.snapshot_id,
    ranked.data_source,
    ranked.likes,
    ranked.retweets,
    ranked.replies,
    ranked.quotes,
    ranked.bookmarks,
    ranked.views,
    ranked.profile_clicks,
    passes.first_hour_engagement,
    passes.collected_pass,
    ranked.collected_at,
    ranked.first_metrics_at,
    ranked.loaded_at
from ranked
left join passes on ranked.tweet_id = passes.tweet_id
where ranked.recency < 2
{% endmacro %}
