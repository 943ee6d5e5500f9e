{#
  Values are counted, not rows: 954 rows of which 128 held a number were once called normal. Fewer than `from_rows` rows
  say nothing yet.
#}
{% test values_are_complete(model, column_name, at_least=0.8, from_rows=50) %}
select count(*) as in_all, count({{ column_name }}) as known from {{ model }}
having count(*) >= {{ from_rows }} and count({{ column_name }}) < {{ at_least }} * count(*)
{% endtest %}
