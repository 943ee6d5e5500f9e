select
    velocity.checkpoint_hours,
    count(*) as posts,
    {{ mean('velocity.engagement') }} as mean_engagement,
    cast(percentile_cont(0.5) within group (order by velocity.engagement) as numeric(18, 6)) as median_engagement,
    {{ mean('velocity.impressions_count') }} as mean_impressions,
    {{ mean('velocity.engagement_per_hour') }} as mean_engagement_per_hour
from {{ ref('post_velocity_tracking') }} as velocity
inner join {{ ref('measured_posts') }} as posts on velocity.tweet_id = posts.tweet_id
group by velocity.checkpoint_hours
