-- Only where both the prediction and what came of it are known; real posts without replies, as its peers count them.
with outcomes as (

    select outcomes.* from {{ ref('outcomes') }} as outcomes
    inner join {{ ref('measured_posts') }} as posts on outcomes.decision_id = posts.decision_id
    where not outcomes.simulated

),

predictions as (

    select
        'generator' as predicted_by,
        'engagement' as measure,
        predicted_engagement as predicted,
        likes + retweets + replies as actual
    from outcomes

    union all

    select
        'generator' as predicted_by,
        'followers' as measure,
        predicted_followers as predicted,
        followers_gained as actual
    from outcomes

    union all

    select
        'peers' as predicted_by,
        'engagement' as measure,
        predicted_engagement as predicted,
        actual_engagement as actual
    from {{ ref('viral_predictions') }}

    union all

    select
        'peers' as predicted_by,
        'followers' as measure,
        predicted_followers as predicted,
        actual_followers as actual
    from {{ ref('viral_predictions') }}

)

select
    cast(predicted_by || ' ' || measure as {{ text() }}) as prediction_id,
    cast(predicted_by as {{ text() }}) as predicted_by,
    cast(measure as {{ text() }}) as measure,
    count(*) as predictions,
    {{ mean('abs(predicted - actual)') }} as mean_absolute_error,
    {{ mean('predicted - actual') }} as mean_error
from predictions
where predicted is not null and actual is not null
group by predicted_by, measure
