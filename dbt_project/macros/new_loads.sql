{#
  What reached staging since the last build of this table: what was loaded at the newest instant behind it or later, and what
  belongs to a load package that no build of it has seen. The second is for a package that became visible after one with a
  greater id was built: of a loader on another host, or after a clock that was ahead was set right. dlt lists the
  packages in its table _dlt_loads, when they are complete.
#}
{% macro newly_loaded(relation) -%}
    (
        select * from {{ relation }} where loaded_at >= {{ last_loaded_at() }}
        union all
        select * from {{ relation }} where loaded_at < {{ last_loaded_at() }} and load_id in ({{ loads_to_build() }})
    )
{%- endmacro %}


{% macro loads_to_build() %}{{ return(adapter.dispatch('loads_to_build', 'levelset')()) }}{% endmacro %}

{# No load can come in between there: one process writes to the file at a time. #}
{% macro default__loads_to_build() -%}
    {{- unseen_loads() }}
{%- endmacro %}

{# They were listed before the build read anything: see take_loads. #}
{% macro postgres__loads_to_build() %}select load_id from pg_temp.loads_to_build{% endmacro %}

{# Not on the lake: `levelset copy` brings packages there in the order of their ids. #}
{% macro spark__loads_to_build() %}select cast(null as string) as load_id{% endmacro %}


{% macro create_built_loads(schema) -%}
create table if not exists {{ schema }}.built_loads (
    model_name varchar not null, load_id varchar not null, primary key (model_name, load_id)
)
{%- endmacro %}

{% macro unseen_loads() -%}
    select load_id from staging._dlt_loads
    except
    select load_id from {{ this.schema }}.built_loads where model_name = '{{ this.identifier }}'
{%- endmacro %}


{# After a build: the packages that it has taken are remembered, in the same transaction. #}
{% macro remember_loads() %}{{ return(adapter.dispatch('remember_loads', 'levelset')()) }}{% endmacro %}
{% macro default__remember_loads() -%}
    insert into {{ this.schema }}.built_loads select '{{ this.identifier }}', load_id from ({{ unseen_loads() }}) as unseen
{%- endmacro %}
{% macro spark__remember_loads() %}{% endmacro %}

{# There it is done before a build reads: a package that becomes visible while it reads is the next one's. #}
{% macro postgres__remember_loads() %}{% endmacro %}

{% macro take_loads() %}
do $take$ begin
    {# two builds at once on a new database #}
    begin
        {{ create_built_loads(this.schema) }};
    exception when unique_violation or duplicate_table then null;
    end;
    create temporary table loads_to_build (load_id varchar) on commit drop;
    if to_regclass('staging._dlt_loads') is not null then
        insert into loads_to_build {{ unseen_loads() }};
        insert into {{ this.schema }}.built_loads select '{{ this.identifier }}', load_id from loads_to_build;
    end if;
end $take$;
analyze loads_to_build
{% endmacro %}
