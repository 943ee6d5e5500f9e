{{ config(store_failures=true) }}
-- A reply's own tweet is not the tweet that it answers: replies once showed their parents' likes.
select
    decision_id,
    tweet_id,
    target_tweet_id
from {{ ref('stg_engagement__decisions') }}
where tweet_id = target_tweet_id
