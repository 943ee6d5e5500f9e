{{ config(store_failures=true) }}
-- A posted decision has a tweet and a time, and one that was never posted has none: posts were once marked as failed
-- while they were live, and as posted without an id.
select
    decision_id,
    status,
    tweet_id,
    posted_at
from {{ ref('stg_engagement__decisions') }}
where
    (status = 'posted' and (tweet_id is null or posted_at is null))
    or (status in ('queued', 'ready', 'skipped', 'failed', 'cancelled') and tweet_id is not null)
