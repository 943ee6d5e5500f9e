with ranked as (

    select
        outcomes.decision_id,
        outcomes.tweet_id,
        outcomes.content,
        outcomes.hook_type,
        outcomes.generator_used,
        outcomes.topic_cluster,
        outcomes.likes,
        outcomes.impressions,
        -- over impressions: the old provider divided by likes
        outcomes.engagement_rate,
        row_number() over (order by outcomes.likes desc, outcomes.tweet_id asc) as example_rank
    from {{ ref('outcomes') }} as outcomes
    inner join {{ ref('measured_posts') }} as posts on outcomes.decision_id = posts.decision_id
    where not outcomes.simulated and outcomes.likes is not null and outcomes.content is not null

)

select
    cast(example_rank as integer) as example_rank,
    decision_id,
    tweet_id,
    content,
    hook_type,
    generator_used,
    topic_cluster,
    likes,
    impressions,
    engagement_rate
from ranked
where example_rank <= 10
