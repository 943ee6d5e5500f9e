"""Queries of Postgres' catalog, each by the oid of a table ($1) unless its comment says otherwise."""

COLUMNS = """
    select a.attname, format_type(a.atttypid, a.atttypmod), not a.attnotnull, a.attgenerated <> '',
           a.attidentity = 'a', quote_ident(n.nspname) || '.' || quote_ident(l.collname),
           not coalesce(l.collisdeterministic, true), a.atttypid::bigint
    from pg_attribute a
    left join pg_collation l on l.oid = a.attcollation
    left join pg_namespace n on n.oid = l.collnamespace
    where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped
    order by a.attnum
"""
# By oids of types ($1): what each is made of. Domains, arrays, composites, ranges and multiranges are followed to the
# types that hold their values; of each of these the name, and whether a collation that is not deterministic orders it.
TYPES = """
    with recursive
    base as (
        select oid as root, oid as type from pg_type where oid = any($1::oid[])
        union all
        select base.root, t.typbasetype from base join pg_type t on t.oid = base.type where t.typtype = 'd'
    ),
    tree as (
        select oid as root, oid as type, 0::oid as collation from pg_type where oid = any($1::oid[])
        union
        select tree.root, part.type, part.collation
        from tree
        join pg_type t on t.oid = tree.type
        cross join lateral (
            select t.typbasetype as type, t.typcollation as collation where t.typtype = 'd'
            union all
            select t.typelem, 0::oid where t.typtype = 'b' and t.typcategory = 'A' and t.typelem <> 0
            union all
            select a.atttypid, a.attcollation from pg_attribute a
            where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped
            union all
            select r.rngsubtype, r.rngcollation from pg_range r where r.rngtypid = t.oid
            union all
            select r.rngtypid, 0::oid from pg_range r where t.typtype = 'm' and r.rngmultitypid = t.oid
        ) as part
    ),
    leaves as (
        select tree.root,
               array_agg(case when t.typtype = 'e' then 'enum'
                              when t.typnamespace = 'pg_catalog'::regnamespace then t.typname::text
                              else t.typnamespace::regnamespace || '.' || t.typname end) as names,
               bool_and(t.typsend <> 0) as binary_form
        from tree join pg_type t on t.oid = tree.type
        where t.typtype in ('b', 'e', 'p') and not (t.typcategory = 'A' and t.typelem <> 0)
        group by tree.root
    )
    select base.root::bigint, b.typname, b.typtype,
           case when leaves.binary_form then quote_ident(n.nspname) || '.' || quote_ident(f.proname) end,
           leaves.names,
           exists (select from tree join pg_collation l on l.oid = tree.collation
                   where tree.root = base.root and not l.collisdeterministic)
    from base
    join pg_type b on b.oid = base.type and b.typtype <> 'd'
    left join leaves on leaves.root = base.root
    -- a few types use the function of another type, which SQL cannot call for them
    left join pg_proc f on f.oid = b.typsend
        and (f.proargtypes[0] = b.oid or (select typtype = 'p' from pg_type where oid = f.proargtypes[0]))
    left join pg_namespace n on n.oid = f.pronamespace
"""
UNIQUE = """
    select array_agg(a.attname::text order by a.attname), bool_and(a.attnotnull)
    from pg_index i
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey)
    where i.indrelid = $1 and i.indisunique and i.indisvalid and i.indimmediate
      and i.indpred is null and i.indexprs is null and i.indnatts = i.indnkeyatts
    group by i.indexrelid
"""
LEADING = """
    select array_agg(a.attname::text)
    from pg_index i
    cross join unnest(i.indkey::int[]) with ordinality as k (attnum, place)
    join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
    where i.indrelid = $1 and i.indisvalid and i.indpred is null and k.place <= $2
    group by i.indexrelid
"""
BOUND = """
    select 'a foreign key of ' || conrelid::regclass from pg_constraint where confrelid = $1 and contype = 'f'
    union all
    select 'the trigger ' || tgname from pg_trigger where tgrelid = $1 and not tgisinternal
"""
HISTOGRAM = """
    select b.bound from pg_stats s
    join pg_class c on c.relname = s.tablename and c.relnamespace = quote_ident(s.schemaname)::regnamespace
    cross join unnest(s.histogram_bounds::text::text[]) with ordinality as b (bound, place)
    where c.oid = to_regclass($1)::oid and s.attname = $2 and not s.inherited
    order by b.place
"""
ROW_COUNTS = """
    select coalesce(sum(pg_stat_get_xact_tuples_inserted(oid)), 0),
           coalesce(sum(pg_stat_get_xact_tuples_updated(oid)), 0),
           coalesce(sum(pg_stat_get_xact_tuples_deleted(oid)), 0)
    from (select $1::oid as oid union select relid from pg_partition_tree($1::oid)) as parts
"""
RULES = """
    select 'trigger ' || tgname, pg_get_triggerdef(oid) || case tgenabled when 'D' then ' disabled' else '' end
    from pg_trigger where tgrelid = $1 and not tgisinternal
    union all
    select 'rule ' || rulename, pg_get_ruledef(oid) from pg_rewrite where ev_class = $1 and rulename <> '_RETURN'
    union all
    select case when conrelid = $1 then 'constraint ' || conname
                else 'foreign key ' || conname || ' on ' || conrelid::regclass end,
           pg_get_constraintdef(oid)
    from pg_constraint where conrelid = $1 or confrelid = $1
    union all
    select 'policy ' || polname, polcmd::text || ' ' || coalesce(pg_get_expr(polqual, polrelid), '') || ' '
           || coalesce(pg_get_expr(polwithcheck, polrelid), '') from pg_policy where polrelid = $1
    union all
    select 'row security', case when relforcerowsecurity then 'forced' when relrowsecurity then 'enabled' else 'off' end
    from pg_class where oid = $1
    union all
    select 'column number of ' || attname, attnum::text
    from pg_attribute where attrelid = $1 and attnum > 0 and not attisdropped
    order by 1
"""
# 28: the bits of tgtype for insert, delete and update; a trigger on truncate alone writes no row. An insert into a
# partitioned table fires the triggers of its partitions, and a SELECT reads tables that inherit like partitions.
REWRITERS = """
    select distinct 'trigger', tgname::text
    from pg_trigger
    where tgrelid in (select $1::oid union select relid from pg_partition_tree($1::oid))
      and not tgisinternal and tgenabled <> 'D' and tgtype & 28 <> 0
      and tgfoid <> 'pg_catalog.suppress_redundant_updates_trigger'::regproc
    union all
    select 'rule', rulename::text from pg_rewrite
    where ev_class = $1 and rulename <> '_RETURN' and ev_enabled <> 'D'
    union all
    select 'child table', inhrelid::regclass::text
    from pg_inherits join pg_class on pg_class.oid = inhrelid
    where inhparent = $1 and not relispartition
    union all
    select distinct 'foreign key', conname::text
    from pg_constraint
    where conrelid in (select $1::oid union select relid from pg_partition_tree($1::oid)) and contype = 'f'
      and (confdeltype in ('c', 'n', 'd') or confupdtype in ('c', 'n', 'd'))
    order by 1 desc, 2
"""
REFERENCES = """
    select conrelid::regclass::text,
           (select array_agg(a.attname::text order by k.place) from unnest(conkey) with ordinality as k (attnum, place)
            join pg_attribute a on a.attrelid = conrelid and a.attnum = k.attnum),
           (select array_agg(a.attname::text order by k.place) from unnest(confkey) with ordinality as k (attnum, place)
            join pg_attribute a on a.attrelid = confrelid and a.attnum = k.attnum),
           case confdeltype when 'c' then 'delete' when 'n' then 'set null' when 'd' then 'set default' end
    from pg_constraint
    where confrelid = $1 and contype = 'f' and conparentid = 0
      and (confdeltype in ('c', 'n', 'd') or confupdtype in ('c', 'n', 'd'))
    order by 1, conname
"""

