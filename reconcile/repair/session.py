"""``reconcile repair``: plan, guard, apply, compare again."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from reconcile.compare.align import Prepared
from reconcile.compare.sql import later_build_sql
from reconcile.dbt.project import Project
from reconcile.definition.model import Definition
from reconcile.engines.base import CommitsStatements, Engine
from reconcile.engines.factory import open_engine
from reconcile.engines.own_schema import SCHEMA
from reconcile.errors import NotComparable, ReconcileError, Refused
from reconcile.model_check.judge_model import CheckRequest, judge_definition, prepare_definition
from reconcile.repair import journal
from reconcile.repair import merge_writer as merging
from reconcile.repair.merge_writer import LocalGiven, StoredPlan
from reconcile.repair.plan_file import PlannedRow, PlannedTable, RepairPlan, Rows, new_plan, open_plan
from reconcile.repair.plan_tables import Given, Images, PlanTable
from reconcile.repair.row_writer import RowWriter, Written
from reconcile.report.model import RepairOutcome, Report, TableReport, Verdict
from reconcile.report.progress import Watcher
from reconcile.report.run_id import new_run_id, now

log = logging.getLogger("reconcile")
_FRESH_SECONDS = 5.0  # what was planned longer ago (somebody was asked) is evaluated again before it is written


@dataclass(frozen=True)
class Guards:
    """What bounds a repair; each refusal names the flag that would lift it."""

    max_rows: int = 10_000
    max_percent: float = 10.0
    allow_delete: bool = False


def check_guards(plan: RepairPlan, guards: Guards) -> None:
    """Refuse a plan that is larger than it may be, before the first write."""
    for table in plan.tables:
        if table.rows_expected == 0:
            raise Refused(
                f"{table.name}: its definition yields no rows, and a repair would empty it: "
                f"look at its sources (no flag lifts this; `dbt build --full-refresh` does it on purpose)"
            )
        if table.written > guards.max_rows:
            raise Refused(f"{table.name}: {table.written} or more rows to write, --max-rows allows {guards.max_rows}")
        percent = min(100 * table.written / max(table.rows_expected, table.rows_actual), 100)
        if percent > guards.max_percent:
            raise Refused(
                f"{table.name}: {table.written} rows to write are {percent:.1f} % of the table, "
                f"--max-percent allows {guards.max_percent:g}"
            )
        if table.deletes and not guards.allow_delete:
            raise Refused(f"{table.name}: {table.deletes} rows to delete, which needs --allow-delete")


@dataclass(frozen=True)
class Applied:
    """What a repair came to, in all tables; ``stale`` rows were no longer what the plan saw, and were left alone."""

    run_id: str
    inserted: int = 0
    updated: int = 0
    deleted: int = 0
    stale: int = 0

    def with_table(self, written: Written) -> Applied:
        return replace(
            self,
            inserted=self.inserted + written.inserted,
            updated=self.updated + written.updated,
            deleted=self.deleted + written.deleted,
            stale=self.stale + written.stale,
        )


class RepairSession:
    """One connection that plans a repair and applies it. The planned rows stand in temporary tables of its own, so that
    the client holds none of them; ``plan`` is their head once ``make`` or ``read`` is done."""

    plan: RepairPlan

    def __init__(self, project: Project) -> None:
        self.project = project
        self.engine = open_engine(project.connection)
        self._given = _new_given(self.engine)
        self._once: dict[str, bool] = {}  # by model: every key stood once when it was judged
        self._staged: PlanTable | None = None  # the rows of the only table, as they were just planned
        self._staged_at = 0.0

    def close(self) -> None:
        self.engine.close()

    def make(self, brief: bool = False, watcher: Watcher = Watcher()) -> tuple[TableReport, ...]:  # noqa: B008
        """Judge every model and plan what would make it level. Writes nothing.

        With ``brief`` the reports tell only whether a model drifted: enough where it is to be repaired at once.
        Raises Refused where a model cannot be judged, or differs in its columns: rows do not mend that.
        """
        tables: list[PlannedTable] = []
        reports = []
        for definition in self.project.definitions:
            if not definition.settings.enabled:
                continue
            report = judge_definition(self.engine, definition, CheckRequest(brief=brief), watcher=watcher)
            watcher.ended(report)
            reports.append(report)
            if report.verdict in (Verdict.UNVERIFIED, Verdict.ERROR):
                raise Refused(
                    f"{definition.name} is {report.verdict.value} ({report.error}) and is never repaired: "
                    f"leave it out with --exclude {definition.name}"
                )
            if report.verdict is Verdict.DRIFT:
                watcher.phase(f"planning the repair of {definition.name}")
                planned = self._plan_table(definition, report, len(tables))
                if planned.written:
                    tables.append(planned)
                else:
                    self._staged = None  # its table has taken the place of the one before
        if len(tables) > 1:
            self._staged = None
        connection = self.project.connection
        self.plan = new_plan(new_run_id(), connection.target, connection.identity, tuple(tables))
        return tuple(reports)

    def read(self, path: Path) -> None:
        """Take the plan from a file. Raises Refused where it was edited, is another database's, or has expired."""
        connection = self.project.connection
        with open_plan(path, connection.target, connection.identity) as (plan, rows):
            self._given.load(rows)
        self.plan = plan

    def rows(self, limit: int | None = None) -> Rows:
        """The planned rows, table by table in key order; with ``limit`` that many of each table."""
        for index in range(len(self.plan.tables)):
            for row in self._given.rows(index, limit):
                yield index, row

    def rows_of(self, index: int, action: str) -> Iterator[PlannedRow]:
        """The planned rows of one table that an action writes, in key order."""
        return self._given.rows(index, action=action)

    def apply(self, guards: Guards, told: Callable[[str], None] = log.info) -> Applied:
        """Run exactly this plan: a transaction a model, each with its journal. Raises Refused before the first write.

        A row that is no longer what the plan saw, or that its definition no longer asks for, is left alone and counted.
        """
        check_guards(self.plan, guards)
        definitions = {definition.unique_id: definition for definition in self.project.definitions}
        unknown = [table.name for table in self.plan.tables if table.unique_id not in definitions]
        if unknown:
            raise Refused(f"the plan repairs {unknown[0]}, which is not selected here: select it, or plan again")
        names: list[str] = []
        done = Applied(new_run_id())
        with self.engine.repair_lock():
            self._look_for_rights()
            _ensure_tables(self.engine)
            for index in self.order():
                table = self.plan.tables[index]
                try:
                    written = self._apply_table(definitions[table.unique_id], index, done.run_id)
                except ReconcileError as error:
                    before = f"; {', '.join(names)} had been repaired by then, as run {done.run_id}" if names else ""
                    raise type(error)(f"{table.name}: {error}{before}") from error
                names.append(table.name)
                counts = f"{written.inserted} inserted, {written.updated} updated, {written.deleted} deleted"
                told(f"{table.name}: {counts}, {written.stale} stale")
                done = done.with_table(written)
        return done

    def forget(self, days: int) -> int:
        """Drop what the journal holds of repairs older than ``days`` days; how many tables' entries went."""
        return journal.prune(self.engine, days)

    def _plan_table(self, definition: Definition, report: TableReport, index: int) -> PlannedTable:
        if report.schema_changes:
            change = report.schema_changes[0]
            raise Refused(
                f"{definition.name}: the column {change.column} is {change.problem} in the table, which no row can "
                f"mend: run `dbt build --full-refresh -s {definition.name}`"
            )
        self._once[definition.unique_id] = report.drift.duplicate == 0
        try:
            staged = self._staged = self._stage(definition, partial(self._given.take, index))
        except Refused as error:
            raise Refused(f"{definition.name}: {error}") from error
        self._staged_at = time.monotonic()
        counts = self._given.counts(index)
        return PlannedTable(
            definition.name,
            definition.unique_id,
            definition.relation_name,
            staged.images.key,
            report.scope.rows_expected or 0,
            report.scope.rows_actual or 0,
            *(counts.get(action, 0) for action in ("insert", "update", "delete")),
        )

    def _stage(self, definition: Definition, then: Callable[[PlanTable], None]) -> PlanTable:
        prepared = _prepared(self.engine, definition)
        comparison = prepared.comparison
        key = tuple(part.name for part in comparison.key)
        compared = tuple(column.name for column in comparison.columns if not column.ignored)
        named = key + tuple(column.name for column in comparison.columns)
        table = new_plan_table(self.engine, Images(prepared.actual_columns, named, compared, key))
        with self.engine.snapshot():
            if comparison.as_of is not None and self.engine.one(later_build_sql(comparison))[0] > 0:
                comparison = replace(comparison, as_of=None)  # a later build has been: nothing is pending
            table.fill(comparison, self._once.get(definition.unique_id, False))
            then(table)
        return table

    def _apply_table(self, definition: Definition, index: int, run_id: str) -> Written:
        planned = self.plan.tables[index]
        staged, passed_over = self._staged, 0
        if staged is None or not staged.lasts or time.monotonic() - self._staged_at > _FRESH_SECONDS:
            # what the definition asks for now, not when the plan was made: an update that came since is not undone
            staged = self._stage(definition, lambda table: table.settle())
            passed_over = self._given.size(index) - self._given.keep(index, staged)
        entry = journal.Entry(run_id, planned.unique_id, planned.relation, planned.key, self.plan.plan_id)
        self._staged = None
        written = _write(self.engine, entry, staged)
        return replace(written, stale=written.stale + passed_over)

    def _look_for_rights(self) -> None:
        asked = {
            table.relation: [
                action
                for action, count in (("insert", table.inserts), ("update", table.updates), ("delete", table.deletes))
                if count
            ]
            for table in self.plan.tables
        }
        if self.engine.table_columns(f"{SCHEMA}.repair_row") is not None:
            asked |= {f"{SCHEMA}.{name}": ["insert"] for name in ("repair", "repair_row")}
        elif not self.engine.may_journal():
            raise Refused(
                f"the role {self.engine.role()} may not create the repair journal: "
                f"grant create on database ... to {self.engine.role()}"
            )
        for relation, actions in asked.items():
            lacking = ", ".join(self.engine.lacking(relation, actions))
            if lacking:
                role = self.engine.role()
                raise Refused(
                    f"the role {role} may not {lacking} in {relation}: grant {lacking} on {relation} to {role}"
                )

    def order(self) -> list[int]:
        """The plan's tables in an order that foreign keys allow: what is referred to is written first, unless it only
        loses rows."""
        tables = self.plan.tables
        place = {self.engine.same_table(table.relation): i for i, table in enumerate(tables)}
        before: dict[int, set[int]] = {i: set() for i in range(len(tables))}
        for child, table in enumerate(tables):
            for parent in {place[name] for name in self.engine.parents(table.relation) if name in place} - {child}:
                only_loses = tables[parent].deletes and not tables[parent].inserts
                first, then = (child, parent) if only_loses else (parent, child)
                before[then].add(first)
        try:
            return list(TopologicalSorter(before).static_order())
        except CycleError as cycle:
            names = ", ".join(sorted({tables[i].name for i in cycle.args[1]}))
            raise Refused(f"the foreign keys of {names} go in a circle: repair them one at a time, with -s") from None


