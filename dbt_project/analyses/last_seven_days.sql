-- The seed's second question: what the learning systems have of the last seven days.
select
    count(*) as total_posts,
    avg(learning_posts.likes_count) as avg_likes,
    avg(learning_posts.impressions_count) as avg_views
from {{ ref('learning_posts') }} as learning_posts
cross join {{ ref('int_as_of') }} as clock
where learning_posts.created_at > clock.as_of - interval '7 days'
