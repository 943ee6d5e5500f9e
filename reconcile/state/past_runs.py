"""Past runs: one report again, or the timeline of a page."""

from __future__ import annotations

from dataclasses import replace

from reconcile.errors import ReconcileError
from reconcile.report.model import PastRun, PastTable, Report
from reconcile.state.store import State

_ON_A_PAGE = 60  # runs of a timeline


def read(state: State, run_id: str | None = None) -> Report:
    """A past run's report, the latest one without an id. Raises ReconcileError where there is none."""
    if run_id is not None and (found := state.report(run_id)) is not None:
        return found
    latest = state.reports(3)
    if not latest:
        where = " and ".join(state.places()) or "this project"
        raise ReconcileError(f"no past runs in {where}: run `reconcile check` first")
    if run_id is None:
        return latest[-1]
    listed = ", ".join(report.run_id for report in latest)
    raise ReconcileError(f"no run {run_id!r} among the past runs; the latest are {listed}")


def with_past(report: Report, state: State) -> Report:
    """The report with what the runs before it found on the same target."""
    before = (r for r in state.reports(_ON_A_PAGE) if r.target == report.target and r.run_id < report.run_id)
    return replace(report, past=tuple(map(past_run, before)))


def past_run(report: Report) -> PastRun:
    tables = {table.name: PastTable(table.verdict, table.drift.of_rows()) for table in report.tables}
    return PastRun(report.run_id, report.finished_at, tables)
