"""``reconcile repair``: plan, guard, apply, compare again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from reconcile.dbt.project import Project
from reconcile.definition.model import Definition
from reconcile.engines.base import CommitsStatements
from reconcile.engines.factory import open_engine
from reconcile.errors import ReconcileError, Refused
from reconcile.model_check.judge_model import CheckRequest, judge_definition
from reconcile.repair import journal
from reconcile.repair.guards import (
    Guards,
    check_guards,
    check_journal_rights,
    check_rights,
    check_shape,
    shape_of,
    write_order,
)
from reconcile.repair.plan_file import Dragged, PlannedRow, PlannedTable, RepairPlan, Rows, new_plan, open_plan
from reconcile.repair.plan_tables import PlanTable
from reconcile.repair.row_writer import Written
from reconcile.repair.stage import stage
from reconcile.repair.writers import count_dragged, ensure_tables, new_plan_texts, write
from reconcile.report.model import Refusal, TableReport, Verdict
from reconcile.report.progress import Watcher
from reconcile.report.run_id import new_run_id

log = logging.getLogger("reconcile")
_FRESH_SECONDS = 5.0  # a plan older than this (a user was asked) is evaluated again before it is written


@dataclass(frozen=True)
class Applied:
    """What a repair did, in all tables. ``stale`` rows were not what the plan saw, and were not written.

    ``refused``: the models that were not repaired, each with the reason.
    """

    run_id: str
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    stale: int = 0
    refused: tuple[Refusal, ...] = ()

    def with_table(self, written: Written) -> Applied:
        return replace(
            self,
            inserted=self.inserted + written.inserted,
            updated=self.updated + written.updated,
            deleted=self.deleted + written.deleted,
            stale=self.stale + written.stale,
        )


class RepairSession:
    """One connection that plans a repair and applies it. ``plan`` is the plan's head once ``make`` or ``read`` is done.

    The planned rows are in temporary tables of the connection, so that the client holds none of them. ``refused`` are
    the models that cannot be repaired: the refusal of one does not stop the others.
    """

    plan: RepairPlan

    def __init__(self, project: Project) -> None:
        self.project = project
        self.engine = open_engine(project.connection)
        self.refused: list[Refusal] = []
        self._texts = new_plan_texts(self.engine)
        self._unique: dict[str, bool] = {}  # by model: every key occurred once when it was judged
        self._staged: PlanTable | None = None  # the rows of the only table, as they were just planned
        self._staged_at = 0.0

    def close(self) -> None:
        self.engine.close()

    def make(self, brief: bool = False, watcher: Watcher = Watcher()) -> tuple[TableReport, ...]:  # noqa: B008
        """Judge every model and plan what would make it level. Writes nothing.

        With ``brief`` the reports say only whether a model drifted: enough if it is repaired at once. A model that
        cannot be judged, or whose drift rows cannot repair, is in ``refused``. Raises that refusal if no other model is
        left.
        """
        tables: list[PlannedTable] = []
        reports = []
        for definition in self.project.definitions:
            if not definition.settings.enabled:
                continue
            report = judge_definition(self.engine, definition, CheckRequest(brief=brief), watcher=watcher)
            watcher.ended(report)
            reports.append(report)
            try:
                planned = self._planned(definition, report, len(tables), watcher)
            except ReconcileError as error:
                self._refuse(definition.name, error)
                self._texts.forget(len(tables))
                self._staged = None
                continue
            if planned is not None:
                tables.append(planned)
        if not tables:
            self._raise_refusals()
        if len(tables) > 1:
            self._staged = None
        connection = self.project.connection
        self.plan = new_plan(new_run_id(), connection.target, connection.identity, tuple(tables))
        return tuple(reports)

    def read(self, path: Path) -> None:
        """Take the plan from a file. Raises Refused if it was edited, is another database's, or has expired."""
        connection = self.project.connection
        with open_plan(path, connection.target, connection.identity) as (plan, rows):
            self._texts.load(rows)
        self.plan = plan

    def rows(self, limit: int | None = None) -> Rows:
        """The planned rows, table by table in key order; with ``limit`` that many of each table."""
        for index in range(len(self.plan.tables)):
            for row in self._texts.rows(index, limit):
                yield index, row

    def rows_of(self, index: int, action: str) -> Iterator[PlannedRow]:
        """The planned rows of one table that an action writes, in key order."""
        return self._texts.rows(index, action=action)

    def apply(self, guards: Guards, report: Callable[[str], None] = log.info) -> Applied:
        """Run exactly this plan: one transaction per model, each with its journal.

        A row that is not what the plan saw, or that its definition does not ask for now, is not written and counted. A
        model that is refused is rolled back whole and is in ``refused``. Raises that refusal if no other model is left.
        """
        definitions = {definition.unique_id: definition for definition in self.project.definitions}
        unknown = [table.name for table in self.plan.tables if table.unique_id not in definitions]
        if unknown:
            raise Refused(f"the plan repairs {unknown[0]}, which is not selected here: select it, or plan again")
        allowed = self.allowed(guards)
        done, written_any = Applied(new_run_id()), False
        # where statements commit by themselves, what was interrupted is finished whatever is planned
        if allowed or isinstance(self.engine, CommitsStatements):
            with self.engine.repair_lock():
                check_journal_rights(self.engine)
                ensure_tables(self.engine)
                for index in self.order():
                    table = self.plan.tables[index]
                    if index not in allowed:
                        continue
                    try:
                        check_rights(self.engine, table)
                        written = self._apply_table(definitions[table.unique_id], index, done.run_id, guards)
                    except ReconcileError as error:
                        self._refuse(table.name, error)
                        continue
                    written_any = True
                    counts = f"{written.inserted} inserted, {written.updated} updated, {written.deleted} deleted"
                    report(f"{table.name}: {counts}, {written.stale} stale")
                    done = done.with_table(written)
        if not written_any:
            self._raise_refusals()
        return replace(done, refused=tuple(self.refused))

    def allowed(self, guards: Guards) -> set[int]:
        """The tables of the plan that the guards allow; the others are added to ``refused``."""
        found = set()
        for index, table in enumerate(self.plan.tables):
            try:
                check_guards(table, guards)
                found.add(index)
            except Refused as refused:
                self._refuse(table.name, refused)
        return found

    def forget(self, days: int) -> int:
        """Delete journal entries older than ``days`` days; how many tables' entries were deleted."""
        return journal.prune(self.engine, days)

    def _refuse(self, name: str, error: ReconcileError) -> None:
        self._last_error = error
        text = str(error)
        refusal = Refusal(name, text if text.startswith(name) else f"{name}: {text}")
        if refusal not in self.refused:
            self.refused.append(refusal)

    def _raise_refusals(self) -> None:
        if self.refused:
            raise type(self._last_error)("; ".join(refusal.reason for refusal in self.refused))

    def _planned(
        self, definition: Definition, report: TableReport, index: int, watcher: Watcher
    ) -> PlannedTable | None:
        """What a model's repair would write; None if it is nothing."""
        if report.verdict in (Verdict.UNVERIFIED, Verdict.ERROR):
            raise Refused(
                f"{definition.name} is {report.verdict.value} ({report.error}) and is never repaired: "
                f"leave it out with --exclude {definition.name}"
            )
        if report.verdict is not Verdict.DRIFT:
            return None
        watcher.phase(f"planning the repair of {definition.name}")
        planned = self._plan_table(definition, report, index)
        if definition.never_refreshed:
            self._keep_rows(definition, report, planned)
        if planned.written:
            return planned
        self._staged = None  # the only plan table of the session has none of the rows planned before
        return None

    def _keep_rows(self, definition: Definition, report: TableReport, planned: PlannedTable) -> None:
        """Note the rows that only the table of a never refreshed model has. Raises Refused if a plan would delete."""
        never = "its full_refresh is false, so rows whose source was purged may be right and no repair deletes any"
        if planned.deletes:
            raise Refused(
                f"{definition.name}: its repair needs {planned.deletes} deletions (rows without a key, or keys that "
                f"occur more than once), but {never}: delete them by hand"
            )
        if not report.drift.extra:
            return
        left = f"{report.drift.extra} rows that only the table has are left" if report.drift.extra > 1 else ""
        left = left or "1 row that only the table has is left"
        if planned.updates:
            raise Refused(
                f"{definition.name}: {left}: {never}; its {planned.updates} changed rows may be right for the same "
                "reason: correct them by hand, or delete the rows that are wrong first"
            )
        self._refuse(definition.name, Refused(f"{left}: {never}"))

    def _plan_table(self, definition: Definition, report: TableReport, index: int) -> PlannedTable:
        if report.schema_changes:
            change = report.schema_changes[0]
            raise Refused(
                f"{definition.name}: the column {change.column} is {change.problem} in the table, which rows cannot "
                f"fix: run `dbt build --full-refresh -s {definition.name}`"
            )
        self._unique[definition.unique_id] = report.drift.duplicate == 0
        shape = shape_of(self.engine, definition.relation_name)
        unneeded = 0

        def take(table: PlanTable) -> None:
            nonlocal unneeded
            self._texts.take(index, table)
            unneeded = table.unneeded() if table.lasts else 0  # of a plan table that is a SELECT it is not counted

        staged = self._staged = self._stage(definition, take)
        self._staged_at = time.monotonic()
        counts = self._texts.counts(index)
        dragged: tuple[Dragged, ...] = ()
        if counts.get("delete") and staged.lasts:
            dragged = count_dragged(self.engine, definition.relation_name, staged)
        return PlannedTable(
            name=definition.name,
            unique_id=definition.unique_id,
            relation=definition.relation_name,
            key=staged.images.key,
            rows_expected=report.scope.rows_expected or 0,
            rows_actual=report.scope.rows_actual or 0,
            inserts=counts.get("insert", 0),
            updates=counts.get("update", 0),
            deletes=counts.get("delete", 0),
            shape=shape,
            dragged=dragged,
            unneeded=unneeded,
        )

    def _stage(self, definition: Definition, then: Callable[[PlanTable], None]) -> PlanTable:
        return stage(self.engine, definition, self._unique.get(definition.unique_id, False), then)

    def _apply_table(self, definition: Definition, index: int, run_id: str, guards: Guards) -> Written:
        planned = self.plan.tables[index]
        check_shape(self.engine, planned.relation, planned.name, planned.shape)
        staged, passed_over = self._staged, 0
        if staged is None or not staged.lasts or time.monotonic() - self._staged_at > _FRESH_SECONDS:
            # what the definition asks for now, not when the plan was made: an update since then is not undone
            staged = self._stage(definition, lambda table: table.settle())
            with self.engine.transaction(), self.engine.pinned():
                passed_over = self._texts.size(index) - self._texts.keep(index, staged)
        self._staged = None
        entry = journal.Entry(
            run_id, planned.unique_id, planned.relation, planned.key, self.plan.plan_id, shape=planned.shape
        )
        written = write(self.engine, entry, staged, planned, guards)
        return replace(written, stale=written.stale + passed_over)

    def order(self) -> list[int]:
        """The plan's tables in an order that foreign keys allow."""
        tables = self.plan.tables
        return write_order(self.engine, [(t.name, t.relation, bool(t.deletes and not t.inserts)) for t in tables])


@contextmanager
def repair_session(project: Project) -> Iterator[RepairSession]:
    """A session for one repair. It is closed at the end, and what it planned is gone then."""
    session = RepairSession(project)
    try:
        yield session
    finally:
        session.close()
