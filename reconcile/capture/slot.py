"""The slot of a project in a database: what is read of it becomes dirty keys of the models that it touches.

Read, store, commit, and only then advance: killed between the two, a change is read twice, which adds no key.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import psycopg

from reconcile.capture.changed_keys import Dirty, Marked, Model
from reconcile.capture.key_mapping import Mapping
from reconcile.capture.pgoutput import RelationMessage, Truncate, commit_end, decode
from reconcile.capture.tables import CAP, CHANGES
from reconcile.engines.own_schema import SCHEMA
from reconcile.engines.postgres import PostgresEngine
from reconcile.errors import EvaluationFailed, ReconcileError

_AT_ONCE = 50_000  # changes peeked at once; a longer transaction comes whole
_MAX_CHANGES_PER_PEEK = 2 * CAP  # differing changes taken from one peek
_VISIBLE_SECONDS = 10.0
_BUSY_SECONDS = 5.0  # how long another session may have the slot
# Whether a snapshot taken now sees all of these transactions, given by their lower 32 bits. One that is at or above the
# snapshot's end is committing at this moment.
_VISIBLE = """
    select coalesce(bool_and(
        case when ((xmax - xid) & 4294967295) < 2147483648
        then pg_visible_in_snapshot((xmax - ((xmax - xid) & 4294967295))::text::xid8, pg_current_snapshot())
        else false end
    ), true)
    from unnest($1::bigint[]) as xid, (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint as xmax) as now
"""
# Above every transaction whose commit was in the log before this one began.
_OWN_XID = "select pg_current_xact_id()::text::bigint"


class SlotLost(ReconcileError):
    """The slot cannot tell every change any more."""


def slot_name(project: str, database: str, schema: str) -> str:
    """The name of slot and publication: one for a project's models in one schema, whoever checks them from where."""
    digest = hashlib.sha256(f"{project}/{database}/{schema}".encode()).hexdigest()[:8]
    plain = re.sub(r"[^a-z0-9_]", "_", project.lower())[:40]
    return f"reconcile_{plain}_{digest}"


@dataclass(frozen=True)
class _Peeked:
    """Messages with their transactions (32 bits), up to ``position``. ``cut``: there were too many to tell."""

    changes: list[tuple[int, bytes]]
    position: str
    cut: bool


