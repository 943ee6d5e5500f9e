{#
  On Postgres, two builds of one relation take turns, from before they read until they commit: the second one would else
  write what it had read before the first one's rows were there. A build takes its turn before it locks anything: it would
  else hold what the other one waits for. The wait is bounded (var `build_wait`, seconds), and its end says who builds.
  DuckDB lets one process write at a time anyway.
#}
{% macro take_turns(relation) %}
    {%- set name = (relation.schema ~ '.' ~ relation.identifier) | replace("'", "''") -%}
do $turns$
declare
    family constant integer := hashtext('levelset build');
    tableid constant integer := hashtext('{{ name }}');
    waiting constant text := current_setting('lock_timeout');
    builder text;
begin
    perform set_config('lock_timeout', '{{ var("build_wait", 600) | int }}s', true);
    perform pg_advisory_xact_lock(family, tableid);
    perform set_config('lock_timeout', waiting, true);
exception when lock_not_available then
    select format('process %s of user %s, since %s', activity.pid, activity.usename, activity.xact_start)
    into builder
    from pg_locks as held inner join pg_stat_activity as activity on held.pid = activity.pid
    where held.locktype = 'advisory' and held.granted
        and held.classid = (family::bigint & 4294967295)::oid and held.objid = (tableid::bigint & 4294967295)::oid
    limit 1;
    raise exception '{{ name }} is being built by another session (%): build again when it is done', coalesce(builder, 'ended by now');
end
$turns$
{% endmacro %}