@contextmanager
def repair_session(project: Project) -> Iterator[RepairSession]:
    """A session for one repair, closed at the end: what it had planned is gone then."""
    session = RepairSession(project)
    try:
        yield session
    finally:
        session.close()


def new_plan_table(engine: Engine, images: Images) -> PlanTable:
    return StoredPlan(engine, images) if isinstance(engine, CommitsStatements) else PlanTable(engine, images)


def _new_given(engine: Engine) -> Given:
    return LocalGiven(engine) if isinstance(engine, CommitsStatements) else Given(engine)


def _ensure_tables(engine: Engine) -> None:
    """Create the journal where it does not exist, and note in it what a repair that broke off has written."""
    journal.ensure_tables(engine)
    if isinstance(engine, CommitsStatements):
        merging.ensure_tables(engine)
        merging.recover(engine)


def _prepared(engine: Engine, definition: Definition) -> Prepared:
    prepared = prepare_definition(engine, definition, carry=True)
    if prepared is None:
        raise NotComparable(f"{definition.relation_name} does not exist any more")
    for part in prepared.comparison.key:
        if part.expression.startswith("("):
            raise Refused(f"its unique_key is an expression ({part.name}), which cannot be repaired by")
    return prepared


def _write(engine: Engine, entry: journal.Entry, staged: PlanTable) -> Written:
    """Write a plan table's rows and their journal, in one transaction or so that what breaks off is finished later."""
    if isinstance(staged, StoredPlan):
        try:
            return merging.Merge(engine, entry, staged).write()
        finally:
            staged.drop()
    with engine.transaction():
        written = RowWriter(engine, entry.relation, staged).write()
        if written.inserted or written.updated or written.deleted:
            journal.write(engine, entry, written, staged)
        staged.drop()
    return written


def repair_report(project: Project, tables: tuple[TableReport, ...], started_at: str, outcome: RepairOutcome) -> Report:
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
