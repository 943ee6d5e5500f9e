{#
  Every tweet that a posted decision claims, threads exploded; a tweet that several decisions claim belongs to the one
  queued first. `touched` names a relation or CTE with a column tweet_id: then only those tweets, found by the index on
  their decisions' ids and among the threads, before the window that settles the claims.
#}
{% macro posts_of(touched=none) %}
with decisions as {{ 'not materialized' if touched and target.type == 'postgres' }} (

    select * from {{ ref('stg_engagement__decisions') }}
    where status = 'posted' and {{ is_post_id('tweet_id') }} and posted_at is not null

),

with_parts as (

    select * from decisions
    where thread_tweet_ids is not null

),

parts as (

    {{ thread_parts('with_parts') }}

),

-- the later parts of threads
threads as (

    select
        parts.decision_id,
        parts.tweet_id,
        with_parts.tweet_id as root_tweet_id,
        cast(
            row_number() over (partition by parts.decision_id order by parts.position) as integer
        ) as thread_position,
        parts.content
    from parts
    inner join with_parts on parts.decision_id = with_parts.decision_id
    where parts.tweet_id <> with_parts.tweet_id and {{ is_post_id('parts.tweet_id') }}

),

-- the root of every post, then those
tweets as (

    select decision_id, tweet_id, tweet_id as root_tweet_id, 0 as thread_position, content
    from decisions
    {% if touched %}where tweet_id in (select tweet_id from {{ touched }}){% endif %}

    union all

    select decision_id, tweet_id, root_tweet_id, thread_position, content
    from threads
    {% if touched %}where tweet_id in (select tweet_id from {{ touched }}){% endif %}

),

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
{% endmacro %}



{# The posts that a model reads: of the touched tweets in an incremental build, all of them otherwise. #}
{% macro posts(touched=none) %}
    {%- if touched -%}
    {{ posts_of(touched) }}
    {%- else -%}
    select * from {{ ref('int_posts') }}
    {%- endif -%}
{% endmacro %}
