-- The 50 latest outcomes, as the real-time loop takes them.
with latest as (

    select
        outcomes.*,
        posts.decision_type,
        row_number() over (order by outcomes.collected_at desc, outcomes.decision_id asc) as recency
    from {{ ref('outcomes') }} as outcomes
    inner join {{ ref('int_posts') }} as posts on outcomes.tweet_id = posts.tweet_id
    where not outcomes.simulated

)

select
    cast(decision_type || ' ' || coalesce(hook_type, 'none') as {{ text() }}) as signal_id,
    decision_type,
    hook_type,
    count(*) as outcomes,
    count(followers_gained) as outcomes_with_followers,
    {{ mean('followers_gained') }} as mean_followers_gained,
    {{ share_above('followers_gained', 5) }} as share_above_five
from latest
where recency <= 50
group by decision_type, hook_type
