{# Two names for one number must hold the same one: an alias column was once NULL in every row. #}
{% test columns_agree(model, pairs) %}
{% for left, right in pairs.items() %}
select '{{ left }} and {{ right }}' as pair, count(*) as rows_apart from {{ model }}
where {{ left }} is distinct from {{ right }}
having count(*) > 0
{{ 'union all' if not loop.last }}
{% endfor %}
{% endtest %}
