select
    snapshot_id as reading_id,
    account_id,
    follower_count,
    following_count,
    tweet_count,
    source,
    {{ utc('snapshot_at') }} as read_at,
    {{ dlt_loaded_at() }} as loaded_at,
    _dlt_load_id as load_id
from {{ source('engagement', 'follower_snapshots') }}