FUNCTIONS_OF_USERS = """
    select distinct p.proname::text
    from pg_catalog.pg_proc p
    where p.proname = any($1::text[]) and p.oid >= 16384 and not exists (
        select 1 from pg_catalog.pg_depend d
        where d.classid = 'pg_catalog.pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
"""
VOLATILE_TYPES = """
    select p.proname::text,
           coalesce(min(pg_catalog.format_type(p.prorettype, null)) filter (where p.pronargs = 0),
                    min(pg_catalog.format_type(p.prorettype, null)))
    from pg_catalog.pg_proc p
    where p.proname = any($1::text[]) and p.prokind = 'f' and p.provolatile = 'v' and not p.proretset
    group by 1
"""
# name, whether Postgres itself calls it volatile, and the source. Built-in stable functions that read the clock are
# spelled out in a plan (age(t) is inlined to CURRENT_DATE), so only those of users are opened.
FUNCTIONS_THAT_MAY_VARY = """
    select p.proname::text, p.provolatile = 'v',
           case when p.prosrc = '' then pg_catalog.pg_get_functiondef(p.oid) else p.prosrc end
    from pg_catalog.pg_proc p
    where p.proname = any($1::text[])
      and p.prokind in ('f', 'w')
      and (p.provolatile = 'v' or p.provolatile = 's' and p.oid >= 16384)
    order by 1, 2 desc
"""
