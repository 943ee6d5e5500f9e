"""``reconcile undo``: put back what a repair has written, where it still stands as the repair left it."""

from __future__ import annotations

from dataclasses import replace

from reconcile.dbt.project import Project
from reconcile.engines.base import CommitsStatements, Engine
from reconcile.engines.factory import open_engine
from reconcile.errors import ReconcileError, Refused
from reconcile.repair import journal
from reconcile.repair import merge_writer as merging
from reconcile.repair.merge_writer import StoredPlan
from reconcile.repair.plan_tables import PlanTable
from reconcile.repair.row_writer import RowWriter, Written
from reconcile.repair.session import Applied, new_plan_table
from reconcile.report.run_id import new_run_id


def undo(project: Project, run_id: str, apply: bool) -> Applied:
    """Take a repair back, where its rows are still as it left them; the rest is counted as stale.

    Without ``apply`` only counts what would be restored. It is one transaction where the engine has such, else a commit
    a table. Raises Refused for an unknown run.
    """
    engine = open_engine(project.connection)
    try:
        if isinstance(engine, CommitsStatements):
            return _undo_by_merge(engine, run_id, apply)
        entries = journal.read(engine, run_id)
        done = Applied(new_run_id())
        with engine.repair_lock(), engine.transaction():
            for entry in entries:
                done = done.with_table(_undo_entry(engine, entry, done.run_id))
            if not apply:
                raise _PlanOnly(done)
        return done
    except _PlanOnly as planned:
        return planned.total
    finally:
        engine.close()


class _PlanOnly(Exception):
    """Rolls the undo back after it has shown what it would do."""

    def __init__(self, total: Applied) -> None:
        super().__init__()
        self.total = total


def _undo_by_merge(engine: Engine, run_id: str, apply: bool) -> Applied:
    done = Applied(new_run_id())
    with engine.repair_lock():
        merging.recover(engine)  # a run that broke off is known by its note alone
        for entry in journal.read(engine, run_id):
            staged = _reversed_plan(engine, entry)
            assert isinstance(staged, StoredPlan)
            merge = merging.Merge(engine, replace(entry, run_id=done.run_id, undoes=run_id), staged)
            try:
                done = done.with_table(merge.write() if apply else merge.look())
            except ReconcileError as error:
                wrote = done.inserted or done.updated or done.deleted
                before = f"; the tables before it were restored, as run {done.run_id}" if apply and wrote else ""
                raise type(error)(f"{entry.relation}: {error}{before}") from error
            finally:
                staged.drop()
    return done


def _reversed_plan(engine: Engine, entry: journal.Entry) -> PlanTable:
    columns = engine.table_columns(entry.relation)
    if columns is None:
        raise Refused(f"{entry.relation} does not exist any more: nothing of {entry.run_id} can be restored")
    staged = new_plan_table(engine, journal.images_of(engine, entry, columns))
    staged.fill_from(journal.reversed_rows(engine, entry))
    return staged


def _undo_entry(engine: Engine, entry: journal.Entry, undo_id: str) -> Written:
    staged = _reversed_plan(engine, entry)
    written = RowWriter(engine, entry.relation, staged).write()
    if written.inserted or written.updated or written.deleted:
        undone = replace(entry, run_id=undo_id, undoes=entry.run_id)
        journal.write(engine, undone, written, staged)
    staged.drop()
    return written
