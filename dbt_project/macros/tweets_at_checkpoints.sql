{#
  One row per tweet and checkpoint (1, 6, 24 and 168 hours after posting): the accepted reading nearest to it within half an
  hour, as the velocity job takes them; of two equally near ones the later, then the one with the greater id.
  `touched` narrows to a relation or CTE with a column tweet_id, before the window (see tweets_measured). The model's CTE
  `posts` is defined above.
#}
{% macro tweets_at_checkpoints(touched=none) %}
with checkpoints as (

    {% for hours in [1, 6, 24, 168] -%}
    select {{ hours }} as checkpoint_hours
    {{ 'union all' if not loop.last }}
    {% endfor %}

),

aged as (

    select
        snapshots.*,
        snapshots.likes + snapshots.retweets + snapshots.replies as engagement,
        {{ ratio(seconds_between('posts.posted_at', 'snapshots.collected_at'), '3600') }} as hours_after_post
    from {{ ref('stg_engagement__snapshots') }} as snapshots
    inner join posts on snapshots.tweet_id = posts.tweet_id
    where
        snapshots.validation_passed
        {% if touched %}and snapshots.tweet_id in (select tweet_id from {{ touched }}){% endif %}

),

near as (

    select
        aged.*,
        checkpoints.checkpoint_hours,
        row_number() over (
            partition by aged.tweet_id, checkpoints.checkpoint_hours
            order by
                abs(aged.hours_after_post - checkpoints.checkpoint_hours),
                aged.collected_at desc,
                aged.snapshot_id desc
        ) as nearness
    from aged
    inner join checkpoints on abs(aged.hours_after_post - checkpoints.checkpoint_hours) <= 0.5

)

select * from near
where nearness < 2
{% endmacro %}
