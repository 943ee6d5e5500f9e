-- Windows such as "the last 30 days" end here: at var('as_of'), or at the newest accepted reading. Never at the time of
-- the build: the same staging gives the same marts.
select
    1 as clock_id,
    {{ "timestamp '" ~ var('as_of') ~ "'" if var('as_of') else 'max(collected_at)' }} as as_of
from {{ ref('stg_engagement__snapshots') }}
where validation_passed
