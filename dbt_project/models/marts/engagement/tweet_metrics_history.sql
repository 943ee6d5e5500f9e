{{ config(unique_key='tweet_id') }}
-- depends_on: {{ ref('stg_engagement__decisions') }}

with

{{ touched_posts() }}

-- of two readings at one instant the one with the greater id counts
snapshots as (

    select
        *,
        row_number() over (partition by tweet_id, collected_at order by snapshot_id desc) as at_this_instant
    from {{ ref('stg_engagement__snapshots') }}
    where
        validation_passed
    {% if is_incremental() %}and tweet_id in (select tweet_id from touched){% endif %}

),

final as (

    select
        snapshots.tweet_id,
        snapshots.snapshot_id,
        posts.decision_id,
        snapshots.collection_phase,
        snapshots.data_source,
        snapshots.likes as likes_count,
        snapshots.retweets as retweets_count,
        snapshots.replies as replies_count,
        snapshots.quotes as quotes_count,
        snapshots.bookmarks as bookmarks_count,
        snapshots.views as impressions_count,
        {{ ratio(seconds_between('posts.posted_at', 'snapshots.collected_at'), '3600') }} as hours_after_post,
        snapshots.collected_at,
        posts.posted_at as created_at,
        greatest(posts.loaded_at, snapshots.loaded_at) as loaded_at
    from snapshots
    inner join posts on snapshots.tweet_id = posts.tweet_id
    where snapshots.at_this_instant < 2

)

{{ select_final('tweet_id') }}
