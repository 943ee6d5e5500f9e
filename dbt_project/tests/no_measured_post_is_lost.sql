{{ config(store_failures=true) }}
-- Every accepted reading of a known tweet must have reached both tables that the learning systems read.
-- This is the incident the project exists for: writers filled one pair of tables, readers read another.
with measured as (

    select distinct snapshots.tweet_id
    from {{ ref('stg_engagement__snapshots') }} as snapshots
    inner join {{ ref('int_posts') }} as posts on snapshots.tweet_id = posts.tweet_id
    where snapshots.validation_passed

)

select measured.tweet_id
from measured
left join {{ ref('learning_posts') }} as learning_posts on measured.tweet_id = learning_posts.tweet_id
left join {{ ref('tweet_metrics') }} as tweet_metrics on measured.tweet_id = tweet_metrics.tweet_id
where learning_posts.tweet_id is null or tweet_metrics.tweet_id is null
