"""``reconcile undo``: restore the rows that a repair wrote and that are unchanged since."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

from reconcile.dbt.project import Project
from reconcile.engines.base import CommitsStatements, Engine
from reconcile.engines.factory import open_engine
from reconcile.engines.own_schema import SCHEMA
from reconcile.errors import ReconcileError, Refused
from reconcile.repair import journal
from reconcile.repair import merge_writer as merging
from reconcile.repair.guards import shape_of, write_order
from reconcile.repair.merge_writer import StoredPlan
from reconcile.repair.plan_tables import PlanTable
from reconcile.repair.row_writer import Written
from reconcile.repair.session import Applied
from reconcile.repair.writers import new_plan_table, write_and_journal
from reconcile.report.run_id import new_run_id


def undo(project: Project, run_id: str, apply: bool) -> Applied:
    """Restore the rows that a repair wrote, if they are still as it left them; the others are counted as stale.

    Without ``apply`` only counts what would be restored. It is one transaction if the engine has transactions, else one
    commit per table. Raises Refused for an unknown run, and for a table that changed its columns.
    """
    engine = open_engine(project.connection)
    try:
        if isinstance(engine, CommitsStatements):
            return _undo_by_merge(engine, run_id, apply)
        entries = journal.read(engine, run_id)
        done = Applied(new_run_id())
        with engine.repair_lock(), engine.transaction():
            # a journal of version 1 holds texts as the session printed them, and only such a session reads them right
            pinned = engine.pinned() if all(entry.shape is not None for entry in entries) else nullcontext()
            with pinned:
                for entry in _ordered(engine, entries):
                    done = done.with_table(_undo_entry(engine, entry, done.run_id))
            if not apply:
                raise _PlanOnly(done)
        return done
    except _PlanOnly as planned:
        return planned.total
    finally:
        engine.close()


def _ordered(engine: Engine, entries: list[journal.Entry]) -> list[journal.Entry]:
    """The entries in an order that foreign keys allow."""
    tables = []
    for entry in entries:
        [(inserts, deletes)] = engine.rows(
            f"select count(*) filter (where action = 'delete'), count(*) filter (where action = 'insert')"
            f" from {SCHEMA}.repair_row where {journal.is_of(engine, entry)}"
        )
        tables.append((entry.relation, entry.relation, bool(deletes and not inserts)))
    return [entries[i] for i in write_order(engine, tables)]


class _PlanOnly(Exception):
    """Rolls the undo back after it has counted what it would do."""

    def __init__(self, total: Applied) -> None:
        super().__init__()
        self.total = total


def _undo_by_merge(engine: Engine, run_id: str, apply: bool) -> Applied:
    done = Applied(new_run_id())
    with engine.repair_lock():
        merging.recover(engine)  # of an interrupted run only its intent is recorded
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
        raise Refused(f"{entry.relation} no longer exists: nothing of {entry.run_id} can be restored")
    staged = new_plan_table(engine, journal.images_of(engine, entry, columns))
    staged.fill_from(journal.reversed_rows(engine, entry))
    return staged


def _undo_entry(engine: Engine, entry: journal.Entry, undo_id: str) -> Written:
    engine.lock_table(entry.relation)
    undone = replace(entry, run_id=undo_id, undoes=entry.run_id, shape=shape_of(engine, entry.relation))
    return write_and_journal(engine, undone, _reversed_plan(engine, entry), cascade=False)
