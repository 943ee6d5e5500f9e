{# 0 to 100: 20 log10(e + 1) + 30 min(1, e / impressions), e = likes + 5 retweets + 3 replies. NULL where either is unknown. #}
{% macro viral_potential_score(engagement, impressions) -%}
    cast(round(cast(
        least(100.0, greatest(0.0,
            20 * log10(cast({{ engagement }} + 1 as {{ double() }}))
            + 30 * least(1.0, cast({{ engagement }} as {{ double() }}) / nullif({{ impressions }}, 0))
        ))
        * case when {{ engagement }} is null or coalesce({{ impressions }}, 0) = 0 then null else 1 end
    as numeric(18, 6)), 0) as bigint)
{%- endmacro %}

{#
  (0.5 fpki + 0.3 retweets/impressions + 0.15 replies/impressions) min(1, 1000/impressions), fpki = followers gained per
  1,000 impressions. The old formula's novelty and duplication terms are left out: nothing in staging measures them, and
  an invented term would be learned from. NULL where the followers gained are unknown.
#}
{% macro reward_composite(follows, retweets, replies, impressions) -%}
    cast((
        0.5 * 1000 * cast({{ follows }} as {{ double() }}) / nullif({{ impressions }}, 0)
        + 0.3 * cast({{ retweets }} as {{ double() }}) / nullif({{ impressions }}, 0)
        + 0.15 * cast({{ replies }} as {{ double() }}) / nullif({{ impressions }}, 0)
    ) * least(1.0, cast(1000 as {{ double() }}) / nullif({{ impressions }}, 0)) as numeric(18, 6))
{%- endmacro %}
