"""The state of one dbt project: in its database, where that has a schema ``reconcile``, and in a folder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from reconcile.engines.factory import Connection
from reconcile.errors import ConnectionFailed, ReconcileError
from reconcile.report.model import Report
from reconcile.state.database import DatabaseState, keeps_state
from reconcile.state.folder import FolderState, state_folder
from reconcile.state.store import KEPT, NotedBuild, Proven, State

T = TypeVar("T")
KEEP_DAYS = 90
log = logging.getLogger("reconcile")
_told: set[str] = set()  # databases that could not be written: logged once per process


def open_state(
    connection: Connection, root: Path, project: str, state_dir: Path | None = None, keep_days: int = KEEP_DAYS
) -> State:
    """The state of a project on a target; nothing is read yet.

    A database without transactions over several statements keeps none: it is in the folder alone.
    """
    folder = FolderState(state_folder(root, state_dir), connection.identity)
    if not keeps_state(connection):
        return folder
    return SharedState(DatabaseState(connection, project, keep_days), folder, connection.identity)


class SharedState:
    """State in a database and in a folder: both are read, and the newest counts.

    The database is written where it has our schema; the folder too, so that past runs can be read without a server.
    """

    def __init__(self, database: DatabaseState, folder: FolderState, identity: str) -> None:
        self._database, self._folder, self._identity = database, folder, identity
        self._noted: list[NotedBuild] = []

    def places(self) -> list[str]:
        try:
            missing = self._database.missing()
        except ReconcileError as error:
            missing = str(error)
        return [*([] if missing else ["schema reconcile of the database"]), *self._folder.places()]

    def builds(self, target: str) -> list[NotedBuild]:
        return [*self._read[0], *self._folder.builds(target)]

    def note_builds(self, builds: Sequence[NotedBuild]) -> None:
        known = {(build.unique_id, build.relation): build.began for build in self._read[0]}
        never = datetime.min.replace(tzinfo=UTC)
        self._noted += [b for b in builds if b.relation and known.get((b.unique_id, b.relation), never) < b.began]
        self._folder.quiet = True  # keep_report tells where neither place can be written
        self._folder.note_builds(builds)

    def proofs(self) -> Proven:
        found = dict(self._read[1])
        for name, proof in self._folder.proofs().items():
            if name not in found or found[name].moment.at < proof.moment.at:
                found[name] = proof
        return found

    def keep_proofs(self, proofs: Proven) -> bool:
        noted, self._noted = self._noted, []
        kept = self._written(lambda: self._database.add(proofs, noted))
        self._folder.quiet = kept
        return self._folder.keep_proofs(proofs) or kept

    def report(self, run_id: str) -> Report | None:
        found = self._past(lambda: self._database.reports(1, run_id))
        return found[0] if found else self._folder.report(run_id)

    def reports(self, latest: int | None = None) -> list[Report]:
        found = {report.run_id: report for report in self._folder.reports(latest)}
        for report in self._past(lambda: self._database.reports(latest or KEPT)):
            found[report.run_id] = report
        return [found[run_id] for run_id in sorted(found)][-(latest or KEPT) :]

    def keep_report(self, report: Report) -> bool:
        kept = self._written(lambda: self._database.keep_report(report))
        self._folder.quiet = kept
        return self._folder.keep_report(report) or kept

    @cached_property
    def _read(self) -> tuple[list[NotedBuild], Proven]:
        try:
            return self._database.read()
        except ConnectionFailed as error:
            log.info("build times and proofs of the database are not known: %s", error)  # a check will fail, and say so
        except ReconcileError as error:
            log.warning("build times and proofs of the database cannot be read: %s", error)
        return [], {}

    def _past(self, read: Callable[[], list[Report]]) -> list[Report]:
        try:
            return read()
        except ReconcileError as error:
            log.warning("past runs of the database cannot be read: %s", error)
            return []

    def _written(self, write: Callable[[], bool]) -> bool:
        try:
            return write()
        except ReconcileError as error:
            if self._identity not in _told:
                _told.add(self._identity)
                log.info("build times, proofs and reports are kept in %s alone: %s", self._folder.folder, error)
            return False