class Slot:
    """A session that reads one slot; by one thread at a time."""

    def __init__(self, engine: PostgresEngine, name: str) -> None:
        self._engine, self.name = engine, name
        self.position = ""  # up to where changes were stored

    def read(self) -> str:
        """Store every change that is committed by now; the position (LSN) up to which. Raises SlotLost."""
        # a commit that waits for its log: after it, all that anybody can see is in the log up to here
        self._engine.execute("select pg_logical_emit_message(true, 'reconcile', '')")
        target = str(self._engine.one("select pg_current_wal_flush_lsn()::text")[0])
        deadline = time.monotonic() + _BUSY_SECONDS
        while self.position != target:
            try:
                self.position = self._read_some(target)
            except EvaluationFailed as error:
                # another session advances the slot at this moment
                busy = isinstance(error.__cause__, psycopg.errors.ObjectInUse)
                if not busy or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)
        return target

    def _read_some(self, target: str) -> str:
        engine = self._engine
        with engine.transaction():
            stored = self._stored_position()
            if engine.one("select $1::pg_lsn >= $2::pg_lsn", [stored, target])[0]:
                return target
            self._advance(stored)
            peeked = self._peek(target)
            self._await_visible(peeked)
            self._store(peeked)
            engine.execute(
                f"update {SCHEMA}.capture set position = $2::pg_lsn, read_at = current_timestamp where slot = $1",
                [self.name, peeked.position],
            )
        with suppress(EvaluationFailed):  # another session reads: it advances to where it got
            self._advance(peeked.position)
        return peeked.position

    def _peek(self, target: str) -> _Peeked:
        arguments = [self.name, target, _AT_ONCE, f'"{self.name}"', _MAX_CHANGES_PER_PEEK + 1]
        rows = self._engine.rows(CHANGES, arguments)
        if len(rows) > _MAX_CHANGES_PER_PEEK:
            # which they are does not matter, nor what comes after them: any key may have changed by now
            return _Peeked([], target, cut=True)
        changes = [(xid, bytes(data)) for xid, data in rows]
        ended = [data for _, data in changes if data[:1] == b"C"]
        told = len(changes) + len(ended)  # and as many beginnings
        position = target if told < _AT_ONCE or not ended else commit_end(ended[-1])
        return _Peeked(changes, position, cut=False)

    def _await_visible(self, peeked: _Peeked) -> None:
        """A commit is in the log before it can be seen (long before, where it waits for a standby). A model whose sweep
        begins in between would never hear of it, so nothing is stored of it yet."""
        xids = list({xid for xid, _ in peeked.changes})
        deadline = time.monotonic() + _VISIBLE_SECONDS
        while xids and not self._engine.one(_VISIBLE, [xids])[0]:
            if time.monotonic() > deadline:
                raise EvaluationFailed("a commit is in the log and cannot be seen yet: it waits for a standby")
            time.sleep(0.005)

    def _stored_position(self) -> str:
        """Where reading goes on, with the slot's row locked. Raises SlotLost where changes are missing before that."""
        rows = self._engine.rows(
            f"""
            select c.position::text, s.slot_name is not null, s.plugin,
                   s.confirmed_flush_lsn <= c.position, s.wal_status,
                   c.system = (select system_identifier::text from pg_control_system())
            from {SCHEMA}.capture c
            left join pg_replication_slots s on s.slot_name = c.slot and s.database = current_database()
            where c.slot = $1
            for update of c
            """,
            [self.name],
        )
        if not rows:
            raise SlotLost("it was never set up: reconcile setup")
        position, exists, plugin, reaches_back, status, same_server = rows[0]
        if not exists:
            raise SlotLost("the slot is gone (dropped, or this is another server after a failover)")
        if not same_server:
            raise SlotLost("this is another server than the one that it was set up on")
        if plugin != "pgoutput":
            raise SlotLost(f"the slot of that name is not ours: its plugin is {plugin}")
        if status == "lost":
            raise SlotLost("the slot fell behind max_slot_wal_keep_size and was invalidated")
        if not reaches_back:
            raise SlotLost("the slot was made anew, or advanced by somebody else: changes are missing")
        return str(position)

    def _advance(self, position: str) -> None:
        self._engine.execute(
            "select pg_replication_slot_advance(slot_name, $2::pg_lsn) from pg_replication_slots"
            " where slot_name = $1 and confirmed_flush_lsn < $2::pg_lsn",
            [self.name, position],
        )

    def _store(self, peeked: _Peeked) -> None:
        models = self.models()
        if not models:
            return
        xmax = int(self._engine.one(_OWN_XID)[0])
        found = Dirty(self._engine, models, xmax)
        shapes: dict[int, RelationMessage] = {}
        for low, data in peeked.changes:
            message, xid = decode(data, shapes), xmax - ((xmax - low) & 0xFFFFFFFF)
            if isinstance(message, RelationMessage):
                if shapes.get(message.oid, message) != message:
                    found.every_key_of(message.oid, "its columns changed", xid)
                shapes[message.oid] = message
            elif isinstance(message, Truncate):
                for oid in message.oids:
                    found.every_key_of(oid, "it was truncated", xid)
            elif message is not None:
                found.add(message, xid)
        if peeked.cut:
            found.every_key("too many rows changed at once: a sweep is cheaper")
        for model in models:
            self._keep(model.name, found.keys_of(model), found.why_every_key(model), xmax)

    def _keep(self, model: str, keys: Marked, why: tuple[str, set[int]] | None, xmax: int) -> None:
        here = f"{SCHEMA}.capture_key"
        if keys:
            body = json.dumps([[list(key), xid] for key, xid in keys])
            self._engine.execute(
                f"insert into {here} (slot, model, key, xid)"
                " select $1, $2, array(select jsonb_array_elements_text(entry -> 0)), (entry ->> 1)::bigint"
                " from jsonb_array_elements($3::jsonb) as entry on conflict do nothing",
                [self.name, model, body],
            )
            counted = f"select count(*) from {here} where slot = $1 and model = $2"
            if self._engine.one(counted, [self.name, model])[0] > CAP:
                self._engine.execute(f"delete from {here} where slot = $1 and model = $2", [self.name, model])
                why = (f"over {CAP:,} keys changed: a sweep is cheaper", {-xmax})
        for xid in why[1] if why else ():
            self._engine.execute(
                f"insert into {here} (slot, model, key, xid, why) values ($1, $2, '{{}}', $3, $4)"
                " on conflict do nothing",
                [self.name, model, xid, why[0] if why else None],
            )

    def models(self) -> list[Model]:
        """The models whose changes are to be stored, those that are being swept with them."""
        rows = self._engine.rows(
            f"select model, key, tables, mappings from {SCHEMA}.capture_model where slot = $1", [self.name]
        )
        return [
            Model(
                name,
                tuple(key),
                {tables[relation][0]: Mapping.from_dict(body) for relation, body in mappings.items()},
                {oid: relation for relation, (oid, _) in tables.items()},
            )
            for name, key, tables, mappings in rows
        ]


def state(engine: PostgresEngine, name: str) -> dict[str, Any] | None:
    """The slot as the server has it; None where there is none."""
    rows = engine.rows(
        """
        select confirmed_flush_lsn::text, wal_status, active_pid,
               pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::bigint,
               pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint, safe_wal_size
        from pg_replication_slots where slot_name = $1
        """,
        [name],
    )
    if not rows:
        return None
    names = ("position", "wal_status", "active_pid", "lag_bytes", "retained_bytes", "safe_bytes")
    return dict(zip(names, rows[0], strict=True))
