{{ config(store_failures=true) }}
-- Followers gained is a difference of two readings: a missing one once turned into the whole account, plus or minus.
select
    decision_id,
    followers_before,
    followers_after,
    followers_gained
from {{ ref('outcomes') }}
where
    followers_gained is distinct from followers_after - followers_before
