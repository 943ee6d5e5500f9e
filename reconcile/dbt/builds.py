"""When each model was last built, from dbt's own run_results.json: what tells pending rows from drifted ones.

dbt keeps only its latest invocation there, so what was seen once is remembered beside our other state.
"""

from __future__ import annotations

import json
import logging
from datetime import datetime
from pathlib import Path
from typing import Any

from reconcile.atomic_files import write_whole
from reconcile.definition.model import Build

log = logging.getLogger("reconcile")
_BUILDING = ("run", "build", "retry")


def last_builds(root: Path, target: str, default_target: str) -> dict[str, Build]:
    """``unique_id`` -> when its last successful build on ``target`` began and ended, as far as it is known.

    dbt does not note a target that was not named: then it was the profile's ``default_target``.
    A build that dbt ran elsewhere leaves nothing here: then its rows are judged as they are.
    """
    memory = root / "target" / "reconcile" / "builds.json"
    known: dict[str, dict[str, str]] = _read(memory) or {}
    latest = known.setdefault(target, {})
    results = _read(root / "target" / "run_results.json") or {}
    arguments = results.get("args") or {}
    if (arguments.get("target") or default_target) == target and arguments.get("which") in _BUILDING:
        for result in results.get("results", []):
            ran = _ran(result)
            if ran and ran > latest.get(result["unique_id"], ""):
                latest[result["unique_id"]] = ran
        try:
            write_whole(memory, json.dumps(known, indent=1))
        except OSError as error:
            log.warning("the times of the last builds could not be kept in %s: %s", memory, error.strerror)
    return {unique_id: _build(ran) for unique_id, ran in latest.items()}


def _build(ran: str) -> Build:
    began, _, ended = ran.partition("/")
    return Build(datetime.fromisoformat(began), datetime.fromisoformat(ended) if ended else None)


def _ran(result: dict[str, Any]) -> str | None:
    """From when to when a model was built, as ISO 8601 writes an interval; without its end where dbt does not tell."""
    if result.get("status") != "success" or not str(result.get("unique_id", "")).startswith("model."):
        return None
    timings = {timing["name"]: timing for timing in result.get("timing") or []}
    began = timings.get("compile", timings.get("execute", {})).get("started_at")
    ended = timings.get("execute", {}).get("completed_at")
    return "/".join(at.replace("Z", "+00:00") for at in (began, ended) if at) if began else None


def _read(path: Path) -> dict[str, Any] | None:
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return body if isinstance(body, dict) else None
