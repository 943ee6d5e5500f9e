with learning_posts as (

    select * from {{ ref('learning_posts') }}

),

tweet_metrics as (

    select * from {{ ref('tweet_metrics') }}
    where thread_position = 0

),

-- the two tables hold the same tweets: the old optimizers put one under the other and counted every tweet twice
joined as (

    select
        learning_posts.tweet_id,
        learning_posts.decision_id,
        learning_posts.decision_type,
        learning_posts.content,
        learning_posts.topic,
        learning_posts.likes_count,
        learning_posts.retweets_count,
        learning_posts.replies_count,
        learning_posts.impressions_count,
        learning_posts.likes_count + learning_posts.retweets_count + learning_posts.replies_count as engagement,
        tweet_metrics.engagement_rate,
        learning_posts.posted_at,
        {{ local_time('learning_posts.posted_at') }} as posted_locally_at
    from learning_posts
    inner join tweet_metrics on learning_posts.tweet_id = tweet_metrics.tweet_id
    where learning_posts.decision_type <> 'reply'

)

select
    tweet_id,
    decision_id,
    decision_type,
    content,
    topic,
    likes_count,
    retweets_count,
    replies_count,
    impressions_count,
    engagement,
    engagement_rate,
    cast(extract(hour from posted_locally_at) as integer) as post_hour,
    {{ iso_weekday('posted_locally_at') }} as post_weekday,
    cast(posted_locally_at as date) as post_date,
    posted_at
from joined
