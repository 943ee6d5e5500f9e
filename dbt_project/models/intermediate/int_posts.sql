-- The rules are in the macro posts_of: incremental builds ask it for the touched tweets only.
with posts as (

    {{ posts_of() }}

)

select posts.* from posts
