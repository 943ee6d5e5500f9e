{{ config(unique_key='tweet_id') }}
-- depends_on: {{ ref('stg_engagement__decisions') }}

with

{{ touched_posts() }}

measured as (

    {{ tweets_measured('touched' if is_incremental() else none) }}

),

scored as (

    select
        posts.*,
        measured.likes,
        measured.retweets,
        measured.replies,
        measured.bookmarks,
        measured.views,
        measured.collected_at,
        measured.likes + 5 * measured.retweets + 3 * measured.replies as engagement,
        greatest(posts.loaded_at, measured.loaded_at) as newest_loaded_at
    from posts
    inner join measured on posts.tweet_id = measured.tweet_id

),

final as (

    select
        tweet_id,
        decision_id,
        decision_type,
        content,
        format_strategy as format,
        topic_cluster as topic,
        {{ json_text({
            'generator': 'generator_name', 'tone': 'tone', 'angle': 'angle', 'visual_format': 'visual_format',
            'raw_topic': 'raw_topic'
        }) }} as learning_metadata,
        likes as likes_count,
        retweets as retweets_count,
        replies as replies_count,
        bookmarks as bookmarks_count,
        views as impressions_count,
        engagement as engagement_score,
        {{ viral_potential_score('engagement', 'views') }} as viral_potential_score,
        posted_at as created_at,
        posted_at,
        collected_at as updated_at,
        newest_loaded_at as loaded_at
    from scored

)

{{ select_final('tweet_id') }}
