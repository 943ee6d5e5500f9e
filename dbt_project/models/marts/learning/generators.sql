select
    outcomes.generator_used,
    count(*) as posts,
    {{ mean('outcomes.engagement_rate') }} as mean_engagement_rate,
    {{ mean('outcomes.likes + outcomes.retweets + outcomes.replies') }} as mean_engagement,
    {{ mean('outcomes.impressions') }} as mean_impressions,
    {{ mean('outcomes.followers_gained') }} as mean_followers_gained
from {{ ref('outcomes') }} as outcomes
inner join {{ ref('measured_posts') }} as posts on outcomes.decision_id = posts.decision_id
where outcomes.generator_used is not null and not outcomes.simulated
group by outcomes.generator_used
