"""When each model was last built: what tells pending rows from drifted ones.

dbt's own run_results.json tells it of the latest invocation in this folder; the state remembers it, and has the builds
of other machines, where dbt itself records them (the macro ``reconcile_record_build``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from reconcile.definition.model import Build
from reconcile.state.store import NotedBuild, State

_BUILDING = ("run", "build", "retry")


def last_builds(
    state: State, artefacts: Path, target: str, default_target: str, relations: Mapping[str, str] | None = None
) -> dict[str, Build]:
    """``unique_id`` -> when its last successful build on ``target`` began and ended, as far as it is known.

    ``artefacts``: the folder of dbt's run_results.json. dbt does not note a target that was not named: then it was the
    profile's ``default_target``. ``relations``: the table of each model; a build of another table does not count.
    A build that dbt ran elsewhere and that nothing recorded is not known: then its rows are judged as they are.
    """
    state.note_builds(_results(artefacts / "run_results.json", target, default_target))
    latest: dict[str, Build] = {}
    for noted in state.builds(target):
        if noted.relation is None or relations is None or relations.get(noted.unique_id) == noted.relation:
            build, known = Build(noted.began, noted.ended), latest.get(noted.unique_id)
            latest[noted.unique_id] = build if known is None else max(known, build, key=_newest)
    return latest


def _newest(build: Build) -> tuple[datetime, bool, datetime]:
    """Of two notes of one build the one that tells its end counts."""
    return build.began, build.ended is not None, build.ended or build.began


def _results(path: Path, target: str, default_target: str) -> list[NotedBuild]:
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        arguments = results.get("args") or {}
        if (arguments.get("target") or default_target) != target or arguments.get("which") not in _BUILDING:
            return []
        return [build for result in results["results"] if (build := _build(result, target)) is not None]
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return []


def _build(result: dict[str, Any], target: str) -> NotedBuild | None:
    if result.get("status") != "success" or not str(result.get("unique_id", "")).startswith("model."):
        return None
    timings = {timing["name"]: timing for timing in result.get("timing") or []}
    began = timings.get("compile", timings.get("execute", {})).get("started_at")
    ended = timings.get("execute", {}).get("completed_at")
    if not began:
        return None
    ended_at = _instant(ended) if ended else None
    return NotedBuild(result["unique_id"], result.get("relation_name"), target, _instant(began), ended_at)


def _instant(told: str) -> datetime:
    return datetime.fromisoformat(told.replace("Z", "+00:00"))
