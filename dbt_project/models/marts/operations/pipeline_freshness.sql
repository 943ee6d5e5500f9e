-- How far each source lags behind the newest load of all. Against the clock on the wall it is `dbt source freshness`.
with loads as (

    select
        'real_tweet_metrics' as source_name,
        count(*) as loaded_rows,
        max(collected_at) as newest_observed_at,
        max(loaded_at) as newest_loaded_at
    from {{ ref('stg_engagement__snapshots') }}

    union all

    select
        'quarantined_metrics' as source_name,
        count(*) as loaded_rows,
        max(collected_at) as newest_observed_at,
        max(loaded_at) as newest_loaded_at
    from {{ ref('stg_engagement__quarantine') }}

    union all

    select
        'follower_snapshots' as source_name,
        count(*) as loaded_rows,
        max(read_at) as newest_observed_at,
        max(loaded_at) as newest_loaded_at
    from {{ ref('stg_engagement__followers') }}

    union all

    select
        'content_metadata' as source_name,
        count(*) as loaded_rows,
        max(updated_at) as newest_observed_at,
        max(loaded_at) as newest_loaded_at
    from {{ ref('stg_engagement__decisions') }}

),

newest as (

    select max(newest_loaded_at) as loaded_at from loads

)

select
    cast(loads.source_name as {{ text() }}) as source_name,
    loads.loaded_rows,
    {{ ratio(seconds_between('loads.newest_loaded_at', 'newest.loaded_at'), '3600') }} as hours_behind,
    loads.newest_observed_at,
    loads.newest_loaded_at
from loads
cross join newest
