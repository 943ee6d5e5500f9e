with by_hook as (

    select
        outcomes.hook_text,
        min(outcomes.hook_type) as hook_type,
        count(*) as posts,
        {{ mean('outcomes.followers_gained') }} as mean_followers_gained,
        {{ mean('outcomes.likes + 2 * outcomes.retweets') }} as mean_engagement,
        {{ mean('outcomes.impressions') }} as mean_impressions
    from {{ ref('outcomes') }} as outcomes
    inner join {{ ref('measured_posts') }} as posts on outcomes.decision_id = posts.decision_id
    where outcomes.hook_type is not null and not outcomes.simulated
    group by outcomes.hook_text

),

ranked as (

    select
        *,
        row_number() over (order by mean_engagement desc nulls last, hook_text asc) as hook_rank
    from by_hook

)

select
    cast(hook_rank as integer) as hook_rank,
    hook_text,
    hook_type,
    posts,
    mean_followers_gained,
    mean_engagement,
    mean_impressions
from ranked
where hook_rank <= 20
