{# A tweet id is 10 to 20 digits: pseudo ids (posted_*, mock_*, verified_*) were once stored as real ones. #}
{% test tweet_id_format(model, column_name) %}
select {{ column_name }} from {{ model }}
where {{ column_name }} is not null and not {{ column_name }} ~ '^[0-9]{10,20}$'
{% endtest %}
