"""``reconcile repair`` as a run: plan or read a plan, ask, apply, compare again, report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from reconcile.dbt.project import Options, Project
from reconcile.errors import Refused
from reconcile.model_check.run import check_tables, open_project
from reconcile.repair.guards import Guards
from reconcile.repair.plan_file import PlannedRow, write_plan
from reconcile.repair.session import Applied, RepairSession, repair_session
from reconcile.repair.sql_script import write_script
from reconcile.report.model import Cell, PlannedChange, PlannedPart, RepairOutcome, Report, TableReport
from reconcile.report.progress import Watcher
from reconcile.report.run_id import now
from reconcile.state.folder import state_folder
from reconcile.state.verdict_table import record

_SHOWN = 20  # rows per table in the report; the plan file holds all


@dataclass(frozen=True)
class RepairRequest:
    """What the user asked for. ``confirm`` is given the plan and returns whether to write.

    ``sql_file`` is where to write the statements for review; ``journal_days`` is how long the journal keeps what
    earlier repairs did (None: for ever).
    """

    plan_file: Path | None
    apply: bool
    allow_delete: bool
    max_rows: int
    max_percent: float
    confirm: Callable[[RepairOutcome], bool]
    sql_file: Path | None = None
    journal_days: int | None = None
    cascade: bool = False


def repair_run(source: Options | Project, request: RepairRequest, watcher: Watcher) -> Report:
    """Plan, or plan and apply. The report names the models that were refused.

    Raises ReconcileError if every model with drift is refused, or the run is not confirmed: no row was written then.
    """
    started_at = now()
    watcher.phase("reading the dbt project")
    project = open_project(source) if isinstance(source, Options) else source
    guards = Guards(request.max_rows, request.max_percent, request.allow_delete, request.cascade)
    tables: tuple[TableReport, ...] = ()
    with repair_session(project) as session:
        path = request.plan_file
        if request.apply and path is not None:
            session.read(path)
            planned = {table.unique_id for table in session.plan.tables}
            project = replace(project, definitions=tuple(d for d in project.definitions if d.unique_id in planned))
        else:
            tables = session.make(brief=request.apply, watcher=watcher)
            watcher.phase(None)
        if request.sql_file is not None:
            write_script(session, request.sql_file)
        outcome = replace(_planned(session), refused=tuple(session.refused))
        if request.apply and session.plan.tables:
            done = _applied(session, guards, request, outcome, watcher)
            outcome = replace(
                outcome,
                plan_file=str(path) if path else None,
                applied=True,
                run_id=done.run_id,
                inserted=done.inserted,
                updated=done.updated,
                deleted=done.deleted,
                stale=done.stale,
                refused=done.refused,
            )
        elif session.plan.tables:
            path = path or state_folder(project.root, project.state_dir) / "plans" / f"{session.plan.plan_id}.json"
            write_plan(session.plan, session.rows(), path)
            outcome = replace(outcome, plan_file=str(path))
    if request.apply:
        watcher.phase("comparing again")
        tables = check_tables(project, watcher)  # after the commit, as any other check would
    target = source.target if isinstance(source, Options) else None
    report = replace(_report(project, tables, started_at, outcome), aimed=target)
    if request.apply:
        record(report, project.connection)
    return report


def _applied(
    session: RepairSession, guards: Guards, request: RepairRequest, planned: RepairOutcome, watcher: Watcher
) -> Applied:
    if not session.allowed(guards):
        raise Refused("; ".join(refusal.reason for refusal in session.refused))
    if not request.confirm(planned):
        raise Refused("not confirmed: nothing was written")
    watcher.phase(f"writing {', '.join(table.name for table in session.plan.tables)}")
    done = session.apply(guards)
    if request.journal_days is not None:
        session.forget(request.journal_days)
    return done


def _planned(session: RepairSession) -> RepairOutcome:
    plan = session.plan
    changes: list[list[PlannedChange]] = [[] for _ in plan.tables]
    for index, row in session.rows(_SHOWN):
        changes[index].append(_change(row, plan.tables[index].key))
    parts = tuple(
        PlannedPart(table.name, table.inserts, table.updates, table.deletes, tuple(shown))
        for table, shown in zip(plan.tables, changes, strict=True)
    )
    inserted, updated, deleted = (
        sum(getattr(part, action) for part in parts) for action in ("insert", "update", "delete")
    )
    unneeded = sum(table.unneeded for table in plan.tables)
    return RepairOutcome(plan.plan_id, None, False, None, inserted, updated, deleted, tables=parts, unneeded=unneeded)


def _change(row: PlannedRow, key: tuple[str, ...]) -> PlannedChange:
    before, after = row.before or {}, row.after or {}
    cells = {name: Cell(after.get(name), before.get(name)) for name in (before or after) if name not in key}
    if row.action == "update":
        cells = {name: cell for name, cell in cells.items() if cell.expected != cell.actual}
    named = {name: (before or after)[name] for name in key}
    return PlannedChange(row.action, row.reason, named, cells, row.copies)


def _report(project: Project, tables: tuple[TableReport, ...], started_at: str, outcome: RepairOutcome) -> Report:
    return Report(
        run_id=outcome.run_id or outcome.plan_id,
        command="repair",
        target=project.connection.target,
        started_at=started_at,
        finished_at=now(),
        tables=tables,
        repair=outcome,
        excluded=project.excluded,
    )
