with posts as (

    select posts.* from {{ ref('measured_posts') }} as posts
    cross join {{ ref('int_as_of') }} as clock
    where posts.posted_at > clock.as_of - interval '30 days' and posts.engagement_rate is not null

),

by_hour as (

    select
        post_hour,
        count(*) as posts,
        {{ mean('engagement_rate') }} as mean_engagement_rate,
        {{ share_above('replies_count') }} as share_with_reply,
        {{ share_above('likes_count') }} as share_with_like
    from posts
    group by post_hour

),

-- an hour of one post says nothing
ranked as (

    select
        post_hour,
        row_number() over (order by mean_engagement_rate desc, post_hour asc) as best,
        row_number() over (order by mean_engagement_rate asc, post_hour desc) as worst,
        count(*) over () as hours
    from by_hour
    where posts >= 2

)

select
    by_hour.post_hour,
    by_hour.posts,
    by_hour.mean_engagement_rate,
    by_hour.share_with_reply,
    by_hour.share_with_like,
    coalesce(ranked.best <= greatest(3, floor(0.3 * ranked.hours)), false) as is_optimal,
    coalesce(ranked.worst <= greatest(2, floor(0.2 * ranked.hours)), false) as is_worst
from by_hour
left join ranked on by_hour.post_hour = ranked.post_hour
