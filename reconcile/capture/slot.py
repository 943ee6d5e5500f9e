"""The slot of a project in a database: changes that are read from it become dirty keys of the models they touch.

Read, store, commit, and only then advance. If the process is killed in between, changes are read twice, which adds no
key.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from dataclasses import dataclass
from typing import Any

import psycopg

from reconcile.capture.changed_keys import Dirty, Marked, Model
from reconcile.capture.key_mapping import Mapping
from reconcile.capture.pgoutput import RelationMessage, Truncate, commit_end, decode
from reconcile.capture.tables import CAP, CHANGES, CHANGING_TRANSACTIONS
from reconcile.engines.own_schema import SCHEMA
from reconcile.engines.postgres import PostgresEngine
from reconcile.errors import EvaluationFailed, ReconcileError

PREFIX = "reconcile_"  # of every slot and publication of ours
_AT_ONCE = 50_000  # changes peeked at once; a longer transaction is peeked whole
_MAX_CHANGES_PER_PEEK = 2 * CAP  # changes taken from one peek
_VISIBLE_SECONDS = 10.0
_BUSY_SECONDS = 5.0  # how long another session may have the slot
# Whether a snapshot taken now sees all of these transactions, given by their lower 32 bits. A transaction at or above
# the snapshot's end is committing at this moment.
_VISIBLE = """
    select coalesce(bool_and(
        case when ((xmax - xid) & 4294967295) < 2147483648
        then pg_visible_in_snapshot((xmax - ((xmax - xid) & 4294967295))::text::xid8, pg_current_snapshot())
        else false end
    ), true)
    from unnest($1::bigint[]) as xid, (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint as xmax) as now
