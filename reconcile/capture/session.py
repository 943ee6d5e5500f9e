"""Capture as a check uses it: how a model is judged, what of it is compared, and what that proves."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from reconcile.capture.changed_keys import Key
from reconcile.capture.coverage import Coverage, DirtyKeys
from reconcile.capture.publication import Publication
from reconcile.capture.slot import Slot, SlotLost, slot_name
from reconcile.capture.tables import TABLES
from reconcile.dbt.project import Project
from reconcile.definition.model import Definition
from reconcile.engines.factory import open_engine
from reconcile.engines.own_schema import SCHEMA
from reconcile.engines.postgres import PostgresEngine
from reconcile.errors import EvaluationFailed, ReconcileError
from reconcile.state.schema import VERSION, settle_in, version_of

log = logging.getLogger("reconcile")


@dataclass(frozen=True)
class Route:
    """How a model is judged. ``swept``: why every row must be read (None: its dirty keys are enough). ``token``: names
    the sweep after which the model is captured."""

    swept: str | None
    token: str | None = None
    since: str = ""


@dataclass
class CaptureSession:
    """One slot in one run. Safe to share between threads."""

    engine: PostgresEngine
    decoder: PostgresEngine
    slot: Slot
    coverage: Coverage
    lost: str | None = None
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def route(self, definition: Definition, forced: bool = False) -> Route:
        """By dirty keys if the model is captured, else by a sweep, with the reason. ``forced``: no sweep."""
        with self._lock:
            # the state of the proof is compared in ``dirty_keys``, after the snapshot of the check began
            why = self.coverage.why_not_noted(definition)
            if why is None:
                found = self.coverage.dirty_keys(definition)
                if found.every_key is None:  # as far as the slot was read; ``dirty_keys`` reads on
                    return Route(None, since=found.since)
                why = found.every_key
            if not self._read():
                return Route(self._not_any_more())
            return Route(why) if forced else self._sweep(definition, why)

    def sweep(self, definition: Definition, why: str) -> Route:
        """A sweep after which the model is captured."""
        with self._lock:
            return Route(self._not_any_more()) if self.lost is not None else self._sweep(definition, why)

    def dirty_keys(self, definition: Definition) -> DirtyKeys:
        """After the snapshot of the comparison began: every key that may differ in it, or ``every_key`` if any may."""
        with self._lock:
            self._read()
            why = self.lost or self.coverage.why_not(definition)
            return DirtyKeys((), why, "") if why is not None else self.coverage.dirty_keys(definition)

    def audit_keys(self, definition: Definition) -> list[Key]:
        """Random keys to compare with the dirty ones: a difference in them is a change that capture missed."""
        with self._lock:
            return self.coverage.audit_keys(definition, definition.settings.audit_keys)

    def revoke(self, definition: Definition) -> None:
        """Capture missed a change of the model: only a sweep proves it again."""
        with self._lock:
            self.coverage.revoke(definition)

    def settle(
        self, definition: Definition, compared: Sequence[Key], drifted: Sequence[Key], audited: int, snapshot: str
    ) -> None:
        """Of the dirty keys ``compared`` in ``snapshot`` only ``drifted`` (as the comparison prints them) differ.
        ``audited`` random keys were compared too, and none of them differs that was not dirty."""
        with self._lock:
            self.coverage.settle(definition, compared, drifted, audited, snapshot)

    def finish(self, definition: Definition, token: str, snapshot: str, drifted: Sequence[Key]) -> str | None:
        """Why the swept model is not captured from now on; None if it is."""
        with self._lock:
            return self.coverage.finish(definition, token, snapshot, drifted)

    def why_swept(self, definition: Definition) -> str | None:
        """Why a check would sweep the model, as far as the slot was read; None if it would not."""
        with self._lock:
            return self.coverage.why_not(definition) or self.coverage.dirty_keys(definition).every_key

    def describe(self, definition: Definition) -> dict[str, str]:
        """As text: how the rows of each source name the model's keys; or why they cannot be captured."""
        with self._lock:
            return self.coverage.describe(definition)

    def mark(self, definition: Definition) -> str:
        """A text that changes when more of the model has to be judged."""
        with self._lock:
            return self.lost or self.coverage.why_not(definition) or self.coverage.mark(definition)

    def read(self) -> None:
        """Store the changes since the last read."""
        with self._lock:
            self._read()

    def close(self) -> None:
        self.engine.close()
        self.decoder.close()

    def _sweep(self, definition: Definition, why: str) -> Route:
        try:
            token, unfit = self.coverage.begin(definition)
        except ReconcileError as error:
            token, unfit = None, str(error)
        return Route(unfit or why, token)

    def _not_any_more(self) -> str:
        return f"change capture stopped ({self.lost}). Run `reconcile setup` to resume it"

    def _read(self) -> bool:
        if self.lost is None:
            try:
                self.slot.read()
            except SlotLost as lost:
                self.lost = str(lost)
                self.coverage.forget()
        return self.lost is None


