"""Which models the slot vouches for, and since when; how one comes to be vouched for, and how it stops to be.

A model is vouched for from the snapshot on in which it was proven level. Before that snapshot begins it is noted as
being swept, so that whoever reads the slot meanwhile stores its changes too.
"""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reconcile.capture.changed_keys import Key, plain
from reconcile.capture.key_mapping import Mapping, mappings
from reconcile.capture.tables import TABLE
from reconcile.definition.model import Definition
from reconcile.engines.own_schema import SCHEMA
from reconcile.engines.postgres import PostgresEngine
from reconcile.errors import EvaluationFailed


@dataclass(frozen=True)
class DirtyKeys:
    """A model's dirty keys; ``every_key`` says why any key may have changed. ``since``: the LSN of the proof."""

    keys: tuple[Key, ...]
    every_key: str | None
    since: str


@dataclass(frozen=True)
class TableState:
    """A relation as capture sees it. ``identity``: what its updates and deletes tell ('full', or columns)."""

    relation: str
    oid: int
    file_node: int
    identity: str
    unfit: str | None
    spelled: str

    @property
    def why_not(self) -> str | None:
        """Why its changes cannot be captured, and what mends it."""
        if self.unfit is not None:
            return f"{plain(self.relation)} cannot be captured: {self.unfit}"
        if not self.identity:
            return (
                f"{plain(self.relation)} has neither a primary key nor a replica identity; add one, or:"
                f" alter table {self.spelled} replica identity full"
            )
        return None

    def tells(self, columns: Iterable[str]) -> bool:
        """Whether every change of a row tells these columns, as they were and as they are."""
        told = {name.strip().strip('"') for name in self.identity.split(", ")}
        return self.identity == "full" or set(columns) <= told


