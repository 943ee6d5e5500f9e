{# The first seven words of a post. #}
{% macro hook_text(content) %}{{ return(adapter.dispatch('hook_text', 'levelset')(content)) }}{% endmacro %}
{% macro default__hook_text(content) -%}
    cast(array_to_string((string_to_array({{ content }}, ' '))[1:7], ' ') as {{ text() }})
{%- endmacro %}
{% macro spark__hook_text(content) -%}
    array_join(slice(split({{ content }}, ' '), 1, 7), ' ')
{%- endmacro %}

{#
  The class of a hook, tested in this order; the last one is what is left. Patterns are anchored at both ends, because
  `~` looks for the pattern anywhere on Postgres and matches the whole text on DuckDB.
#}
{% macro hook_type(hook) -%}
    cast(case
        when {{ hook }} is null or {{ hook }} = '' then null
        when {{ hook }} {{ matches() }} '^[0-9]+([.,][0-9]+)? ?%.*$' then 'percentage_first'
        when {{ hook }} {{ matches() }} '^[0-9].*$' then 'number_first'
        when lower({{ hook }}) {{ matches() }} '^(.*[?].*|(what|why|how|when|who|where|which) .*)$' then 'question'
        when lower({{ hook }}) {{ matches() }} '^(you|your|you''re) .*$' then 'direct_address'
        when lower({{ hook }}) {{ matches() }} '^(never|stop|don''t|do not|avoid|quit) .*$' then 'negative_command'
        when lower({{ hook }}) {{ matches() }} '^(.* )?(now|today|urgent|immediately|right now)( .*)?$' then 'urgency'
        when lower({{ hook }}) {{ matches() }} '^(.* )?(wrong|myth|lie|unpopular|contrary|nobody)( .*)?$' then 'contrarian'
        else 'statement'
    end as {{ text() }})
{%- endmacro %}
