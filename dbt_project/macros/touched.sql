{#
  The tweets that anything loaded since the last build concerns: those with a new accepted snapshot, those whose
  decision is new or changed, and those that this table still holds for a decision that changed (it may have given
  them up: staging no longer says so, the table does).
#}
{% macro touched_tweets() %}
    select tweet_id from {{ ref('stg_engagement__snapshots') }}
    where validation_passed and loaded_at >= {{ last_loaded_at() }}

    union

    select tweet_id from {{ ref('int_posts') }}
    where loaded_at >= {{ last_loaded_at() }}

    union

    select tweet_id from {{ this }}
    where decision_id in (
        select decision_id from {{ ref('stg_engagement__decisions') }}
        where loaded_at >= {{ last_loaded_at() }}
    )
{% endmacro %}


{#
  The same for decisions. A tweet that changes hands concerns both: who has it now and who had it. New follower
  readings concern the posts within their windows (see follower_windows).
#}
{% macro touched_decisions() %}
    select decision_id from {{ ref('stg_engagement__decisions') }}
    where loaded_at >= {{ last_loaded_at() }}

    union

    select decision_id from {{ ref('int_posts') }}
    where
        thread_position < 1
        and tweet_id in (
            select tweet_id from {{ ref('stg_engagement__snapshots') }}
            where validation_passed and loaded_at >= {{ last_loaded_at() }}

            union all

            select tweet_id from {{ this }}
            where decision_id in (
                select decision_id from {{ ref('stg_engagement__decisions') }}
                where loaded_at >= {{ last_loaded_at() }}
            )
        )

    union

    select decision_id from {{ this }}
    where tweet_id in (select tweet_id from {{ ref('int_posts') }} where loaded_at >= {{ last_loaded_at() }})

    union

    select posts.decision_id from {{ ref('int_posts') }} as posts
    inner join {{ ref('stg_engagement__followers') }} as readings
        on
            posts.posted_at > readings.read_at - interval '72 hours'
            and posts.posted_at < readings.read_at + interval '24 hours'
    where readings.loaded_at >= {{ last_loaded_at() }}
{% endmacro %}
