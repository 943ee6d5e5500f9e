{{ config(unique_key='decision_id') }}
-- depends_on: {{ ref('stg_engagement__decisions') }}
-- depends_on: {{ ref('stg_engagement__snapshots') }}

with

{% if is_incremental() -%}
{{ touched_decisions() }}

{% endif -%}
posts as (

    select * from (
        {{ posts('touched_roots' if is_incremental() else none) }}
    ) as posts
    where thread_position < 1

),

readings as (

    {{ follower_windows() }}

),

final as (

    select
        posts.decision_id,
        posts.tweet_id,
        posts.decision_type,
        readings.followers_before,
        readings.followers_2h,
        readings.followers_after as followers_24h,
        readings.followers_48h,
        readings.followers_2h - readings.followers_before as followers_gained_2h,
        readings.followers_after - readings.followers_before as followers_gained_24h,
        readings.followers_48h - readings.followers_before as followers_gained_48h,
        posts.posted_at as created_at,
        greatest(posts.loaded_at, readings.loaded_at) as loaded_at
    from posts
    inner join readings on posts.decision_id = readings.decision_id

)

{{ select_final('decision_id') }}
