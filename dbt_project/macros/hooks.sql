{# The first seven words of a post, with one blank between them: a line break ends a word as a blank does. #}
{% macro hook_text(content) %}{{ return(adapter.dispatch('hook_text', 'levelset')(words(content))) }}{% endmacro %}
{% macro default__hook_text(words) -%}
    cast(array_to_string((string_to_array({{ words }}, ' '))[1:7], ' ') as {{ text() }})
{%- endmacro %}
{% macro spark__hook_text(words) -%}
    array_join(slice(split({{ words }}, ' '), 1, 7), ' ')
{%- endmacro %}

{# Blanks, tabs and line breaks as one blank, and none at either end. Not `\s`: engines count different characters to it. #}
{% macro words(content) %}{{ return(adapter.dispatch('words', 'levelset')(content)) }}{% endmacro %}
{% macro default__words(content) %}trim(regexp_replace({{ content }}, '[ \t\n\r]+', ' ', 'g')){% endmacro %}
{% macro spark__words(content) %}trim(regexp_replace({{ content }}, '[ \t\n\r]+', ' ')){% endmacro %}

{#
  The class of a hook, tested in this order; the last one is what is left. Patterns are anchored at both ends, because
  `~` looks for the pattern anywhere on Postgres and matches the whole text on DuckDB; under (?s) a point is any character.
#}
{% macro hook_type(hook) -%}
    cast(case
        when {{ hook }} is null or {{ hook }} = '' then null
        when {{ hook }} {{ matches() }} '(?s)^[0-9]+([.,][0-9]+)? ?%.*$' then 'percentage_first'
        when {{ hook }} {{ matches() }} '(?s)^[0-9].*$' then 'number_first'
        when lower({{ hook }}) {{ matches() }} '(?s)^(.*[?].*|(what|why|how|when|who|where|which) .*)$' then 'question'
        when lower({{ hook }}) {{ matches() }} '(?s)^(you|your|you''re) .*$' then 'direct_address'
        when lower({{ hook }}) {{ matches() }} '(?s)^(never|stop|don''t|do not|avoid|quit) .*$' then 'negative_command'
        when lower({{ hook }}) {{ matches() }} '(?s)^(.* )?(now|today|urgent|immediately|right now)( .*)?$' then 'urgency'
        when lower({{ hook }}) {{ matches() }} '(?s)^(.* )?(wrong|myth|lie|unpopular|contrary|nobody)( .*)?$' then 'contrarian'
        else 'statement'
    end as {{ text() }})
{%- endmacro %}