class Coverage:
    """The models of one slot. ``engine`` may write schema reconcile and, to publish tables, the publication."""

    def __init__(self, engine: PostgresEngine, slot: str) -> None:
        self._engine, self._slot = engine, slot

    def why_not(self, definition: Definition) -> str | None:
        """Why the slot does not vouch for the model as it is now; None where it does."""
        rows = self._engine.rows(
            f"select sweep is null, fingerprint, tables from {SCHEMA}.capture_model where slot = $1 and model = $2",
            [self._slot, definition.unique_id],
        )
        if not rows or not rows[0][0]:
            return "it was not proven level since its changes are captured"
        _, known, tables = rows[0]
        if known != fingerprint(definition):
            return "its SQL or its settings changed"
        published = self.published()
        for relation, (oid, file_node) in tables.items():
            found = self.table(relation)
            if found is None or found.oid != oid:
                return f"{plain(relation)} was replaced (a full refresh makes a new table)"
            if found.file_node != file_node:
                return f"{plain(relation)} was rewritten or truncated"
            if published.get(oid) != found.identity:
                return f"{plain(relation)} is not published any more, or by other columns"
        return None

    def keys(self, definition: Definition) -> DirtyKeys:
        """What may have drifted since the model was vouched for."""
        since = self._engine.one(
            f"select since_lsn::text from {SCHEMA}.capture_model where slot = $1 and model = $2",
            [self._slot, definition.unique_id],
        )[0]
        rows = self._engine.rows(
            f"select key, max(why) from {SCHEMA}.capture_key where slot = $1 and model = $2 group by key order by key",
            [self._slot, definition.unique_id],
        )
        every = next((why or "any key may have changed" for key, why in rows if not key), None)
        return DirtyKeys(tuple(tuple(key) for key, _ in rows if key), every, since)

    def mark(self, definition: Definition) -> str:
        """The model's dirty keys and what made them dirty, as one text."""
        return str(
            self._engine.one(
                "select coalesce(md5(string_agg(key::text || xid, ' ' order by key, xid)), '')"
                f" from {SCHEMA}.capture_key where slot = $1 and model = $2",
                [self._slot, definition.unique_id],
            )[0]
        )

    def begin(self, definition: Definition) -> tuple[str | None, str | None]:
        """Before the snapshot of a sweep: note the model, publish its tables. Returns the sweep's token, or why the
        model cannot be vouched for."""
        found, why = self.publish(definition)
        if why is not None:
            return None, why
        tables, _ = self.fit(definition)
        found[definition.relation_name] = Mapping(definition.key)
        token = uuid.uuid4().hex
        self._engine.execute(
            f"""
            insert into {SCHEMA}.capture_model as noted (slot, model, sweep, fingerprint, key, tables, mappings)
            values ($1, $2, $3, $4, $5::text[], $6::jsonb, $7::jsonb)
            on conflict (slot, model) do update set sweep = excluded.sweep, fingerprint = excluded.fingerprint,
                key = excluded.key, tables = excluded.tables, mappings = excluded.mappings, since_lsn = null
            """,
            [
                self._slot,
                definition.unique_id,
                token,
                fingerprint(definition),
                list(definition.key),
                json.dumps({name: [state.oid, state.file_node] for name, state in tables.items()}),
                json.dumps({name: mapping.as_dict() for name, mapping in found.items()}),
            ],
        )
        return token, None

    def publish(self, definition: Definition) -> tuple[dict[str, Mapping], str | None]:
        """Publish the tables of a model: how its sources name its keys; or why its changes cannot be captured."""
        tables, why = self.fit(definition)
        if why is not None:
            return {}, why
        found = self._mappings(definition)
        for relation, mapping in found.items():
            state = tables[relation]
            needs = mapping.columns if mapping.columns is not None else ("every column",) if mapping.query else ()
            if not state.tells(needs):
                mend = f"alter table {state.spelled} replica identity full"
                return {}, f"{plain(relation)} does not tell {needs[0]} of rows that change: {mend}"
        return found, self._publish(tables)

    def mapped(self, definition: Definition) -> dict[str, str]:
        """In words: how the rows of each source name the model's keys."""
        return {plain(relation): mapping.said() for relation, mapping in self._mappings(definition).items()}

    def _mappings(self, definition: Definition) -> dict[str, Mapping]:
        columns = {c.name: c for c in self._engine.table_columns(definition.relation_name) or ()}
        return mappings(self._engine, definition, [columns[name] for name in definition.key])

    def finish(self, definition: Definition, token: str, snapshot: str, drifted: Sequence[Key]) -> str | None:
        """After a sweep in ``snapshot`` found all but ``drifted`` keys level: vouch for the model from then on. Why it
        is not vouched for, where it is not."""
        engine, name, model = self._engine, self._slot, definition.unique_id
        with engine.transaction():
            rows = engine.rows(
                f"select tables from {SCHEMA}.capture_model where slot = $1 and model = $2 and sweep = $3 for update",
                [name, model, token],
            )
            if not rows:
                return "another check of it began meanwhile"
            oids = [oid for oid, _ in rows[0][0].values()]
            early = engine.rows(
                f"select relation from {SCHEMA}.capture_table where slot = $1 and oid = any($2::oid[])"
                " and since_xid > pg_snapshot_xmin($3::pg_snapshot)::text::bigint limit 1",
                [name, oids, snapshot],
            )
            if early:
                return f"a transaction that began before {plain(early[0][0])} was published is still running"
            engine.execute(
                f"delete from {SCHEMA}.capture_key where slot = $1 and model = $2 and {_seen('$3')}",
                [name, model, snapshot],
            )
            self._add(model, drifted)
            engine.execute(
                f"update {SCHEMA}.capture_model set sweep = null, since = current_timestamp,"
                " since_lsn = pg_current_wal_lsn() where slot = $1 and model = $2",
                [name, model],
            )
        return None

    def settle(self, definition: Definition, level: Sequence[Key], snapshot: str) -> None:
        """These keys were found level in ``snapshot``: they are clean, but for what it does not see."""
        if level:
            self._engine.execute(
                f"delete from {SCHEMA}.capture_key where slot = $1 and model = $2 and key = any("
                "  select array(select jsonb_array_elements_text(entry)) from jsonb_array_elements($3::jsonb) as entry"
                f") and {_seen('$4')}",
                [self._slot, definition.unique_id, json.dumps([list(key) for key in level]), snapshot],
            )

    def forget(self) -> None:
        """Vouch for no model any longer."""
        for table in ("capture_key", "capture_model"):
            self._engine.execute(f"delete from {SCHEMA}.{table} where slot = $1", [self._slot])

    def fit(self, definition: Definition) -> tuple[dict[str, TableState], str | None]:
        """The tables that a model depends on and its own, and why their changes cannot be captured, if so."""
        if not definition.key:
            return {}, "it has no unique_key to look its rows up by"
        if definition.unverifiable is not None or definition.sql is None:
            return {}, definition.unverifiable or "it has no definition"
        if not definition.sources:
            return {}, "what it reads is not known (--upstream shallow, or no source)"
        tables = {}
        for relation in [definition.relation_name, *definition.sources]:
            state = self.table(relation)
            if state is None:
                return {}, f"{plain(relation)} does not exist"
            if state.why_not is not None:
                return {}, state.why_not
            tables[relation] = state
        own = tables[definition.relation_name]
        if not own.tells(definition.key):
            return {}, (
                f"{plain(own.relation)} does not tell its key of rows that change:"
                f" alter table {own.spelled} replica identity full"
            )
        return tables, None

    def table(self, relation: str) -> TableState | None:
        schema_and_name = ".".join(relation.split(".")[-2:])
        rows = self._engine.rows(TABLE, [schema_and_name])
        return TableState(relation, *rows[0]) if rows else None

    def published(self) -> dict[int, str]:
        """By oid: the identity under which each table is published, as far as the server still publishes it so."""
        rows = self._engine.rows(
            f"""
            select t.oid::bigint, t.identity from {SCHEMA}.capture_table t
            join pg_publication_rel r on r.prrelid = t.oid
            join pg_publication p on p.oid = r.prpubid and p.pubname = t.slot
            where t.slot = $1
            """,
            [self._slot],
        )
        return {oid: identity for oid, identity in rows}

    def spare_writers(self) -> list[str]:
        """Take tables out of the publication that have lost their identity: their writers would be refused."""
        rows = self._engine.rows(
            """
            select c.oid::regclass::text from pg_publication p
            join pg_publication_rel r on r.prpubid = p.oid
            join pg_class c on c.oid = r.prrelid
            where p.pubname = $1 and (c.relreplident = 'n' or c.relreplident = 'd' and not exists (
                select 1 from pg_index i where i.indrelid = c.oid and i.indisprimary and i.indisvalid
            ))
            """,
            [self._slot],
        )
        for (spelled,) in rows:
            self._engine.execute(f'alter publication "{self._slot}" drop table {spelled}')
        return [spelled for (spelled,) in rows]

    def _publish(self, tables: dict[str, TableState]) -> str | None:
        """Publish what is not published yet; why that cannot be done."""
        published = self.published()
        for state in tables.values():
            if published.get(state.oid) == state.identity:
                continue
            columns = "" if state.identity == "full" else f" ({state.identity})"
            publication = f'alter publication "{self._slot}"'
            try:
                with self._engine.transaction():
                    if self._is_member(state.oid):
                        self._engine.execute(f"{publication} drop table {state.spelled}")
                    self._engine.execute(f"{publication} add table {state.spelled}{columns}")
            except EvaluationFailed as error:
                return f"{plain(state.relation)} is not published ({error}): its owner has to run reconcile setup"
            # only transactions that begin from here on are sure to be told whole
            self._engine.execute(
                f"insert into {SCHEMA}.capture_table (slot, oid, relation, identity, since_xid)"
                " values ($1, $2, $3, $4, pg_snapshot_xmax(pg_current_snapshot())::text::bigint)"
                " on conflict (slot, oid) do update set identity = excluded.identity, since_xid = excluded.since_xid",
                [self._slot, state.oid, state.relation, state.identity],
            )
        return None

    def _is_member(self, oid: int) -> bool:
        return bool(
            self._engine.rows(
                "select 1 from pg_publication_rel r join pg_publication p on p.oid = r.prpubid"
                " where p.pubname = $1 and r.prrelid = $2",
                [self._slot, oid],
            )
        )

    def _add(self, model: str, keys: Sequence[Key]) -> None:
        self._engine.execute(
            f"insert into {SCHEMA}.capture_key (slot, model, key, xid)"
            " select $1, $2, array(select jsonb_array_elements_text(entry)), 0"
            " from jsonb_array_elements($3::jsonb) as entry on conflict do nothing",
            [self._slot, model, json.dumps([list(key) for key in keys])],
        )


def fingerprint(definition: Definition) -> str:
    """What a verdict on the model rests on, beside the data: its SQL, key and settings."""
    settings = definition.settings
    rests_on = [
        re.sub(r"'[^']*' /\* until \*/", "", definition.sql or ""),
        definition.relation_name,
        definition.key,
        sorted(definition.contract.items()),
        sorted(settings.ignore),
        sorted(settings.tolerance.items()),
        sorted((name, str(said)) for name, said in settings.key_from.items()),
    ]
    return hashlib.sha256(json.dumps(rests_on).encode()).hexdigest()


def _seen(snapshot: str) -> str:
    """A condition on a dirty key: whether a snapshot sees what marked it."""
    return (
        f"case when xid < 0 then pg_snapshot_xmin({snapshot}::pg_snapshot)::text::bigint >= -xid"
        f" else pg_visible_in_snapshot(xid::text::xid8, {snapshot}::pg_snapshot) end"
    )
