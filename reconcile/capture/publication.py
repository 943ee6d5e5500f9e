"""The publication: which tables are published, by which columns, and that no writer is refused because of it.

Postgres refuses an UPDATE or DELETE of a published table whose replica identity the publication does not cover. A
table is published only after Postgres planned both statements on it as published; the trial is rolled back if it did
not. ``REFUSED`` finds tables whose writers are refused later: they leave the publication at the next command.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import psycopg

from reconcile.capture.changed_keys import plain
from reconcile.engines.own_schema import SCHEMA
from reconcile.engines.postgres import PostgresEngine
from reconcile.errors import EvaluationFailed

# A table in one row: name, oid, file node, the columns that an update or delete of it sends ('' none, 'full' every
# column, else those of an index), why it cannot be captured, its name as SQL. As Postgres does, an index is taken as
# replica identity only if it is valid, unique, whole and checked at once.
_TABLE = """
    select quote_ident(n.nspname) || '.' || quote_ident(c.relname), c.oid::bigint,
           coalesce(pg_catalog.pg_relation_filenode(c.oid), 0)::bigint,
           case c.relreplident
               when 'f' then 'full'
               when 'n' then ''
               else coalesce((
                   select string_agg(quote_ident(a.attname), ', ' order by a.attnum)
                   from pg_catalog.pg_index i
                   join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey)
                   where i.indrelid = c.oid and i.indisvalid and i.indisunique and i.indimmediate
                     and i.indpred is null
                     and case c.relreplident when 'd' then i.indisprimary else i.indisreplident end
               ), '')
           end,
           case
               when c.relkind = 'p' then 'it is partitioned'
               when c.relkind = 'f' then 'it is a foreign table'
               when c.relkind = 'm' then 'it is a materialized view'
               when c.relkind <> 'r' then 'it is not a table'
               when c.relpersistence <> 'p' then 'it is not written to the log (unlogged or temporary)'
               when c.oid < 16384 then 'it is a catalog of the server'
               when exists (select 1 from pg_catalog.pg_inherits h where h.inhparent = c.oid)
                   then 'tables inherit from it'
               when pg_catalog.row_security_active(c.oid) then 'its policies hide rows from this role'
           end
    from pg_catalog.pg_class c
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where c.oid = {oid}
"""
TABLE_BY_NAME = _TABLE.format(oid="to_regclass($1)::oid")
TABLE_BY_OID = _TABLE.format(oid="$1::bigint::oid")

# Published tables whose UPDATE and DELETE Postgres refuses because of the publication: without a usable replica
# identity, with an identity column that the column list leaves out (every column list, if the identity is full), with
# a row filter (ours has none), or, from version 18 on, with a generated column in a full identity.
REFUSED = """
    select c.oid::regclass::text,
           case
               when i.columns is null and c.relreplident <> 'f' then 'it has no replica identity'
               when r.prqual is not null then 'the publication filters its rows'
               when c.relreplident = 'f' and r.prattrs is null then 'its replica identity holds a generated column'
               else 'its replica identity holds columns that are not published'
           end
    from pg_catalog.pg_publication p
    join pg_catalog.pg_publication_rel r on r.prpubid = p.oid
    join pg_catalog.pg_class c on c.oid = r.prrelid
    left join lateral (
        select string_to_array(i.indkey::text, ' ')::int2[] as columns
        from pg_catalog.pg_index i
        where i.indrelid = c.oid and i.indisvalid and i.indisunique and i.indimmediate and i.indpred is null
          and case c.relreplident when 'd' then i.indisprimary when 'i' then i.indisreplident else false end
    ) as i on true
    where p.pubname = $1 and (p.pubupdate or p.pubdelete) and (
        c.relreplident <> 'f' and i.columns is null
        or r.prqual is not null
        or r.prattrs is not null
           and (c.relreplident = 'f' or not i.columns <@ string_to_array(r.prattrs::text, ' ')::int2[])
        or c.relreplident = 'f' and current_setting('server_version_num')::int >= 180000 and exists (
            select 1 from pg_catalog.pg_attribute a
            where a.attrelid = c.oid and a.attgenerated <> '' and a.attnum > 0 and not a.attisdropped
        )
    )
    order by 1
