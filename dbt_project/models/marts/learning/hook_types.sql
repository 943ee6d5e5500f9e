with outcomes as (

    select outcomes.* from {{ ref('outcomes') }} as outcomes
    inner join {{ ref('measured_posts') }} as posts on outcomes.decision_id = posts.decision_id
    where outcomes.hook_type is not null and not outcomes.simulated

),

by_type as (

    select
        hook_type,
        count(*) as posts,
        {{ mean('followers_gained') }} as mean_followers_gained,
        {{ mean('likes + 2 * retweets') }} as mean_engagement,
        {{ mean('impressions') }} as mean_impressions
    from outcomes
    group by hook_type

),

-- two posts make no class the best
ranked as (

    select
        hook_type,
        row_number() over (
            order by mean_followers_gained desc nulls last, mean_engagement desc nulls last, hook_type asc
        ) as place
    from by_type
    where posts >= 3

)

select
    by_type.hook_type,
    by_type.posts,
    by_type.mean_followers_gained,
    by_type.mean_engagement,
    by_type.mean_impressions,
    coalesce(ranked.place = 1, false) as is_best
from by_type
left join ranked on by_type.hook_type = ranked.hook_type
