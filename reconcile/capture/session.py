"""Capture as a check uses it: by which way a model is judged, what of it has to be compared, and what that proves."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from reconcile.capture.changed_keys import Key
from reconcile.capture.coverage import Captured, Vouching
from reconcile.capture.slot import Slot, SlotLost, slot_name
from reconcile.dbt.project import Project
from reconcile.definition.model import Definition
from reconcile.engines.factory import open_engine
from reconcile.engines.own_schema import SCHEMA
from reconcile.engines.postgres import PostgresEngine
from reconcile.errors import ReconcileError
from reconcile.state.schema import VERSION, settle_in, version_of

log = logging.getLogger("reconcile")


@dataclass(frozen=True)
class Route:
    """How a model is to be judged. ``swept`` says why every row must be read (None: its dirty keys are enough);
    ``token`` names the sweep where its result is to be vouched for from then on."""

    swept: str | None
    token: str | None = None
    since: str = ""


@dataclass
class CaptureSession:
    """One slot, as one run uses it. Safe to share between threads."""

    engine: PostgresEngine
    slot: Slot
    vouching: Vouching
    lost: str | None = None
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def route(self, definition: Definition, forced: bool = False) -> Route:
        """By dirty keys where the slot vouches for the model, else by a sweep, and why. ``forced``: no sweep."""
        with self._lock:
            why = self.vouching.why_not(definition)
            if why is None:
                found = self.vouching.keys(definition)
                if found.every_key is None:  # as far as the slot was read; ``keys`` reads on
                    return Route(None, since=found.since)
                why = found.every_key
            if not self._read():
                return Route(self._not_any_more())
            return Route(why) if forced else self._sweep(definition, why)

    def sweep(self, definition: Definition, why: str) -> Route:
        """A sweep that its result is to be vouched for."""
        with self._lock:
            return Route(self._not_any_more()) if self.lost is not None else self._sweep(definition, why)

    def keys(self, definition: Definition) -> Captured:
        """Inside the snapshot of the comparison: every key that may differ in it; ``every_key`` where any may."""
        with self._lock:
            self._read()
            why = self.lost or self.vouching.why_not(definition)
            return Captured((), why, "") if why is not None else self.vouching.keys(definition)

    def settle(self, definition: Definition, level: Sequence[Key], snapshot: str) -> None:
        with self._lock:
            self.vouching.settle(definition, level, snapshot)

    def finish(self, definition: Definition, token: str, snapshot: str, drifted: Sequence[Key]) -> str | None:
        """Why the swept model is not vouched for from now on; None where it is."""
        with self._lock:
            return self.vouching.finish(definition, token, snapshot, drifted)

    def why_swept(self, definition: Definition) -> str | None:
        """Why a check would sweep the model, as far as the slot was read; None where it would not."""
        with self._lock:
            return self.vouching.why_not(definition) or self.vouching.keys(definition).every_key

    def told(self, definition: Definition) -> dict[str, str]:
        """In words, how the rows of each source name the model's keys; or why they cannot be captured."""
        with self._lock:
            _, why = self.vouching.fit(definition)
            return {"none": why} if why is not None else self.vouching.mapped(definition)

    def mark(self, definition: Definition) -> str:
        """What has to be judged of a model: another text once there is more."""
        with self._lock:
            return self.lost or self.vouching.why_not(definition) or self.vouching.mark(definition)

    def read(self) -> None:
        """Store what changed meanwhile."""
        with self._lock:
            self._read()

    def close(self) -> None:
        self.engine.close()

    def _sweep(self, definition: Definition, why: str) -> Route:
        try:
            token, unfit = self.vouching.begin(definition)
        except ReconcileError as error:
            token, unfit = None, str(error)
        return Route(unfit or why, token)

    def _not_any_more(self) -> str:
        return f"changes are not captured any more: {self.lost}; reconcile setup mends it"

    def _read(self) -> bool:
        if self.lost is None:
            try:
                self.slot.read()
            except SlotLost as lost:
                self.lost = str(lost)
                self.vouching.forget()
        return self.lost is None


def name_of(project: Project) -> str:
    """The name of the slot and the publication of a project's target."""
    credentials = project.connection.credentials
    return slot_name(project.name, credentials.database, credentials.schema)


def open_capture(project: Project) -> CaptureSession | str:
    """The session of a project whose changes are captured; why there is none, where there is none."""
    if project.connection.adapter != "postgres":
        return "changes are captured on Postgres only"
    engine = open_engine(project.connection)
    assert isinstance(engine, PostgresEngine)
    try:
        if engine.table_columns(f"{SCHEMA}.capture") is None:
            engine.close()
            return "its changes are not captured (reconcile setup)"
        version = version_of(engine)
        if version != VERSION:
            with engine.transaction():
                settle_in(engine, version)
        name = name_of(project)
        if not engine.rows(f"select 1 from {SCHEMA}.capture where slot = $1", [name]):
            engine.close()
            return "its changes are not captured (reconcile setup)"
        vouching = Vouching(engine, name)
        for spelled in vouching.spare_writers():
            log.warning("%s has lost its key: it is not published any more, or its writers would be refused", spelled)
    except ReconcileError as error:
        engine.close()
        return f"its changes cannot be read: {error}"
    return CaptureSession(engine, Slot(engine, name), vouching)
