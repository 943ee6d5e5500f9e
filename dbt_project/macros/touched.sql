{#
  The tweets that anything loaded since the last build concerns: those with a new accepted snapshot, those that a new or
  changed decision claims, and those that this table still holds for a decision that changed (it may have given them up:
  staging no longer says so, the table does).
#}
{% macro touched_tweets() %}
    select tweet_id from {{ newly_loaded(ref('stg_engagement__snapshots')) }} as snapshots
    where validation_passed

    union

    {{ tweets_of_new_decisions() }}

    union

    {{ tweets_held_for_new_decisions() }}
{% endmacro %}


{#
  The same for decisions, as the CTEs `touched` (decision_id) and `touched_roots` (the tweets they claim first). A tweet
  that changes hands concerns both: who has it now and who had it. New follower readings concern the posts within their
  windows (see follower_windows), all of them between the first and the last.
#}
{% macro touched_decisions() %}
tweets_that_moved as (

    select tweet_id from {{ newly_loaded(ref('stg_engagement__snapshots')) }} as snapshots
    where validation_passed

    union

    {{ tweets_held_for_new_decisions() }}

),

new_readings as (

    select
        min(read_at) as first_at,
        max(read_at) as last_at
    from {{ newly_loaded(ref('stg_engagement__followers')) }} as followers

),

touched as (

    select decision_id from {{ newly_loaded(ref('stg_engagement__decisions')) }} as decisions

    union

    select decision_id from (
        {{ posts_of('tweets_that_moved') }}
    ) as posts
    where thread_position < 1

    union

    select decision_id from {{ this }}
    where tweet_id in (select tweet_id from ({{ tweets_of_new_decisions() }}) as tweets)

    union

    select decision_id from {{ ref('stg_engagement__decisions') }}
    where
        posted_at > (select first_at - interval '72 hours' from new_readings)
        and posted_at < (select last_at + interval '24 hours' from new_readings)

),

touched_roots as (

    select tweet_id from {{ ref('stg_engagement__decisions') }}
    where decision_id in (select decision_id from touched)

),
{% endmacro %}


{# The tweets, roots and parts, that decisions loaded since the last build claim, also if they changed since. #}
{% macro tweets_of_new_decisions() %}
    select tweet_id from {{ newly_loaded(ref('stg_engagement__decisions')) }} as decisions
    where tweet_id is not null

    union

    select tweet_id from (
        {{ thread_parts(newly_loaded(ref('stg_engagement__decisions'))) }}
    ) as parts
    where tweet_id is not null
{% endmacro %}


{# The tweets that this table holds for decisions loaded since the last build. #}
{% macro tweets_held_for_new_decisions() %}
    select tweet_id from {{ this }}
    where decision_id in (
        select decision_id from {{ newly_loaded(ref('stg_engagement__decisions')) }} as decisions
    )
{% endmacro %}


{#
  The head of a model with rows per tweet: the CTEs `touched` (incremental builds only) and `posts`, followed by a comma.
#}
{% macro touched_posts() -%}
{% if is_incremental() -%}
touched as (

    {{ touched_tweets() }}

),

{% endif -%}
posts as (

    {{ posts('touched' if is_incremental() else none) }}

),
{%- endmacro %}


{#
  The tail of an incremental model: every row of the CTE `final`, or in an incremental build the rows of the touched keys. A
  touched key without a row yields its key alone, and the strategy touched_keys deletes it.
#}
{% macro select_final(key) -%}
{% if is_incremental() -%}
select * from touched left join final using ({{ key }})
{%- else -%}
select * from final
{%- endif %}
{%- endmacro %}
