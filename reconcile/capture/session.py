"""Capture as a check uses it: by which way a model is judged, what of it has to be compared, and what that proves."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from reconcile.capture.changed_keys import Key
from reconcile.capture.coverage import Coverage, DirtyKeys
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
    coverage: Coverage
    lost: str | None = None
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def route(self, definition: Definition, forced: bool = False) -> Route:
        """By dirty keys where the slot vouches for the model, else by a sweep, and why. ``forced``: no sweep."""
        with self._lock:
            why = self.coverage.why_not(definition)
            if why is None:
                found = self.coverage.keys(definition)
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

    def dirty_keys(self, definition: Definition) -> DirtyKeys:
        """Inside the snapshot of the comparison: every key that may differ in it; ``every_key`` where any may."""
        with self._lock:
            self._read()
            why = self.lost or self.coverage.why_not(definition)
            return DirtyKeys((), why, "") if why is not None else self.coverage.keys(definition)

    def settle(self, definition: Definition, level: Sequence[Key], snapshot: str) -> None:
        with self._lock:
            self.coverage.settle(definition, level, snapshot)

    def finish(self, definition: Definition, token: str, snapshot: str, drifted: Sequence[Key]) -> str | None:
        """Why the swept model is not vouched for from now on; None where it is."""
        with self._lock:
            return self.coverage.finish(definition, token, snapshot, drifted)

    def why_swept(self, definition: Definition) -> str | None:
        """Why a check would sweep the model, as far as the slot was read; None where it would not."""
        with self._lock:
            return self.coverage.why_not(definition) or self.coverage.keys(definition).every_key

    def describe(self, definition: Definition) -> dict[str, str]:
        """In words, how the rows of each source name the model's keys; or why they cannot be captured."""
        with self._lock:
            _, why = self.coverage.fit(definition)
            return {"none": why} if why is not None else self.coverage.mapped(definition)

    def mark(self, definition: Definition) -> str:
        """What has to be judged of a model: another text once there is more."""
        with self._lock:
            return self.lost or self.coverage.why_not(definition) or self.coverage.mark(definition)

    def read(self) -> None:
        """Store what changed meanwhile."""
        with self._lock:
            self._read()

    def close(self) -> None:
        self.engine.close()

    def _sweep(self, definition: Definition, why: str) -> Route:
        try:
            token, unfit = self.coverage.begin(definition)
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
        if version != VERSION:
            with engine.transaction():
                settle_in(engine, version)
        name = name_of(project)
        if not engine.rows(f"select 1 from {SCHEMA}.capture where slot = $1", [name]):
            engine.close()
            return NotCaptured("its changes are not captured (reconcile setup)")
        coverage = Coverage(engine, name)
        for spelled in coverage.spare_writers():
            log.warning("%s has lost its key: it is not published any more, or its writers would be refused", spelled)
    except ReconcileError as error:
        engine.close()
        return NotCaptured(f"its changes cannot be read: {error}")
    return Captured(CaptureSession(engine, Slot(engine, name), coverage))
