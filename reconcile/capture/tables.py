"""The tables of capture, in schema ``reconcile``: the slot's position, the published tables, the models proven level
and their dirty keys. All of them can be dropped: every model is swept once afterwards."""

from __future__ import annotations

from reconcile.engines.own_schema import SCHEMA

CAP = 100_000  # dirty keys per model; beyond that a sweep is cheaper

TABLES = (
    # position: changes up to here are stored; the slot's own position is never after it
    f"""create table if not exists {SCHEMA}.capture (
        slot text primary key, system text not null, position pg_lsn not null,
        read_at timestamp with time zone not null default current_timestamp
    )""",
    # since_xid: changes by transactions older than this may have been missed. membership: oid in pg_publication_rel; a
    # table that left the publication and came back has another one
    f"""create table if not exists {SCHEMA}.capture_table (
        slot text not null, oid oid not null, relation text not null, identity text not null,
        membership oid not null, since_xid bigint not null, primary key (slot, oid)
    )""",
    # sweep: the run that is proving it level; NULL once it is proven. tables: relation -> [oid, file node]. depends,
    # state: see engines.postgres_dependencies and proof_state. key_types: as they cast
    f"""create table if not exists {SCHEMA}.capture_model (
        slot text not null, model text not null, sweep text, fingerprint text not null, key text[] not null,
        key_types text[] not null, tables jsonb not null, mappings jsonb not null, depends jsonb not null,
        state jsonb not null, since_lsn pg_lsn, since timestamp with time zone not null default current_timestamp,
        audited_keys bigint not null default 0, audited_since timestamp with time zone,
        checked_at timestamp with time zone not null default current_timestamp, primary key (slot, model)
    )""",
    # key: canonical texts, of any length, so the index holds their hash. key {}: any key may have changed, because of
    # why. xid: the transaction that changed it; 0: it had drifted when it was compared; below 0: all that had begun
    # before that transaction
    f"""create table if not exists {SCHEMA}.capture_key (
        slot text not null, model text not null, hash uuid not null, key text[] not null, xid bigint not null, why text,
        primary key (slot, model, hash, xid)
    )""",
)
NAMES = tuple(f"{SCHEMA}.{name}" for name in ("capture_key", "capture_model", "capture_table", "capture"))

# Changes in the order of their commits, each commit message after its changes, without BEGIN messages (66 is "B").
# Arguments: slot, up to where, about how many, publication, how many rows at most.
CHANGES = """
    select xid::text::bigint, data
    from pg_logical_slot_peek_binary_changes($1, $2::pg_lsn, $3, 'proto_version', '1', 'publication_names', $4)
    where get_byte(data, 0) <> 66
    limit $5
"""
# The transactions of all changes up to a position: used when there are too many changes to read.
CHANGING_TRANSACTIONS = """
    select distinct xid::text::bigint
    from pg_logical_slot_peek_binary_changes($1, $2::pg_lsn, null, 'proto_version', '1', 'publication_names', $3)
"""
