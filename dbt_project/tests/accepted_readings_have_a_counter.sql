{{ config(store_failures=true) }}
-- A placeholder (a row without any number) is no reading: once accepted, it hid for weeks that nothing was measured.
select
    snapshot_id,
    tweet_id
from {{ ref('stg_engagement__snapshots') }}
where validation_passed and coalesce(likes, retweets, replies, quotes, bookmarks, views) is null