"""
# Higher than every transaction whose commit was in the log before this one began.
_OWN_XID = "select pg_current_xact_id()::text::bigint"


class SlotLost(ReconcileError):
    """The slot no longer has every change."""


def slot_name(project: str, database: str, schema: str) -> str:
    """The name of slot and publication: one per project and target schema, on every machine and for every user."""
    digest = hashlib.sha256(f"{project}/{database}/{schema}".encode()).hexdigest()[:8]
    plain = re.sub(r"[^a-z0-9_]", "_", project.lower())[:40]
    return f"{PREFIX}{plain}_{digest}"


@dataclass(frozen=True)
class _Peeked:
    """Messages with their transactions (32 bits), up to ``position``. ``cut``: there were too many, so only the
    transactions are known."""

    changes: list[tuple[int, bytes]]
    transactions: list[int]
    position: str
    cut: bool


class Slot:
    """A session that reads one slot; by one thread at a time. ``decoder``: a separate session for the server's
    decoding, after which every plan and every cached catalog row of a session is made anew."""

    def __init__(self, engine: PostgresEngine, name: str, decoder: PostgresEngine | None = None) -> None:
        self._engine, self.name = engine, name
        self._decoder = decoder or engine
        self.position = ""  # up to where changes were stored

    def read(self) -> str:
        """Store every change that is committed by now; the position (LSN) up to which. Raises SlotLost."""
        # Everything that a snapshot can see by now is in the log before this message, and its commit waits until the
        # log is written up to it: open_capture pins synchronous_commit. With "off" (a default of many roles) the
        # position read next was stale in 13 of 22 checks.
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
            stored, reached = self._stored_position(target)
            if reached:
                return target
            self._advance(stored)
            peeked = self._peek(target)
            self._await_visible(peeked)
            self._store(peeked)
            engine.execute(
                f"update {SCHEMA}.capture set position = $2::pg_lsn, read_at = current_timestamp where slot = $1",
                [self.name, peeked.position],
            )
        try:
            self._advance(peeked.position)
        except EvaluationFailed as error:  # another session reads the slot: it advances it
            if not isinstance(error.__cause__, psycopg.errors.ObjectInUse):
                raise
        return peeked.position

    def _peek(self, target: str) -> _Peeked:
        arguments = [self.name, target, _AT_ONCE, f'"{self.name}"', _MAX_CHANGES_PER_PEEK + 1]
        rows = self._decoder.rows(CHANGES, arguments)
        if len(rows) > _MAX_CHANGES_PER_PEEK:
            # any key may have changed, so only the transactions matter: their commits must be visible too
            every = self._decoder.rows(CHANGING_TRANSACTIONS, [self.name, target, f'"{self.name}"'])
            return _Peeked([], [xid for (xid,) in every], target, cut=True)
        changes = [(xid, bytes(data)) for xid, data in rows]
        ended = [data for _, data in changes if data[:1] == b"C"]
        sent = len(changes) + len(ended)  # and as many BEGIN messages
        position = target if sent < _AT_ONCE or not ended else commit_end(ended[-1])
        return _Peeked(changes, list({xid for xid, _ in changes}), position, cut=False)

    def _await_visible(self, peeked: _Peeked) -> None:
        """A commit is in the log before it is visible (long before, if it waits for a standby). The sweep of a model
        that begins in between would miss it, so it is stored only once it is visible."""
        xids = peeked.transactions
        deadline = time.monotonic() + _VISIBLE_SECONDS
        while xids and not self._engine.one(_VISIBLE, [xids])[0]:
            if time.monotonic() > deadline:
                raise EvaluationFailed("a commit is in the log and not visible yet: it waits for a standby")
            time.sleep(0.005)

    def _stored_position(self, target: str) -> tuple[str, bool]:
        """The position from which to read on, and whether it is ``target`` or beyond; with the slot's row locked.
        Raises SlotLost if changes are missing."""
        rows = self._engine.rows(
            f"""
            select c.position::text, s.slot_name is not null, s.plugin,
                   s.confirmed_flush_lsn <= c.position, s.wal_status,
                   c.system = (select system_identifier::text from pg_control_system()), c.position >= $2::pg_lsn
            from {SCHEMA}.capture c
            left join pg_replication_slots s on s.slot_name = c.slot and s.database = current_database()
            where c.slot = $1
            for update of c
            """,
            [self.name, target],
        )
        if not rows:
            raise SlotLost("it was never set up: reconcile setup")
        position, exists, plugin, reaches_back, status, same_server, reached = rows[0]
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
        return str(position), reached

    def _advance(self, position: str) -> None:
        self._decoder.execute(
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
                    found.every_key_of(oid, "it was rewritten or truncated", xid)
            elif message is not None:
                found.add(message, shapes[message.oid], xid)
        if peeked.cut:
            found.every_key("too many rows changed at once: a sweep is cheaper")
        for model in models:
            keys = found.keys_of(model)  # first: a key that cannot be stored makes every key dirty
            self._keep(model.name, keys, found.why_every_key(model), xmax)

    def _keep(self, model: str, keys: Marked, why: tuple[str, set[int]] | None, xmax: int) -> None:
        here = f"{SCHEMA}.capture_key"
        if keys:
            body = json.dumps([[list(key), xid] for key, xid in keys])
            self._engine.execute(
                f"insert into {here} (slot, model, hash, key, xid)"
                " select $1, $2, md5(key::text)::uuid, key, xid from ("
                "   select array(select jsonb_array_elements_text(entry -> 0)) as key, (entry ->> 1)::bigint as xid"
                "   from jsonb_array_elements($3::jsonb) as entry"
                " ) as changed on conflict do nothing",
                [self.name, model, body],
            )
            counted = f"select count(*) from {here} where slot = $1 and model = $2"
            if self._engine.one(counted, [self.name, model])[0] > CAP:
                self._engine.execute(f"delete from {here} where slot = $1 and model = $2", [self.name, model])
                why = (f"over {CAP:,} keys changed: a sweep is cheaper", {-xmax})
        for xid in why[1] if why else ():
            self._engine.execute(
                f"insert into {here} (slot, model, hash, key, xid, why)"
                " values ($1, $2, md5('{}')::uuid, '{}', $3, $4)"
                " on conflict do nothing",
                [self.name, model, xid, why[0] if why else None],
            )

    def models(self) -> list[Model]:
        """The models whose changes are stored, those that are being swept included."""
        rows = self._engine.rows(
            f"select model, key, key_types, tables, mappings from {SCHEMA}.capture_model where slot = $1", [self.name]
        )
        return [
            Model(
                name,
                tuple(key),
                tuple(types),
                {tables[relation][0]: Mapping.from_dict(body) for relation, body in mappings.items()},
                {oid: relation for relation, (oid, _) in tables.items()},
            )
            for name, key, types, tables, mappings in rows
        ]


def state(engine: PostgresEngine, name: str) -> dict[str, Any] | None:
    """The slot as the server has it; None if it does not exist."""
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
