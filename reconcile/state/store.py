"""What is remembered between runs, wherever it is kept: build times, proofs and reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Protocol

from reconcile.engines.base import Moment
from reconcile.engines.build_session import BuildSession
from reconcile.report.model import Report

KEPT = 200  # runs that a folder keeps, and that are read at once


@dataclass(frozen=True)
class NotedBuild:
    """A successful build of a model: when it began and ended (aware, UTC), the latter where it was noted.

    ``relation`` is None where it was not noted.
    """

    unique_id: str
    relation: str | None
    target: str
    began: datetime
    ended: datetime | None = None


@dataclass(frozen=True)
class Proof:
    """At ``moment`` the table held just what ``sql`` gave in ``session``."""

    moment: Moment
    sql: str
    session: BuildSession = field(default_factory=BuildSession)


# unique_id and relation: two targets may have the same models in two schemas of one database
Proven = Mapping[tuple[str, str], Proof]


class State(Protocol):
    """What cannot be read is logged, and costs pending rows, causes or history, never a verdict."""

    def places(self) -> list[str]:
        """Where it is written now, in words, the first place first; none if it cannot be written anywhere."""

    def builds(self, target: str) -> list[NotedBuild]:
        """The latest build of each model that is known, of every relation."""

    def note_builds(self, builds: Sequence[NotedBuild]) -> None:
        """Remember builds that dbt's artefacts tell of; a database is written with the next ``keep_proofs``."""

    def proofs(self) -> Proven:
        """The newest proof of each table. The relation is "" where it was not noted."""

    def keep_proofs(self, proofs: Proven) -> bool:
        """Keep proofs, and the builds that were noted; whether that was possible."""

    def report(self, run_id: str) -> Report | None:
        """A past run's report. Raises ReconcileError if it is of another version."""

    def reports(self, latest: int | None = None) -> list[Report]:
        """The latest reports, oldest first (None: as many as are kept); what is no report is passed over."""

    def keep_report(self, report: Report) -> bool:
        """Keep a report; whether that was possible."""


def session_to_json(session: BuildSession) -> dict[str, Any]:
    """What ``session_from_json`` reads; an empty object for a session without settings and functions."""
    return asdict(session) if session else {}


def session_from_json(stored: object) -> BuildSession:
    """A session as it was kept; an empty one for anything that is no object."""
    if not isinstance(stored, dict):
        return BuildSession()
    settings = tuple((str(name), str(value)) for name, value in stored.get("settings") or ())
    return BuildSession(settings, tuple(map(str, stored.get("functions") or ())))
