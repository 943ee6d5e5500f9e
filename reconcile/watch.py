"""``reconcile watch``: follow the captured changes and report each drift when it begins and when it ends."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace

from reconcile.capture.session import Captured, CaptureSession, NotCaptured, open_capture
from reconcile.dbt.project import Project
from reconcile.definition.model import Definition
from reconcile.engines.base import Engine
from reconcile.engines.factory import open_engine
from reconcile.errors import ReconcileError, Refused
from reconcile.model_check.judge_model import CheckRequest, judge_definition
from reconcile.repair.guards import Guards
from reconcile.repair.session import Applied, repair_session
from reconcile.report.model import TableReport, Verdict
from reconcile.report.run_id import now
from reconcile.state.proofs import Proofs

_LONGEST_WAIT = 5.0  # seconds between two attempts to reach a database that is down


class Listener:
    """Receives what a follower finds; this one ignores it."""

    def judged(self, table: TableReport) -> None:
        """A model is not level, or is level again."""

    def repaired(self, name: str, done: Applied) -> None:
        """Its drift was repaired."""

    def refused(self, name: str, why: str) -> None:
        """Its drift was not repaired: a guard stopped the repair."""

    def away(self, why: str) -> None:
        """The database cannot be reached; the follower tries again."""

    def back(self) -> None:
        """The database can be reached again, and no change was missed."""


@dataclass
class Follower:
    """Follows the models of a project. ``guards`` None: drift is reported and not repaired.

    Its position is kept in the database: the next follower continues from there.
    """

    project: Project
    listener: Listener
    interval: float = 1.0
    guards: Guards | None = None
    _marks: dict[str, str] = field(default_factory=dict)
    _reported: dict[str, object] = field(default_factory=dict)

    def run(self, stop: threading.Event) -> None:
        """Follow until ``stop`` is set. Raises Refused if changes are not captured."""
        away = False
        wait = self.interval
        while not stop.is_set():
            try:
                match open_capture(self.project):
                    case NotCaptured(reason) if not away:
                        raise Refused(f"there is nothing to follow: {reason}")
                    case NotCaptured(reason):
                        raise ReconcileError(reason)
                    case Captured(session):
                        pass
                try:
                    if away:
                        away = False
                        self.listener.back()
                    wait = self.interval
                    self._follow(session, stop)
                finally:
                    session.close()
            except Refused:
                raise
            except ReconcileError as error:
                if not away:
                    self.listener.away(str(error))
                away = True
                wait = min(_LONGEST_WAIT, wait * 2)
                stop.wait(wait)

    def _follow(self, session: CaptureSession, stop: threading.Event) -> None:
        definitions = [d for d in self.project.definitions if d.settings.enabled]
        engine = open_engine(self.project.connection)
        try:
            while True:
                for definition in definitions:
                    if session.mark(definition) != self._marks.get(definition.unique_id):
                        self._judge(engine, session, definition)
                        self._marks[definition.unique_id] = session.mark(definition)
                if stop.wait(self.interval):
                    return
                session.read()
        finally:
            engine.close()

    def _judge(self, engine: Engine, session: CaptureSession, definition: Definition) -> None:
        proofs = Proofs(self.project.state)
        table = judge_definition(engine, definition, CheckRequest("auto"), proofs, now(), capture=Captured(session))
        proofs.keep()
        if table.verdict is Verdict.ERROR:
            raise ReconcileError(table.error or f"{table.name} could not be judged")
        self._report(definition, table)

    def _report(self, definition: Definition, table: TableReport) -> None:
        state = (table.verdict, table.drift, table.samples, table.error)
        known = self._reported.get(definition.unique_id)
        self._reported[definition.unique_id] = state
        if state == known or (known is None and table.verdict is Verdict.LEVEL and not table.drift.pending):
            return
        self.listener.judged(table)
        if self.guards is not None and table.verdict is Verdict.DRIFT:
            self._repair(definition, self.guards)

    def _repair(self, definition: Definition, guards: Guards) -> None:
        try:
            with repair_session(replace(self.project, definitions=(definition,))) as session:
                session.make(brief=True)
                if not session.plan.tables:
                    return
                done = session.apply(guards)
        except Refused as refused:
            self.listener.refused(definition.name, str(refused))
        else:
            self.listener.repaired(definition.name, done)
