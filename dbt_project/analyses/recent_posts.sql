-- The seed's first question: what was measured in the last 24 hours. It counts back from the newest reading (or var
-- as_of), so that a scraper that has stopped is seen by what it last saw; `dbt source freshness` compares with the
-- wall's clock.
select
    learning_posts.tweet_id,
    learning_posts.likes_count,
    learning_posts.retweets_count,
    learning_posts.impressions_count,
    learning_posts.updated_at
from {{ ref('learning_posts') }} as learning_posts
cross join {{ ref('int_as_of') }} as clock
where learning_posts.updated_at > clock.as_of - interval '24 hours'
order by learning_posts.updated_at desc, learning_posts.tweet_id asc
