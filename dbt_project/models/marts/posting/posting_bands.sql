with by_band as (

    select
        band,
        count(*) as days,
        avg(posts) as posts_a_day,
        avg(engagement) as daily_engagement,
        avg(engagement_per_post) as engagement_per_post
    from {{ ref('posting_days') }}
    group by band

),

scored as (

    select
        *,
        0.6 * daily_engagement + 0.4 * engagement_per_post as score
    from by_band

),

ranked as (

    select
        *,
        row_number() over (order by score desc nulls last, band asc) as band_rank
    from scored

)

select
    band,
    days,
    cast(daily_engagement as numeric(18, 6)) as mean_daily_engagement,
    cast(engagement_per_post as numeric(18, 6)) as mean_engagement_per_post,
    cast(score as numeric(18, 6)) as score,
    cast(round(posts_a_day) as integer) as posts_a_day,
    cast(floor(1440 / greatest(1, round(posts_a_day))) as integer) as minutes_between,
    band_rank = 1 and score is not null as is_recommended
from ranked
