"""How a repair writes on an engine: in one transaction, or by one MERGE per table if it has no transactions."""

from __future__ import annotations

from reconcile.engines.base import CommitsStatements, Engine
from reconcile.errors import Refused
from reconcile.repair import journal
from reconcile.repair import merge_writer as merging
from reconcile.repair.cascades import Cascades, deleted_rows, rows_to_delete
from reconcile.repair.guards import Guards, check_guards, check_shape, dragged_text
from reconcile.repair.merge_writer import LocalPlanTexts, StoredPlan
from reconcile.repair.plan_file import Dragged, PlannedTable
from reconcile.repair.plan_tables import Images, PlanTable, PlanTexts
from reconcile.repair.row_writer import RowWriter, Written


def new_plan_table(engine: Engine, images: Images) -> PlanTable:
    return StoredPlan(engine, images) if isinstance(engine, CommitsStatements) else PlanTable(engine, images)


def new_plan_texts(engine: Engine) -> PlanTexts:
    return LocalPlanTexts(engine) if isinstance(engine, CommitsStatements) else PlanTexts(engine)


def ensure_tables(engine: Engine) -> None:
    """Create the journal if it does not exist, and add to it what an interrupted repair has written."""
    journal.ensure_tables(engine)
    if isinstance(engine, CommitsStatements):
        merging.ensure_tables(engine)
        merging.recover(engine)


def write(engine: Engine, entry: journal.Entry, staged: PlanTable, planned: PlannedTable, guards: Guards) -> Written:
    """Write a plan table's rows and their journal, in one transaction or so that an interrupted one can be finished."""
    if isinstance(staged, StoredPlan):
        try:
            return merging.Merge(engine, entry, staged).write()
        finally:
            staged.drop()
    with engine.transaction(), engine.pinned():
        engine.lock_table(entry.relation)
        check_shape(engine, entry.relation, planned.name, planned.shape)
        check_guards(planned, guards, rows_now=int(engine.one(f"select count(*) from {entry.relation}")[0]))
        return write_and_journal(engine, entry, staged, guards.cascade)


def write_and_journal(engine: Engine, entry: journal.Entry, staged: PlanTable, cascade: bool) -> Written:
    """Write a plan table's rows and what they drag along, with their journal, inside a transaction."""
    writer = RowWriter(engine, entry.relation, staged)
    actions = writer.lock()
    cascades = Cascades(engine, entry.relation, staged.images)
    cascades.find(deleted_rows(staged.images) if actions.get("delete") else None)
    if cascades.found and not cascade:
        raise Refused(f"{entry.relation}: {dragged_text(cascades.counts)}, which needs --cascade: rolled back")
    written = writer.write(cascades.in_table())
    cascades.prove()
    if written.inserted or written.updated or written.deleted:
        journal.write(engine, entry, written, staged)
        cascades.journal(entry)
    staged.drop()
    return written


def count_dragged(engine: Engine, relation: str, staged: PlanTable) -> tuple[Dragged, ...]:
    """The rows of other tables that the deletions of a plan would change."""
    with engine.transaction():
        cascades = Cascades(engine, relation, staged.images)
        cascades.find(rows_to_delete(engine, relation, staged.images))
        return cascades.counts
