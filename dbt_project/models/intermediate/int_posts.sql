-- The rules stand in the macro posts_of: incremental builds ask it for the touched tweets only.
with posts as (

    {{ posts_of() }}

)

select
    tweet_id,
    root_tweet_id,
    decision_id,
    decision_type,
    thread_position,
    content,
    generation_source,
    topic_cluster,
    raw_topic,
    generator_name,
    tone,
    angle,
    format_strategy,
    visual_format,
    predicted_followers,
    predicted_engagement,
    posted_at,
    loaded_at
from posts
