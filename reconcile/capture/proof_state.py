"""The state on which a proof rests, as digests by what they describe: a difference names what changed.

A proof is stored with the state in which it was made. Every capture check computes the state again, after its snapshot
began: a change that the log of rows does not show (DDL, the publication, a setting) is then a difference here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from reconcile.engines.postgres import PostgresEngine

State = dict[str, str]

# Settings that change the result of a stable function, a cast or a name. The session's defaults are compared, which
# "set" does not change: our own sessions pin some of them.
_SETTINGS = (
    *("TimeZone", "DateStyle", "IntervalStyle", "extra_float_digits", "bytea_output", "search_path", "array_nulls"),
    *("lc_monetary", "lc_numeric", "lc_time", "default_text_search_config", "xmloption", "xmlbinary", "row_security"),
    *("standard_conforming_strings", "timezone_abbreviations", "transform_null_equals", "server_version_num"),
    "quote_all_identifiers",
)

# Arguments: ids of tables, views, functions, types (each bigint[]), the slot's name, names of settings, names of
# functions. A new function, operator or cast may fit a call better than the one that it was resolved to.
# System columns xmin and oid are compared where a change and its opposite must not go unnoticed: any ALTER PUBLICATION
# writes a new row version, and a table that left a publication and came back has a new membership.
_STATE = """
with recursive used_types (oid) as (
    (
        select unnest($4::bigint[]::oid[])
        union
        select atttypid from pg_catalog.pg_attribute
        where attrelid = any(($1::bigint[] || $2::bigint[])::oid[]) and attnum > 0 and atttypid >= 16384
    )
    union
    select part.oid
    from used_types join pg_catalog.pg_type t on t.oid = used_types.oid
    cross join lateral (
        select t.typbasetype
        union all select t.typelem
        union all select a.atttypid from pg_catalog.pg_attribute a where a.attrelid = t.typrelid and a.attnum > 0
        union all select r.rngsubtype from pg_catalog.pg_range r where r.rngtypid = t.oid
        union all select r.rngtypid from pg_catalog.pg_range r where r.rngmultitypid = t.oid
    ) as part (oid)
    where part.oid >= 16384
), parts (what, body) as (
    select case c.relkind when 'v' then 'view ' else 'table ' end || c.oid::regclass,
           concat_ws('|', c.oid, c.relkind, pg_catalog.pg_relation_filenode(c.oid),
           c.relreplident, c.relpersistence, c.relrowsecurity, c.relforcerowsecurity,
           pg_catalog.row_security_active(c.oid), c.relowner, case c.relkind when 'v' then c.reloptions::text end)
    from pg_catalog.pg_class c where c.oid = any(($1::bigint[] || $2::bigint[])::oid[])
    union all
    select 'column ' || a.attname || ' of ' || a.attrelid::regclass,
           concat_ws('|', a.attnum, a.atttypid, a.atttypmod, a.attcollation, a.attnotnull, a.attidentity,
                     a.attgenerated, a.attmissingval::text,
                     case when a.attgenerated <> '' then (
                         select pg_catalog.pg_get_expr(d.adbin, d.adrelid) from pg_catalog.pg_attrdef d
                         where d.adrelid = a.attrelid and d.adnum = a.attnum
                     ) end)
    from pg_catalog.pg_attribute a
    where a.attrelid = any(($1::bigint[] || $2::bigint[])::oid[]) and a.attnum > 0 and not a.attisdropped
    union all
    select 'constraint ' || n.conname || ' of ' || n.conrelid::regclass,
           concat_ws('|', n.oid, n.convalidated, pg_catalog.pg_get_constraintdef(n.oid))
    from pg_catalog.pg_constraint n where n.conrelid = any($1::bigint[]::oid[])
    union all
    select 'index ' || i.indexrelid::regclass || ' of ' || i.indrelid::regclass,
           concat_ws('|', i.indexrelid, i.indisvalid, i.indisreplident, i.indimmediate)
    from pg_catalog.pg_index i where i.indrelid = any($1::bigint[]::oid[]) and i.indisunique
    union all
    select 'policy ' || p.polname || ' of ' || p.polrelid::regclass,
           concat_ws('|', p.oid, p.polcmd, p.polpermissive, p.polroles::text,
                     pg_catalog.pg_get_expr(p.polqual, p.polrelid), p.xmin)
    from pg_catalog.pg_policy p where p.polrelid = any($1::bigint[]::oid[])
    union all
    select 'inheritance of ' || h.inhrelid::regclass, concat_ws('|', h.inhrelid, h.inhparent, h.inhseqno)
    from pg_catalog.pg_inherits h
    where h.inhrelid = any($1::bigint[]::oid[]) or h.inhparent = any($1::bigint[]::oid[])
    union all
    select 'the name ' || c.relname, c.oid::text
    from pg_catalog.pg_class c
    where c.relname = any(array(select o.relname from pg_catalog.pg_class o
                                where o.oid = any(($1::bigint[] || $2::bigint[])::oid[])))
      and c.relnamespace = any(array(select quote_ident(s)::regnamespace::oid from unnest(current_schemas(true)) as s))
    union all
    select 'view ' || r.ev_class::regclass, concat_ws('|', r.ev_class, r.xmin, md5(r.ev_action::text))
    from pg_catalog.pg_rewrite r where r.ev_class = any($2::bigint[]::oid[])
    union all
    select 'the functions of the database', string_agg(concat_ws('|', p.oid, p.xmin), ',' order by p.oid)
    from pg_catalog.pg_proc p where cardinality($3::bigint[]) > 0 and p.oid >= 16384
    having count(*) > 0
    union all
    select 'the function ' || p.proname, concat_ws('|', p.oid, p.xmin)
    from pg_catalog.pg_proc p where p.proname = any($7::text[]) and p.oid >= 16384
    union all
    select 'an operator', concat_ws('|', o.oid, o.xmin) from pg_catalog.pg_operator o where o.oid >= 16384
    union all
    select 'a cast', concat_ws('|', o.oid, o.xmin) from pg_catalog.pg_cast o where o.oid >= 16384
    union all
    select 'a collation', concat_ws('|', o.oid, o.xmin) from pg_catalog.pg_collation o where o.oid >= 16384
    union all
    select 'an operator class', concat_ws('|', o.oid, o.xmin) from pg_catalog.pg_opclass o where o.oid >= 16384
    union all
    select 'the extension ' || x.extname, x.extversion from pg_catalog.pg_extension x
    union all
    select 'the type name ' || y.typname, concat_ws('|', y.oid, y.typnamespace) from pg_catalog.pg_type y
    where y.typname = any(array(select o.typname from pg_catalog.pg_type o where o.oid = any($4::bigint[]::oid[])))
    union all
    select 'type ' || y.oid::regtype, concat_ws('|', y.oid, y.typbasetype, y.typtypmod, y.typnotnull, y.typcollation,
           (select string_agg(concat_ws('|', a.attnum, a.attname, a.atttypid, a.atttypmod, a.attcollation), ','
                              order by a.attnum)
            from pg_catalog.pg_attribute a where a.attrelid = y.typrelid and a.attnum > 0 and not a.attisdropped),
           (select string_agg(concat_ws('|', e.oid, e.enumlabel, e.enumsortorder), ',' order by e.enumsortorder)
            from pg_catalog.pg_enum e where e.enumtypid = y.oid))
    from pg_catalog.pg_type y where y.oid = any(array(select oid from used_types))
    union all
    select 'the publication ' || p.pubname, concat_ws('|', p.oid, p.xmin, p.pubinsert, p.pubupdate, p.pubdelete,
           p.pubtruncate, p.puballtables, p.pubviaroot)
    from pg_catalog.pg_publication p where p.pubname = $5
    union all
    select 'the publication of ' || r.prrelid::regclass,
           concat_ws('|', r.oid, r.xmin, r.prattrs::text, md5(r.prqual::text))
    from pg_catalog.pg_publication_rel r
    join pg_catalog.pg_publication p on p.oid = r.prpubid and p.pubname = $5
    where r.prrelid = any($1::bigint[]::oid[])
    union all
    select 'the setting ' || s.name, s.reset_val
    from pg_catalog.pg_settings s where s.name = any($6::text[])
    union all
    select 'the default of ' || split_part(entry, '=', 1), concat_ws('|', d.setdatabase, d.setrole, entry)
    from pg_catalog.pg_db_role_setting d cross join unnest(d.setconfig) as entry
    where d.setdatabase in (0, (select oid from pg_catalog.pg_database where datname = current_database()))
      and d.setrole in (0, (select oid from pg_catalog.pg_roles where rolname = session_user))
      and lower(split_part(entry, '=', 1)) in (select lower(name) from unnest($6::text[]) as name)
    union all
    select 'the role', current_user::text
    union all
    select 'the database', concat_ws('|', d.oid, d.encoding, d.datcollate, d.datctype)
    from pg_catalog.pg_database d where d.datname = current_database()
    union all
    select 'the timeline of the server', substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8)
)
select what, md5(string_agg(coalesce(body, ''), chr(10) order by body)) from parts group by what
"""


def state_of(engine: PostgresEngine, slot: str, depends: Mapping[str, list[Any]], own: int) -> State:
    """What a proof of a model rests on now. ``depends``: see Dependencies.as_dict; ``own``: the model's own table."""
    arguments = [[*depends["tables"], own], depends["views"], depends["functions"], depends["types"], slot]
    names = depends.get("names", [])  # proofs of an older version have none, and so another state
    return {what: digest for what, digest in engine.rows(_STATE, [*arguments, list(_SETTINGS), names])}


def difference(before: State, now: State) -> str | None:
    """The first difference between two states, as a sentence; None if there is none."""
    replaced = [what for what in before if what in now and before[what] != now[what]]
    if replaced:
        return f"{min(replaced, key=_rank)} was replaced or changed"
    gone = [what for what in before if what not in now]
    if gone:
        return f"{min(gone, key=_rank)} no longer exists"
    added = [what for what in now if what not in before]
    return f"{min(added, key=_rank)} was added" if added else None


def _rank(what: str) -> tuple[bool, str]:
    """Columns before the rest: they say more than the table that holds them."""
    return not what.startswith("column "), what


def to_json(state: State) -> str:
    return json.dumps(state)
