"""What capture keeps in the database, in schema ``reconcile``: the slot's position, the tables published, the models
vouched for and their dirty keys. All of it can be dropped: every model is swept once then."""

from __future__ import annotations

from reconcile.engines.own_schema import SCHEMA

CAP = 100_000  # dirty keys of a model; beyond that a sweep is cheaper

TABLES = (
    # position: up to where changes were stored; the slot may stand before it, never after
    f"""create table if not exists {SCHEMA}.capture (
        slot text primary key, system text not null, position pg_lsn not null,
        read_at timestamp with time zone not null default current_timestamp
    )""",
    # since_xid: every transaction that may have written to it unseen had begun before this one
    f"""create table if not exists {SCHEMA}.capture_table (
        slot text not null, oid oid not null, relation text not null, identity text not null, since_xid bigint not null,
        primary key (slot, oid)
    )""",
    # sweep: which run is proving it level; NULL once it is vouched for. tables: relation -> [oid, file node]
    f"""create table if not exists {SCHEMA}.capture_model (
        slot text not null, model text not null, sweep text, fingerprint text not null, key text[] not null,
        tables jsonb not null, mappings jsonb not null, since_lsn pg_lsn,
        since timestamp with time zone not null default current_timestamp, primary key (slot, model)
    )""",
    # key {}: any key may have changed, because of why. xid: the transaction that changed it; 0: it had drifted when it
    # was compared; below 0: all that had begun before that transaction
    f"""create table if not exists {SCHEMA}.capture_key (
        slot text not null, model text not null, key text[] not null, xid bigint not null, why text,
        primary key (slot, model, key, xid)
    )""",
)
NAMES = tuple(f"{SCHEMA}.{name}" for name in ("capture_key", "capture_model", "capture_table", "capture"))

# A relation's identity in one row: oid, file node, what an update or delete of it tells ('' nothing, 'full' every
# column, else the columns of a key), why it cannot be captured
TABLE = """
    select c.oid::bigint, coalesce(pg_relation_filenode(c.oid), 0)::bigint,
           case c.relreplident
               when 'f' then 'full'
               when 'n' then ''
               else coalesce((
                   select string_agg(quote_ident(a.attname), ', ' order by a.attnum)
                   from pg_index i
                   join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey)
                   where i.indrelid = c.oid and i.indisvalid
                     and case c.relreplident when 'd' then i.indisprimary else i.indisreplident end
               ), '')
           end,
           case
               when c.relkind = 'p' then 'it is partitioned'
               when c.relkind <> 'r' then 'it is no table'
               when c.relpersistence <> 'p' then 'it is not written to the log (unlogged or temporary)'
           end,
           c.oid::regclass::text
    from pg_class c
    where c.oid = to_regclass($1)::oid
"""
# Changes in the order of their commits, and each commit after its own; where they begin does not matter.
# Arguments: slot, up to where, about how many, publication, how many rows at most.
CHANGES = """
    select xid::text::bigint, data
    from pg_logical_slot_peek_binary_changes($1, $2::pg_lsn, $3, 'proto_version', '1', 'publication_names', $4)
    where get_byte(data, 0) <> 66
    limit $5
"""
