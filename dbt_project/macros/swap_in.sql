{#
  Put a new relation in the place of the one of that name, in the transaction that made it. Postgres drops the views over a
  relation with it, and so would take away what readers use: a view is replaced in place where its columns allow that,
  and otherwise the views over a relation are made again over the new one. Grants are kept. A view that reads a column
  which is gone cannot be kept: dbt warns and names it.
#}
{% macro swap_in(fresh, target) %}
    {%- set spare = make_backup_relation(target, 'table').identifier -%}
    {%- do run_query(function_swap_in()) -%}
    {%- set lost = run_query(
        "select unnest(pg_temp.swap_in('" ~ fresh | replace("'", "''") ~ "'::regclass, '" ~ target.schema ~ "', '"
        ~ target.identifier ~ "', '" ~ spare ~ "'))"
    ) -%}
    {%- for view in lost.columns[0].values() -%}
        {%- do exceptions.warn(target ~ ' has new columns, and a view over it could not be kept: ' ~ view) -%}
    {%- endfor -%}
{% endmacro %}


{% macro function_swap_in() %}
create or replace function pg_temp.swap_in(fresh regclass, inside text, called text, spare text) returns text[] language plpgsql as $swap$
declare
    held regclass := to_regclass(format('%I.%I', inside, called));
    kinds constant jsonb := '{"r": "table", "p": "table", "v": "view", "m": "materialized view", "f": "foreign table"}';
    kind text;
    above regclass[];
    definitions text[];
    privilege record;
    lost text[] := '{}';
begin
    if held is null then
        execute format('alter table %s rename to %I', fresh, called);
        return lost;
    end if;
    select relkind into kind from pg_class where oid = held;

    if kind = 'v' and (select relkind = 'v' from pg_class where oid = fresh) then
        begin
            execute format('create or replace view %s as %s', held, pg_get_viewdef(fresh));
            execute format('drop view %s', fresh);
            return lost;
        exception when invalid_table_definition then null; -- a column is gone, or has another name, place or type
        end;
    end if;

    -- the views over it, as they name it now (a template of format). A reader locks a view before what it reads, and so does
    -- this
    select
        coalesce(array_agg(views.oid::regclass order by views.oid), '{}'),
        array_agg(format(
            'create or replace view %%s %s as %s',
            'with (' || array_to_string(views.reloptions, ', ') || ')',
            replace(pg_get_viewdef(views.oid), '%', '%%')
        ) order by views.oid)
    into above, definitions
    from pg_class as views
    where views.relkind = 'v' and views.oid <> held and views.oid in (
        select pg_rewrite.ev_class from pg_depend
        inner join pg_rewrite on pg_depend.objid = pg_rewrite.oid and pg_depend.classid = 'pg_rewrite'::regclass
        where pg_depend.refclassid = 'pg_class'::regclass and pg_depend.refobjid = held
    );
    for i in 1 .. cardinality(above) loop
        execute format(definitions[i], above[i]);
    end loop;

    for privilege in
        select privilege_type, grantee::regrole as role, grantee, is_grantable
        from pg_class, aclexplode(relacl)
        where pg_class.oid = held and grantee <> relowner
    loop
        execute format(
            'grant %s on %s to %s %s',
            privilege.privilege_type, fresh,
            case when privilege.grantee = 0 then 'public' else privilege.role::text end,
            case when privilege.is_grantable then 'with grant option' end
        );
    end loop;
    execute format('alter table %s rename to %I', held, spare);
    execute format('alter table %s rename to %I', fresh, called);

    for i in 1 .. cardinality(above) loop
        lost := lost || pg_temp.keep_view(above[i], definitions[i]);
    end loop;
    execute format('drop %s %s cascade', kinds ->> kind, held);
    return lost;
end
$swap$;

create or replace function pg_temp.keep_view(view regclass, definition text) returns text[] language plpgsql as $keep$
declare
    inside constant text := (select relnamespace::regnamespace from pg_class where oid = view);
    called constant text := (select relname from pg_class where oid = view);
    another constant text := left(called, 54) || '__kept';
begin
    begin
        execute format(definition, view);
        return '{}';
    exception when invalid_table_definition then null; -- it shows a column that has another type now
    end;
    execute format(definition, format('%s.%I', inside, another));
    return pg_temp.swap_in(to_regclass(format('%s.%I', inside, another)), trim('"' from inside), called, left(called, 54) || '__gone');
exception when undefined_column or undefined_function or datatype_mismatch or cannot_coerce then
    return array[format('%s (%s)', view, sqlerrm)];
end
$keep$;
{% endmacro %}
