{#
  The tweets that anything loaded since the last build concerns: those with a new accepted snapshot, those of a new or
  changed decision, and those that this table has but no decision claims any more.
#}
{% macro touched_tweets() %}
    select tweet_id from {{ ref('stg_engagement__snapshots') }}
    where validation_passed and loaded_at >= {{ last_loaded_at() }}

    union

    select tweet_id from {{ ref('int_posts') }}
    where loaded_at >= {{ last_loaded_at() }}

    union

    select tweet_id from {{ this }}
    where
        exists (select 1 from {{ ref('stg_engagement__decisions') }} where loaded_at >= {{ last_loaded_at() }})
        and tweet_id not in (select tweet_id from {{ ref('int_posts') }})
{% endmacro %}


{# The same for decisions; new follower readings concern the posts within their windows (see follower_windows). #}
{% macro touched_decisions() %}
    select posts.decision_id from {{ ref('int_posts') }} as posts
    inner join {{ ref('stg_engagement__snapshots') }} as snapshots on posts.tweet_id = snapshots.tweet_id
    where posts.thread_position = 0 and snapshots.validation_passed and snapshots.loaded_at >= {{ last_loaded_at() }}

    union

    select decision_id from {{ ref('stg_engagement__decisions') }}
    where loaded_at >= {{ last_loaded_at() }}

    union

    select posts.decision_id from {{ ref('int_posts') }} as posts
    inner join {{ ref('stg_engagement__followers') }} as readings
        on
            posts.posted_at > readings.read_at - interval '48 hours'
            and posts.posted_at < readings.read_at + interval '24 hours'
    where readings.loaded_at >= {{ last_loaded_at() }}

    union

    select decision_id from {{ this }}
    where
        exists (select 1 from {{ ref('stg_engagement__decisions') }} where loaded_at >= {{ last_loaded_at() }})
        and decision_id not in (select decision_id from {{ ref('int_posts') }} where thread_position = 0)
{% endmacro %}
