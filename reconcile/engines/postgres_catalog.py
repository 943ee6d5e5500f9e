"""What Postgres knows of its tables: queries of its catalog, each by a table's oid ($1) unless it says otherwise."""

COLUMNS = """
    select a.attname, format_type(a.atttypid, a.atttypmod), coalesce(b.typname, t.typname),
           not a.attnotnull, a.attgenerated <> '', a.attidentity = 'a',
           quote_ident(n.nspname) || '.' || quote_ident(l.collname)
    from pg_attribute a
    join pg_type t on t.oid = a.atttypid
    left join pg_type b on t.typtype = 'd' and b.oid = t.typbasetype
    left join pg_collation l on l.oid = a.attcollation
    left join pg_namespace n on n.oid = l.collnamespace
    where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped
    order by a.attnum
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
