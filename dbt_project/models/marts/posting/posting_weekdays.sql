with posts as (

    select posts.* from {{ ref('measured_posts') }} as posts
    cross join {{ ref('int_as_of') }} as clock
    where posts.posted_at > clock.as_of - interval '30 days' and posts.engagement_rate is not null

),

overall as (

    select avg(engagement_rate) as mean_rate from posts

),

hours as (

    select
        post_weekday,
        post_hour,
        row_number() over (
            partition by post_weekday order by avg(engagement_rate) desc, post_hour
        ) as hour_rank
    from posts
    group by post_weekday, post_hour

),

best_hours as (

    select
        post_weekday,
        max(case when hour_rank = 1 then cast(post_hour as {{ text() }}) end)
        || coalesce(',' || max(case when hour_rank = 2 then cast(post_hour as {{ text() }}) end), '')
        || coalesce(',' || max(case when hour_rank = 3 then cast(post_hour as {{ text() }}) end), '') as top_hours
    from hours
    where hour_rank <= 3
    group by post_weekday

),

by_weekday as (

    select
        post_weekday,
        count(*) as posts,
        avg(engagement_rate) as mean_rate
    from posts
    group by post_weekday

)

select
    by_weekday.post_weekday,
    by_weekday.posts,
    cast(by_weekday.mean_rate as numeric(18, 6)) as mean_engagement_rate,
    {{ ratio('by_weekday.mean_rate', 'overall.mean_rate') }} as multiplier,
    cast(least(1.0, by_weekday.posts / 50.0) as numeric(18, 6)) as confidence,
    cast(best_hours.top_hours as {{ text() }}) as top_hours
from by_weekday
inner join best_hours on by_weekday.post_weekday = best_hours.post_weekday
cross join overall