def name_of(project: Project) -> str:
    """The name of the slot and the publication of a project's target."""
    credentials = project.connection.credentials
    return slot_name(project.name, credentials.database, credentials.schema)


@dataclass(frozen=True)
class Captured:
    """The project's changes are captured: ``session`` knows which keys changed. The caller closes it."""

    session: CaptureSession


@dataclass(frozen=True)
class NotCaptured:
    """The project's changes are not captured, for this reason: every check reads every row."""

    reason: str


Capture = Captured | NotCaptured


# Canonical texts, current reads and a flushed log do not depend on defaults of the database, the role or the
# environment: "repeatable read" as default made reading the slot fail, LATIN1 printed other bytes than are stored.
_PINNED = {
    "client_encoding": "UTF8",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
    # "on" would wait for a standby; "off" would leave the log unwritten behind the position that is read
    "synchronous_commit": "local",
}


def pin(engine: PostgresEngine) -> None:
    """Pin the settings of a session that reads or stores keys."""
    engine.rows(
        "select pg_catalog.set_config(key, value, false) from pg_catalog.jsonb_each_text($1::jsonb)",
        [json.dumps(_PINNED)],
    )


def _spare_writers(publication: Publication) -> None:
    """Take tables out of the publication whose writers Postgres refuses because they are published."""
    for table, why in publication.refused():
        try:
            publication.remove(table)
        except EvaluationFailed as error:
            fix = publication.removal(table)
            log.error(
                "updates and deletes of %s are refused because of change capture: %s (%s). Run: %s",
                table,
                why,
                error,
                fix,
            )
        else:
            log.warning("%s is not published any more, because its writers would be refused: %s", table, why)


def open_capture(project: Project) -> Capture:
    """Open the capture session of a project. Raises ReconcileError if the database cannot be reached."""
    if project.connection.adapter != "postgres":
        return NotCaptured("changes are captured on Postgres only")
    engine = open_engine(project.connection)
    assert isinstance(engine, PostgresEngine)
    try:
        if engine.table_columns(f"{SCHEMA}.capture") is None:
            engine.close()
            return NotCaptured("its changes are not captured (reconcile setup)")
        version = version_of(engine)
        if version != VERSION or engine.table_columns(f"{SCHEMA}.capture_model") is None:
            with engine.transaction():
                settle_in(engine, version)
                for statement in TABLES:
                    engine.execute(statement)
        name = name_of(project)
        if not engine.rows(f"select 1 from {SCHEMA}.capture where slot = $1", [name]):
            engine.close()
            return NotCaptured("its changes are not captured (reconcile setup)")
        pin(engine)
        coverage = Coverage(engine, name)
        _spare_writers(coverage.publication)
        coverage.forget_unused()
        decoder = open_engine(project.connection)
        assert isinstance(decoder, PostgresEngine)
        pin(decoder)
        if not engine.pooled():
            engine.keep_plans()
    except ReconcileError as error:
        engine.close()
        return NotCaptured(f"its changes cannot be read: {error}")
    return Captured(CaptureSession(engine, decoder, Slot(engine, name, decoder), coverage))
