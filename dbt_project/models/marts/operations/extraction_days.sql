-- Every attempt at reading a post by the day of its observation: what was read, what was not, what is held back.
with attempts as (

    select
        cast(collected_at as date) as collected_on,
        status,
        cast(null as {{ text() }}) as verdict
    from {{ ref('stg_engagement__snapshots') }}

    union all

    select
        cast(collected_at as date) as collected_on,
        status,
        verdict
    from {{ ref('stg_engagement__quarantine') }}

),

counted as (

    select
        collected_on,
        count(*) as attempts,
        count(case when verdict is null and status in ('ok', 'partial', 'floor_only', 'repost') then 1 end) as accepted,
        count(case when verdict is null and status not in ('ok', 'partial', 'floor_only', 'repost') then 1 end)
            as without_counters,
        count(case when verdict = 'suspect' then 1 end) as suspect,
        count(case when verdict = 'rejected' then 1 end) as rejected
    from attempts
    group by collected_on

)

select
    collected_on,
    attempts,
    accepted,
    without_counters,
    suspect,
    rejected,
    {{ ratio('accepted', 'attempts') }} as share_accepted,
    {{ ratio('suspect + rejected', 'attempts') }} as share_quarantined
from counted
