{{ config(unique_key='tweet_id') }}
-- depends_on: {{ ref('stg_engagement__decisions') }}

with

{{ touched_posts() }}

measured as (

    {{ tweets_at_checkpoints('touched' if is_incremental() else none) }}

),

final as (

    select
        measured.tweet_id,
        posts.decision_id,
        measured.checkpoint_hours,
        measured.likes as likes_count,
        measured.retweets as retweets_count,
        measured.replies as replies_count,
        measured.views as impressions_count,
        measured.engagement,
        {{ ratio('measured.engagement', 'measured.hours_after_post') }} as engagement_per_hour,
        {{ ratio('measured.engagement', 'measured.views') }} as engagement_rate,
        measured.hours_after_post,
        measured.collected_at,
        posts.posted_at as created_at,
        greatest(posts.loaded_at, measured.loaded_at) as loaded_at
    from measured
    inner join posts on measured.tweet_id = posts.tweet_id

)

{{ select_final('tweet_id') }}
