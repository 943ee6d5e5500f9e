-- Two or more hours in a row above a rate of 0.02, also across midnight: the day is laid out twice, and a window counts
-- where it begins on the first day, after an hour that is no peak.
with peaks as (

    select
        post_hour,
        mean_engagement_rate
    from {{ ref('posting_hours') }}
    where posts >= 2 and mean_engagement_rate > 0.02

),

days as (

    select 0 as shift
    union all
    select 24 as shift

),

laid_out as (

    select
        peaks.post_hour + days.shift as place,
        peaks.mean_engagement_rate,
        peaks.post_hour + days.shift - row_number() over (order by peaks.post_hour + days.shift) as island
    from peaks
    cross join days

),

-- a day that is all peak is one window from midnight on
islands as (

    select
        min(place) as start_place,
        least(count(*), 24) as hours,
        avg(mean_engagement_rate) as mean_rate
    from laid_out
    group by island

),

windows as (

    select
        islands.start_place as start_hour,
        (islands.start_place + islands.hours - 1) % 24 as end_hour,
        islands.hours,
        islands.mean_rate,
        row_number() over (order by islands.mean_rate desc, islands.start_place asc) as window_rank
    from islands
    left join peaks as hour_before on hour_before.post_hour = (islands.start_place + 23) % 24
    where
        islands.hours >= 2
        and islands.start_place < 24
        and (hour_before.post_hour is null or islands.hours = 24)

)

select
    cast(window_rank as integer) as window_rank,
    cast(start_hour as integer) as start_hour,
    cast(end_hour as integer) as end_hour,
    hours,
    cast(mean_rate as numeric(18, 6)) as mean_engagement_rate
from windows
where window_rank <= 3
