with decisions as (

    select * from {{ ref('stg_engagement__decisions') }}
    where status = 'posted' and tweet_id ~ '^[0-9]{10,20}$' and posted_at is not null

),

threads as (

    {{ thread_parts('decisions') }}

),

-- the root of every post, then the later parts of threads
tweets as (

    select decision_id, tweet_id, tweet_id as root_tweet_id, 0 as thread_position, content
    from decisions

    union all

    select
        threads.decision_id,
        threads.tweet_id,
        decisions.tweet_id as root_tweet_id,
        cast(
            row_number() over (partition by threads.decision_id order by threads.position) as integer
        ) as thread_position,
        threads.content
    from threads
    inner join decisions on threads.decision_id = decisions.decision_id
    where threads.tweet_id <> decisions.tweet_id and threads.tweet_id ~ '^[0-9]{10,20}$'

),

-- a tweet that several decisions claim belongs to the one queued first
claims as (

    select
        tweets.tweet_id,
        tweets.root_tweet_id,
        tweets.thread_position,
        tweets.content,
        decisions.decision_id,
        decisions.decision_type,
        decisions.generation_source,
        decisions.topic_cluster,
        decisions.raw_topic,
        decisions.generator_name,
        decisions.tone,
        decisions.angle,
        decisions.format_strategy,
        decisions.visual_format,
        decisions.predicted_followers,
        decisions.predicted_engagement,
        decisions.posted_at,
        decisions.loaded_at,
        row_number() over (
            partition by tweets.tweet_id
            order by tweets.thread_position, decisions.queued_at nulls last, decisions.decision_id
        ) as claim
    from tweets
    inner join decisions on tweets.decision_id = decisions.decision_id

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
from claims
-- no equality: of a column without statistics planners expect one row in 200 of that, and every third of this; where they
-- expected a single post, they read all snapshots again for each
where claim < 2
