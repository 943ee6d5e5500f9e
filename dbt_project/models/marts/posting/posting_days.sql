with posts as (

    select posts.* from {{ ref('measured_posts') }} as posts
    cross join {{ ref('int_as_of') }} as clock
    where posts.posted_at > clock.as_of - interval '14 days'

),

by_day as (

    select
        post_date,
        count(*) as posts,
        cast(sum(engagement) as bigint) as engagement,
        {{ mean('engagement') }} as engagement_per_post,
        {{ mean('engagement_rate') }} as mean_engagement_rate
    from posts
    group by post_date

)

select
    post_date,
    posts,
    engagement,
    engagement_per_post,
    mean_engagement_rate,
    cast(
        case when posts <= 10 then 'up to 10' when posts <= 20 then '11 to 20' else 'over 20' end as {{ text() }}
    ) as band
from by_day
