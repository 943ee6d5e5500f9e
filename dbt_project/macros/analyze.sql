{# Fresh statistics for what was just written: the next build and the next check are planned on them. #}
{% macro analyze(relation) %}{{ return(adapter.dispatch('analyze', 'levelset')(relation)) }}{% endmacro %}

{% macro default__analyze(relation) %}{% endmacro %}

{% macro postgres__analyze(relation) %}analyze {{ relation }}{% endmacro %}
