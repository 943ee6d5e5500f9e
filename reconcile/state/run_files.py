"""Past runs: each report is kept as a file beside dbt's own artefacts, so that a read-only role can check."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

from reconcile.atomic_files import write_whole
from reconcile.errors import ReconcileError
from reconcile.report.model import PastRun, PastTable, Report, report_from_dict

log = logging.getLogger("reconcile")
KEPT = 200  # runs
_ON_A_PAGE = 60  # runs of a timeline


def folder(project_dir: Path) -> Path:
    return project_dir.resolve() / "target" / "reconcile" / "runs"


def keep(report: Report, project_dir: Path) -> None:
    """Keep a report; one that cannot be kept is logged and does not change the run's verdict."""
    place = folder(project_dir)
    try:
        write_whole(place / f"{report.run_id}.json", report.to_json())
        for old in sorted(place.glob("*.json"))[:-KEPT]:
            old.unlink()
    except OSError as error:
        log.warning("the report of run %s could not be kept in %s: %s", report.run_id, place, error.strerror)


def read(project_dir: Path, run_id: str | None = None) -> Report:
    """A past run's report, the latest one without an id. Raises ReconcileError where there is none."""
    place = folder(project_dir)
    files = sorted(place.glob("*.json"))
    if not files:
        raise ReconcileError(f"no past runs in {place}: run `reconcile check` first")
    if run_id is None:
        return load(files[-1])
    found = [file for file in files if file.stem == run_id]
    if not found:
        latest = ", ".join(file.stem for file in files[-3:])
        raise ReconcileError(f"no run {run_id!r} in {place}; the latest are {latest}")
    return load(found[0])


def read_all(project_dir: Path, latest: int | None = None) -> list[Report]:
    """Every kept report, or the ``latest`` ones, oldest first; what is no report is passed over with a word."""
    reports = []
    for file in sorted(folder(project_dir).glob("*.json"))[-latest if latest else None :]:
        try:
            reports.append(load(file))
        except ReconcileError as error:
            log.warning("%s", error)
    return reports


def with_past(report: Report, project_dir: Path) -> Report:
    """The report with what the runs before it found on the same target."""
    before = (r for r in read_all(project_dir, _ON_A_PAGE) if r.target == report.target and r.run_id < report.run_id)
    return replace(report, past=tuple(map(past_run, before)))


def past_run(report: Report) -> PastRun:
    tables = {table.name: PastTable(table.verdict, table.drift.of_rows()) for table in report.tables}
    return PastRun(report.run_id, report.finished_at, tables)


def load(file: Path) -> Report:
    """The report in a file. Raises ReconcileError if it holds none, or one of another version."""
    try:
        return report_from_dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReconcileError(f"{file} is not a report of this version ({error}): remove it") from error
