{# The first seven words of a post. #}
{% macro hook_text(content) -%}
    cast(array_to_string((string_to_array({{ content }}, ' '))[1:7], ' ') as varchar)
{%- endmacro %}

{#
  The class of a hook, tested in this order; the last one is what is left. Patterns are anchored at both ends, because
  `~` looks for the pattern anywhere on Postgres and matches the whole text on DuckDB.
#}
{% macro hook_type(hook) -%}
    cast(case
        when {{ hook }} is null or {{ hook }} = '' then null
        when {{ hook }} ~ '^[0-9]+([.,][0-9]+)? ?%.*$' then 'percentage_first'
        when {{ hook }} ~ '^[0-9].*$' then 'number_first'
        when lower({{ hook }}) ~ '^(.*[?].*|(what|why|how|when|who|where|which) .*)$' then 'question'
        when lower({{ hook }}) ~ '^(you|your|you''re) .*$' then 'direct_address'
        when lower({{ hook }}) ~ '^(never|stop|don''t|do not|avoid|quit) .*$' then 'negative_command'
        when lower({{ hook }}) ~ '^(.* )?(now|today|urgent|immediately|right now)( .*)?$' then 'urgency'
        when lower({{ hook }}) ~ '^(.* )?(wrong|myth|lie|unpopular|contrary|nobody)( .*)?$' then 'contrarian'
        else 'statement'
    end as varchar)
{%- endmacro %}
