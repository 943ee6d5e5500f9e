-- What a post's peers had brought by the time it went live: same topic and generator, an hour at most two away on the
-- clock (23 and 1 are two apart), the 20 latest of them; by the strength of the post's class of hook.
with outcomes as (

    select outcomes.* from {{ ref('outcomes') }} as outcomes
    inner join {{ ref('measured_posts') }} as posts on outcomes.decision_id = posts.decision_id
    where not outcomes.simulated

),

asked as (

    select outcomes.* from outcomes
    cross join {{ ref('int_as_of') }} as clock
    where outcomes.created_at > clock.as_of - interval '30 days'

),

peers as (

    select
        asked.decision_id,
        peer.likes + peer.retweets + peer.replies as engagement,
        peer.impressions,
        peer.followers_gained,
        row_number() over (
            partition by asked.decision_id
            order by peer.created_at desc, peer.decision_id asc
        ) as recency
    from asked
    inner join outcomes as peer
        on
            asked.topic_cluster = peer.topic_cluster
            and asked.generator_used = peer.generator_used
            and asked.created_at > peer.created_at
    where least(abs(asked.post_hour - peer.post_hour), 24 - abs(asked.post_hour - peer.post_hour)) <= 2

),

expected as (

    select
        decision_id,
        count(*) as peers,
        avg(engagement) as engagement,
        avg(impressions) as impressions,
        avg(followers_gained) as followers_gained
    from peers
    where recency <= 20
    group by decision_id

),

multipliers as (

    select
        hook_type,
        least(
            2.0, greatest(0.5, coalesce(mean_engagement / nullif(avg(mean_engagement) over (), 0), 1.0))
        ) as multiplier
    from {{ ref('hook_types') }}

)

select
    asked.decision_id,
    asked.tweet_id,
    expected.peers,
    cast(coalesce(multipliers.multiplier, 1.0) as numeric(18, 6)) as hook_multiplier,
    cast(expected.engagement * coalesce(multipliers.multiplier, 1.0) as numeric(18, 6)) as predicted_engagement,
    cast(expected.impressions * coalesce(multipliers.multiplier, 1.0) as numeric(18, 6)) as predicted_impressions,
    cast(expected.followers_gained * coalesce(multipliers.multiplier, 1.0) as numeric(18, 6)) as predicted_followers,
    asked.likes + asked.retweets + asked.replies as actual_engagement,
    asked.impressions as actual_impressions,
    asked.followers_gained as actual_followers,
    cast(least(1.0, expected.peers / 10.0) as numeric(18, 6)) as confidence
from asked
inner join expected on asked.decision_id = expected.decision_id
left join multipliers on asked.hook_type = multipliers.hook_type
