select
    snapshot_id,
    tweet_id,
    decision_id,
    collection_phase,
    status,
    verdict,
    data_source,
    likes,
    retweets,
    replies,
    quotes,
    bookmarks,
    views,
    anomaly_reasons,
    {{ utc('collected_at') }} as collected_at,
    {{ utc('posted_at') }} as posted_at,
    {{ dlt_loaded_at() }} as loaded_at
from {{ source('engagement', 'quarantined_metrics') }}
