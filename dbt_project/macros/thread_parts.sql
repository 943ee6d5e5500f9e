{# One row a part of each thread: decision_id, position (from 0), tweet_id, content. #}
{% macro thread_parts(relation) %}{{ return(adapter.dispatch('thread_parts', 'levelset')(relation)) }}{% endmacro %}

{% macro default__thread_parts(relation) %}
    select
        threads.decision_id,
        parts.position - 1 as position,
        json_extract_string(threads.thread_tweet_ids, '$[' || (parts.position - 1) || ']') as tweet_id,
        json_extract_string(threads.thread_parts, '$[' || (parts.position - 1) || ']') as content
    from {{ relation }} as threads,
        lateral (select unnest(range(1, cast(json_array_length(threads.thread_tweet_ids) as bigint) + 1)) as position) as parts
    where json_type(threads.thread_tweet_ids) = 'ARRAY'
{% endmacro %}

{% macro postgres__thread_parts(relation) %}
    select
        threads.decision_id,
        parts.position - 1 as position,
        parts.tweet_id,
        threads.thread_parts ->> cast(parts.position - 1 as integer) as content
    from {{ relation }} as threads
    cross join lateral jsonb_array_elements_text(
        case when jsonb_typeof(threads.thread_tweet_ids) = 'array' then threads.thread_tweet_ids else '[]' end
    ) with ordinality as parts (tweet_id, position)
{% endmacro %}

{% macro spark__thread_parts(relation) %}
    select
        decision_id,
        position,
        get(ids, position) as tweet_id,
        get(contents, position) as content
    from (
        select
            decision_id,
            from_json(thread_tweet_ids, 'array<string>') as ids,
            from_json(thread_parts, 'array<string>') as contents,
            explode(sequence(0, json_array_length(thread_tweet_ids) - 1)) as position
        from {{ relation }} as threads
        where json_array_length(thread_tweet_ids) > 0
    ) as parts
{% endmacro %}