"""


@dataclass(frozen=True)
class TableState:
    """A table as capture sees it. ``identity``: the columns that its updates and deletes send ('full', or a list)."""

    relation: str
    oid: int
    file_node: int
    identity: str
    unfit: str | None

    @property
    def why_not(self) -> str | None:
        """Why its changes cannot be captured, and the statement that fixes it."""
        if self.unfit is not None:
            return f"{plain(self.relation)} cannot be captured: {self.unfit}"
        if not self.identity:
            return (
                f"{plain(self.relation)} has neither a primary key nor a replica identity; add one, or:"
                f" alter table {self.relation} replica identity full"
            )
        return None

    def sends(self, columns: Iterable[str]) -> bool:
        """Whether every change of a row sends these columns, as they were and as they are."""
        sent = {name.strip().strip('"').replace('""', '"') for name in self.identity.split(", ")}
        return self.identity == "full" or set(columns) <= sent


def table_named(engine: PostgresEngine, relation: str) -> TableState | None:
    rows = engine.rows(TABLE_BY_NAME, [".".join(relation.split(".")[-2:])])
    return TableState(*rows[0]) if rows else None


def table_of(engine: PostgresEngine, oid: int) -> TableState | None:
    rows = engine.rows(TABLE_BY_OID, [oid])
    return TableState(*rows[0]) if rows else None


class Publication:
    """The publication of one slot. It has the slot's name."""

    def __init__(self, engine: PostgresEngine, name: str) -> None:
        self._engine, self._name = engine, name

    def published(self) -> dict[int, str]:
        """By oid: the identity under which each table is published, for those that the server still publishes."""
        rows = self._engine.rows(
            f"""
            select t.oid::bigint, t.identity from {SCHEMA}.capture_table t
            join pg_catalog.pg_publication_rel r on r.prrelid = t.oid and r.oid = t.membership
            join pg_catalog.pg_publication p on p.oid = r.prpubid and p.pubname = t.slot
            where t.slot = $1
            """,
            [self._name],
        )
        return {oid: identity for oid, identity in rows}

    def add(self, tables: Sequence[TableState]) -> str | None:
        """Publish the tables that are not published yet; why that cannot be done."""
        published = self.published()
        for table in tables:
            if published.get(table.oid) != table.identity and (why := self._add(table)) is not None:
                return why
        return None

    def refused(self) -> list[tuple[str, str]]:
        """Published tables whose writers Postgres refuses because they are published, each with the reason."""
        return [(name, why) for name, why in self._engine.rows(REFUSED, [self._name])]

    def remove(self, table: str) -> None:
        """``table``: its name as SQL. Raises EvaluationFailed if the role does not own the publication."""
        self._engine.execute(self.removal(table))

    def removal(self, table: str) -> str:
        return f'alter publication "{self._name}" drop table only {table}'

    def _add(self, table: TableState) -> str | None:
        columns = "" if table.identity == "full" else f" ({table.identity})"
        try:
            with self._engine.transaction():
                if self._membership(table.oid) is not None:
                    self.remove(table.relation)
                # "only": without it tables that inherit are published too, with or without a replica identity
                self._engine.execute(f'alter publication "{self._name}" add table only {table.relation}{columns}')
                self._try_writers(table)
        except EvaluationFailed as error:
            if isinstance(error.__cause__, psycopg.errors.InsufficientPrivilege):
                return f"{plain(table.relation)} is not published ({error}): its owner has to run reconcile setup"
            return f"{plain(table.relation)} is not published, because its writers would be refused: {error}"
        # after the commit: only transactions that begin from here on are sure to be in the log as published
        self._engine.execute(
            f"insert into {SCHEMA}.capture_table (slot, oid, relation, identity, membership, since_xid)"
            " values ($1, $2, $3, $4, $5, pg_snapshot_xmax(pg_current_snapshot())::text::bigint)"
            " on conflict (slot, oid) do update set relation = excluded.relation, identity = excluded.identity,"
            " membership = excluded.membership, since_xid = excluded.since_xid",
            [self._name, table.oid, table.relation, table.identity, self._membership(table.oid)],
        )
        return None

    def _try_writers(self, table: TableState) -> None:
        """Raises EvaluationFailed if Postgres would refuse an UPDATE or DELETE now. Nothing is executed: the check is
        part of starting a statement, which EXPLAIN does."""
        column = self._engine.one(
            "select quote_ident(attname) from pg_catalog.pg_attribute"
            " where attrelid = $1::bigint::oid and attnum > 0 and not attisdropped limit 1",
            [table.oid],
        )[0]
        self._engine.rows(f"explain update only {table.relation} set {column} = default")
        self._engine.rows(f"explain delete from only {table.relation}")

    def _membership(self, oid: int) -> int | None:
        rows = self._engine.rows(
            "select r.oid::bigint from pg_catalog.pg_publication_rel r"
            " join pg_catalog.pg_publication p on p.oid = r.prpubid"
            " where p.pubname = $1 and r.prrelid = $2::bigint::oid",
            [self._name, oid],
        )
        return int(rows[0][0]) if rows else None
