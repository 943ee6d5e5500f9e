{{ config(store_failures=true) }}
-- A post goes live after it was queued. Where it does not, one of the two times is another's: queue time was once used
-- as a post's age. A minute is left for two clocks.
select
    decision_id,
    queued_at,
    posted_at
from {{ ref('stg_engagement__decisions') }}
where status = 'posted' and posted_at < queued_at - interval '1 minute'
