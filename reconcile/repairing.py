"""``reconcile repair`` as a run: plan or read a plan, ask, apply, compare again, report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from reconcile.check import check_tables, open_project
from reconcile.errors import Refused
from reconcile.plan import Plan, read_plan, write_plan
from reconcile.project import Options, Project
from reconcile.repair import Guards, apply_plan, check_guards, make_plan, repair_report
from reconcile.report import RepairOutcome, Report
from reconcile.runs import now
from reconcile.watching import Watcher


@dataclass(frozen=True)
class Asked:
    """What the user asked for. ``confirm`` is given what would be written and says whether to go on."""

    plan_file: Path | None
    apply: bool
    allow_delete: bool
    max_rows: int
    max_percent: float
    confirm: Callable[[str], bool]


def repair_run(options: Options, asked: Asked, watcher: Watcher) -> Report:
    """Plan, or plan and apply. Raises ReconcileError where a guard or the database refuses: nothing was written."""
    started_at = now()
    project = open_project(options)
    guards = Guards(asked.max_rows, asked.max_percent, asked.allow_delete)
    if asked.apply and asked.plan_file is not None:
        plan = read_plan(asked.plan_file, project.connection.target, project.connection.identity)
        return _applied(project, plan, guards, asked, started_at, watcher)
    plan, tables = make_plan(project, guards)
    if asked.apply and plan.tables:
        return _applied(project, plan, guards, asked, started_at, watcher)
    if not plan.tables:
        return repair_report(project, tables, started_at, _planned(plan, None))
    path = asked.plan_file or project.root / "target" / "reconcile" / "plans" / f"{plan.plan_id}.json"
    write_plan(plan, path)
    return repair_report(project, tables, started_at, _planned(plan, str(path)))


def _applied(project: Project, plan: Plan, guards: Guards, asked: Asked, started_at: str, watcher: Watcher) -> Report:
    check_guards(plan, guards)
    if not asked.confirm(_said(plan)):
        raise Refused("not confirmed: nothing was written")
    done = apply_plan(project, plan, guards)
    # the proof: compared again after the commit, not believed
    tables = check_tables(project, watcher)
    planned = _planned(plan, str(asked.plan_file) if asked.plan_file else None)
    outcome = replace(
        planned,
        applied=True,
        run_id=done.run_id,
        inserted=done.inserted,
        updated=done.updated,
        deleted=done.deleted,
        stale=done.stale,
    )
    return repair_report(project, tables, started_at, outcome)


def _planned(plan: Plan, plan_file: str | None) -> RepairOutcome:
    inserted, updated, deleted = (
        sum(table.count(action) for table in plan.tables) for action in ("insert", "update", "delete")
    )
    return RepairOutcome(plan.plan_id, plan_file, False, None, inserted, updated, deleted)


def _said(plan: Plan) -> str:
    told = _planned(plan, None)
    names = ", ".join(table.name for table in plan.tables)
    return f"{told.inserted} rows to insert, {told.updated} to update, {told.deleted} to delete in {names}"
