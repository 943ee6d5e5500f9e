{# Whether a column holds an id of the network (var network): 10 to 20 digits on X and Mastodon, an at:// URI on Bluesky. #}
{% macro is_post_id(column) -%}
    {%- if var('network') == 'bluesky' -%}
    {{ column }} {{ matches() }} '^at://[0-9a-zA-Z.:%_-]+/app[.]bsky[.]feed[.]post/[2-7a-z]{13}$'
    {%- else -%}
    {{ column }} {{ matches() }} '^[0-9]{10,20}$'
    {%- endif -%}
{%- endmacro %}
