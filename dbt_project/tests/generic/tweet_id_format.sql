{# An id of the network: pseudo ids (posted_*, mock_*, verified_*) were once stored as real ones. #}
{% test tweet_id_format(model, column_name) %}
select {{ column_name }} from {{ model }}
where {{ column_name }} is not null and not {{ is_post_id(column_name) }}
{% endtest %}
