{{ config(unique_key='decision_id') }}
-- depends_on: {{ ref('stg_engagement__decisions') }}

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

{% if is_incremental() -%}
touched_tweets as (

    select tweet_id from posts
    where decision_id in (select decision_id from touched)

),

{% endif -%}
measured as (

    {{ tweets_measured('touched_tweets' if is_incremental() else none) }}

),

followers as (

    {{ follower_windows() }}

),

joined as (

    select
        posts.*,
        measured.likes,
        measured.retweets,
        measured.replies,
        measured.bookmarks,
        measured.quotes,
        measured.views,
        measured.profile_clicks,
        measured.first_hour_engagement,
        measured.collected_pass,
        measured.collected_at,
        measured.data_source,
        followers.followers_before,
        followers.followers_after,
        followers.followers_after - followers.followers_before as followers_gained,
        {{ hook_text('posts.content') }} as hook_text,
        greatest(
            posts.loaded_at, measured.loaded_at, coalesce(followers.loaded_at, posts.loaded_at)
        ) as newest_loaded_at
    from posts
    inner join measured on posts.tweet_id = measured.tweet_id
    left join followers on posts.decision_id = followers.decision_id
    {% if is_incremental() -%}
    where posts.decision_id in (select decision_id from touched)
    {%- endif %}

),

final as (

    select
        decision_id,
        tweet_id,
        hook_text,
        {{ hook_type('hook_text') }} as hook_type,
        topic_cluster,
        generator_name as generator_used,
        content,
        data_source,
        views as impressions,
        views,
        likes,
        retweets,
        replies,
        bookmarks,
        quotes,
        quotes as quote_tweets,
        {{ ratio('likes + retweets + replies', 'views') }} as engagement_rate,
        {{ ratio('likes + retweets + replies', 'views') }} as er_calculated,
        first_hour_engagement,
        profile_clicks,
        followers_before,
        followers_after,
        followers_gained,
        followers_gained as follows,
        cast(extract(hour from posted_at) as integer) as post_hour,
        predicted_followers,
        predicted_engagement,
        {{ ratio('retweets + quotes', 'views') }} as virality_coefficient,
        {{ ratio('followers_gained', 'profile_clicks') }} as conversion_rate,
        {{ reward_composite('followers_gained', 'retweets', 'replies', 'views') }} as reward_composite,
        cast(collected_pass as integer) as collected_pass,
        coalesce(generation_source = 'synthetic', false) as simulated,
        collected_at,
        posted_at as created_at,
        collected_at as updated_at,
        newest_loaded_at as loaded_at
    from joined

)

{{ select_final('decision_id') }}
