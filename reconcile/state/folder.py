"""State in a folder, by default beside dbt's own artefacts: a role that may only read the database can use it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from reconcile.atomic_files import write_whole
from reconcile.engines.base import Moment
from reconcile.errors import ReconcileError
from reconcile.report.model import Report, report_from_dict
from reconcile.state.store import KEPT, NotedBuild, Proof, Proven, session_from_json, session_to_json

log = logging.getLogger("reconcile")
_told: set[Path] = set()  # folders whose trouble was logged: once per process, not per file


def target_folder(root: Path) -> Path:
    """Where dbt writes its artefacts: DBT_TARGET_PATH, else ``target``."""
    return root / os.environ.get("DBT_TARGET_PATH", "target")


def state_folder(root: Path, given: Path | None = None) -> Path:
    """Where state is kept in files: ``given``, else RECONCILE_STATE_DIR, else ``reconcile`` among dbt's artefacts."""
    chosen = given or os.environ.get("RECONCILE_STATE_DIR")
    return Path(chosen).expanduser().resolve() if chosen else target_folder(root.resolve()) / "reconcile"


def is_writable(folder: Path) -> bool:
    """Whether this user may write there, or make the folder."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


class FolderState:
    """State in files. ``identity``: the database whose proofs these are.

    ``quiet``: what cannot be written is not logged, because another place has it.
    """

    def __init__(self, folder: Path, identity: str = "", quiet: bool = False) -> None:
        self.folder, self.quiet = folder, quiet
        self._identity = identity
        self._noted: list[NotedBuild] = []

    def places(self) -> list[str]:
        return [str(self.folder)] if is_writable(self.folder) else []

    def builds(self, target: str) -> list[NotedBuild]:
        known = _read(self._builds).get(target)
        kept = [_noted(unique_id, target, ran) for unique_id, ran in (known or {}).items()]
        return [*kept, *(build for build in self._noted if build.target == target)]

    def note_builds(self, builds: Sequence[NotedBuild]) -> None:
        self._noted += builds
        known = _read(self._builds)
        before = json.dumps(known)
        for build in builds:
            latest = known.setdefault(build.target, {})
            ran = "/".join(at.isoformat() for at in (build.began, build.ended) if at)
            latest[build.unique_id] = max(latest.get(build.unique_id, ""), ran)
        if json.dumps(known) != before:
            self._write(self._builds, json.dumps(known, indent=1))

    def proofs(self) -> Proven:
        found = {}
        for unique_id, kept in (_read(self._proven).get(self._identity) or {}).items():
            if isinstance(kept, dict) and isinstance(kept.get("sql"), str):
                xid = kept.get("xid")
                moment = Moment(str(kept.get("at")), xid if isinstance(xid, int) else None)
                session = session_from_json(kept.get("session"))
                found[unique_id, str(kept.get("relation", ""))] = Proof(moment, kept["sql"], session)
        return found

    def keep_proofs(self, proofs: Proven) -> bool:
        if not proofs:
            return True
        kept = _read(self._proven)  # another run may have written meanwhile
        own = kept.setdefault(self._identity, {})
        for (unique_id, relation), proof in proofs.items():
            moment = proof.moment
            own[unique_id] = {"at": moment.at, "xid": moment.xid, "sql": proof.sql, "relation": relation}
            if proof.session:
                own[unique_id]["session"] = session_to_json(proof.session)
        return self._write(self._proven, json.dumps(kept, indent=1))

    def report(self, run_id: str) -> Report | None:
        file = next((file for file in self._files() if file.stem == run_id), None)
        return load(file) if file else None

    def reports(self, latest: int | None = None) -> list[Report]:
        reports = []
        for file in self._files()[-latest if latest else None :]:
            try:
                reports.append(load(file))
            except ReconcileError as error:
                log.warning("%s", error)
        return reports

    def keep_report(self, report: Report) -> bool:
        kept = self._write(self._runs / f"{report.run_id}.json", report.to_json())
        with suppress(OSError):
            for old in self._files()[:-KEPT]:
                old.unlink(missing_ok=True)
        return kept

    @property
    def _builds(self) -> Path:
        return self.folder / "builds.json"

    @property
    def _proven(self) -> Path:
        return self.folder / "proven.json"

    @property
    def _runs(self) -> Path:
        return self.folder / "runs"

    def _files(self) -> list[Path]:
        return sorted(self._runs.glob("*.json"))

    def _write(self, file: Path, text: str) -> bool:
        try:
            write_whole(file, text)
        except OSError as error:
            if not self.quiet and self.folder not in _told:
                _told.add(self.folder)
                log.warning(
                    "%s cannot be written (%s): build times, proofs and reports of this run are lost; "
                    "run `reconcile install`, or name a folder with --state-dir",
                    self.folder,
                    error.strerror,
                )
            return False
        return True


def _noted(unique_id: str, target: str, ran: str) -> NotedBuild:
    """A build out of its ISO 8601 interval; older releases kept only when it began."""
    began, _, ended = ran.partition("/")
    return NotedBuild(
        unique_id, None, target, datetime.fromisoformat(began), datetime.fromisoformat(ended) if ended else None
    )


def load(file: Path) -> Report:
    """The report in a file. Raises ReconcileError if it holds none, or one of another version."""
    try:
        return report_from_dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReconcileError(f"{file} is not a report of this version ({error}): remove it") from error


def _read(file: Path) -> dict[str, Any]:
    """An object of JSON; an empty one where the file is missing or half written: that costs causes, never a verdict."""
    try:
        body = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return dict(body) if isinstance(body, Mapping) else {}
