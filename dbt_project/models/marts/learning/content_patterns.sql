{%- set patterns = {
    'generator and visual': ['generator_name', 'visual_format'],
    'generator and tone': ['generator_name', 'tone'],
    'format and angle': ['format_strategy', 'angle'],
    'tone and visual': ['tone', 'visual_format'],
    'generator, tone and visual': ['generator_name', 'tone', 'visual_format'],
} -%}

with posts as (

    select
        decisions.generator_name,
        decisions.tone,
        decisions.angle,
        decisions.visual_format,
        decisions.format_strategy,
        posts.impressions_count as impressions
    from {{ ref('measured_posts') }} as posts
    inner join {{ ref('stg_engagement__decisions') }} as decisions on posts.decision_id = decisions.decision_id
    where posts.impressions_count is not null

),

-- under 20 posts nothing is a pattern
overall as (

    select avg(impressions) as mean_impressions from posts
    having count(*) >= 20

),

combinations as (

    {% for name, columns in patterns.items() -%}
    select
        '{{ name }}' as pattern_type,
        {{ columns | join(" || ' x ' || ") }} as pattern,
        count(*) as posts,
        avg(impressions) as mean_impressions,
        stddev_samp(impressions) as spread
    from posts
    group by {{ columns | join(', ') }}
    {{ 'union all' if not loop.last }}
    {% endfor %}

),

lifted as (

    select
        combinations.*,
        combinations.mean_impressions / nullif(overall.mean_impressions, 0) as lift,
        (
            least(1.0, combinations.posts / 10.0)
            + coalesce(greatest(0.0, 1.0 - combinations.spread / nullif(combinations.mean_impressions, 0)), 0.0)
        ) / 2 as confidence
    from combinations
    cross join overall
    where combinations.pattern is not null

),

ranked as (

    select
        *,
        row_number() over (order by lift * confidence desc, pattern_type asc, pattern asc) as pattern_rank
    from lifted
    where lift >= 1.5

)

select
    cast(pattern_rank as integer) as pattern_rank,
    cast(pattern_type as {{ text() }}) as pattern_type,
    cast(pattern as {{ text() }}) as pattern,
    posts,
    cast(mean_impressions as numeric(18, 6)) as mean_impressions,
    cast(lift as numeric(18, 6)) as lift,
    cast(confidence as numeric(18, 6)) as confidence
from ranked
where pattern_rank <= 10
