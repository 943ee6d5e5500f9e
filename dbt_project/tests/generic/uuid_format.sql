{# A decision's id is a uuid: the column once held the row id ("70") of another table. #}
{% test uuid_format(model, column_name) %}
select {{ column_name }} from {{ model }}
where not {{ column_name }} {{ matches() }} '^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$'
{% endtest %}
