{{ config(unique_key='tweet_id') }}
-- depends_on: {{ ref('stg_engagement__decisions') }}

with

{{ touched_posts() }}

measured as (

    {{ tweets_measured('touched' if is_incremental() else none) }}

),

final as (

    select
        posts.tweet_id,
        posts.root_tweet_id,
        posts.decision_id,
        posts.thread_position,
        posts.content,
        posts.topic_cluster as topic,
        measured.likes as likes_count,
        measured.retweets as retweets_count,
        measured.replies as replies_count,
        measured.bookmarks as bookmarks_count,
        measured.views as impressions_count,
        {{ ratio('measured.likes + measured.retweets + measured.replies', 'measured.views') }} as engagement_rate,
        measured.collected_at,
        measured.first_metrics_at,
        measured.collected_at as latest_metrics_at,
        posts.posted_at as created_at,
        measured.collected_at as updated_at,
        greatest(posts.loaded_at, measured.loaded_at) as loaded_at
    from posts
    inner join measured on posts.tweet_id = measured.tweet_id

)

{{ select_final('tweet_id') }}
