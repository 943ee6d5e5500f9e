"""When each model was last proven level, and by which definition; the causes of a later drift rest on it.

Kept in a file beside our other state: a role that may only read can still prove.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass, field
from pathlib import Path

from reconcile.atomic_files import write_whole
from reconcile.engines.base import Moment
from reconcile.engines.build_session import BuildSession

log = logging.getLogger("reconcile")


@dataclass(frozen=True)
class Proof:
    """At ``moment`` the table held just what ``sql`` gave in ``session``."""

    moment: Moment
    sql: str
    session: BuildSession = field(default_factory=BuildSession)


class Proofs:
    """The proofs of one database, by ``unique_id``. A lost or foreign file costs causes, never a verdict."""

    def __init__(self, root: Path, identity: str) -> None:
        self._file = root / "target" / "reconcile" / "proven.json"
        self._identity = identity
        self._all = _read(self._file)
        self._new: dict[str, dict[str, object]] = {}

    def of(self, unique_id: str) -> Proof | None:
        found = self._all.get(self._identity, {}).get(unique_id)
        if not isinstance(found, dict) or not isinstance(found.get("sql"), str):
            return None
        xid = found.get("xid")
        moment = Moment(str(found.get("at")), xid if isinstance(xid, int) else None)
        return Proof(moment, str(found["sql"]), _session(found.get("session")))

    def add(self, unique_id: str, proof: Proof) -> None:
        self._new[unique_id] = {"at": proof.moment.at, "xid": proof.moment.xid, "sql": proof.sql}
        if proof.session:
            self._new[unique_id]["session"] = asdict(proof.session)

    def keep(self) -> None:
        """Write what was added; told and passed over where that cannot be done."""
        if not self._new:
            return
        kept = _read(self._file)  # another run may have written meanwhile
        kept.setdefault(self._identity, {}).update(self._new)
        try:
            write_whole(self._file, json.dumps(kept, indent=1))
        except OSError as error:
            log.warning("what was proven could not be kept in %s: %s", self._file, error.strerror)


def _session(stored: object) -> BuildSession:
    if not isinstance(stored, dict):
        return BuildSession()
    settings = tuple((str(name), str(value)) for name, value in stored.get("settings") or ())
    return BuildSession(settings, tuple(map(str, stored.get("functions") or ())))


def _read(file: Path) -> dict[str, dict[str, object]]:
    try:
        body = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return body if isinstance(body, dict) else {}
