"""``reconcile repair``: plan, guard, apply, compare again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reconcile import journal
from reconcile.definition import Definition
from reconcile.engines.base import Engine
from reconcile.engines.connect import open_engine
from reconcile.errors import NotComparable, Refused
from reconcile.multiset import Rows, surplus_sql
from reconcile.plan import Plan, PlannedRow, PlannedTable, Values, new_plan
from reconcile.prepare import Prepared
from reconcile.project import Project
from reconcile.report import RepairOutcome, Report, TableReport, Verdict
from reconcile.runs import new_run_id, now
from reconcile.statements import HEAD, differences_sql, read_difference
from reconcile.verdict import judge_definition, prepare_definition
from reconcile.writing import RowWriter

log = logging.getLogger("reconcile")


@dataclass(frozen=True)
class Guards:
    """What bounds a repair; each refusal names the flag that would lift it."""

    max_rows: int = 10_000
    max_percent: float = 10.0
    allow_delete: bool = False


def make_plan(project: Project, guards: Guards) -> tuple[Plan, tuple[TableReport, ...]]:
    """Judge every model and plan what would make it level. Writes nothing.

    Raises Refused where a model cannot be judged, or differs in its columns: rows do not mend that.
    """
    tables, reports = [], []
    for definition in project.definitions:
        if not definition.settings.enabled:
            continue
        engine = open_engine(project.connection)
        try:
            report = judge_definition(engine, definition)
            reports.append(report)
            if report.verdict in (Verdict.UNVERIFIED, Verdict.ERROR):
                raise Refused(
                    f"{definition.name} is {report.verdict.value} ({report.error}) and is never repaired: "
                    f"leave it out with --exclude {definition.name}"
                )
            if report.verdict is Verdict.DRIFT:
                tables.append(_plan_table(engine, definition, report, guards))
        finally:
            engine.close()
    plan = new_plan(new_run_id(), project.connection.target, project.connection.identity, tuple(tables))
    return plan, tuple(reports)


def _plan_table(engine: Engine, definition: Definition, report: TableReport, guards: Guards) -> PlannedTable:
    if report.schema_changes:
        change = report.schema_changes[0]
        raise Refused(
            f"{definition.name}: the column {change.column} is {change.problem} in the table, which no row can mend: "
            f"run `dbt build --full-refresh -s {definition.name}`"
        )
    with engine.snapshot():
        prepared = _prepared(engine, definition)
        rows = []
        for row in planned_rows(engine, prepared):
            rows.append(row)
            if len(rows) > guards.max_rows:
                break  # the guard refuses it anyway: do not hold more in memory
    expected, actual = report.scope.rows_expected or 0, report.scope.rows_actual or 0
    key = tuple(part.name for part in prepared.comparison.key)
    return PlannedTable(
        definition.name, definition.unique_id, definition.relation_name, key, expected, actual, tuple(rows)
    )


def _prepared(engine: Engine, definition: Definition) -> Prepared:
    prepared = prepare_definition(engine, definition, carry=True)
    if prepared is None:
        raise NotComparable(f"{definition.relation_name} does not exist any more")
    for part in prepared.comparison.key:
        if part.expression.startswith("("):
            raise Refused(
                f"{definition.name}: its unique_key is an expression ({part.name}), which cannot be repaired by"
            )
    return prepared


def planned_rows(engine: Engine, prepared: Prepared) -> Iterator[PlannedRow]:
    """Every row that would have to be written, inside one snapshot: by key first, then copies too many or too few."""
    comparison = prepared.comparison
    n = len(comparison.key)
    names = [part.name for part in comparison.key] + [column.name for column in comparison.columns]
    if comparison.key:
        for (found,) in engine.stream(differences_sql(comparison, engine.as_text, None, unique=False)):
            row = read_difference(found, comparison)
            if row[0] == "pending":
                continue  # the next build writes it
            key, cells = list(row[HEAD : HEAD + n]), row[HEAD + n :]
            expected = dict(zip(names, key + list(cells[0::3]), strict=True))
            actual = dict(zip(names, key + list(cells[1::3]), strict=True))
            yield _planned(str(row[0]), expected, actual, comparison)
    kinds = {Rows.TWICE: "duplicate", Rows.NULL_KEYS: "null_key"} if comparison.key else {Rows.ALL: "copies"}
    for rows, reason in kinds.items():
        for wanted, found, values in engine.stream(surplus_sql(comparison, engine.as_text, rows, None)):
            image: Values = dict(zip(names, values, strict=True))
            copies = int(abs(found - wanted))
            if found > wanted:
                yield PlannedRow("delete", reason, image, None, copies)
            else:
                yield PlannedRow("insert", reason, None, image, copies)


def _planned(kind: str, expected: Values, actual: Values, comparison: Any) -> PlannedRow:
    if kind == "missing":
        return PlannedRow("insert", kind, None, expected)
    if kind == "extra":
        return PlannedRow("delete", kind, actual, None)
    # what is ignored, or differs within its tolerance only, stays as it is
    kept = {column.name: actual[column.name] for column in comparison.columns if column.ignored}
    return PlannedRow("update", kind, actual, {**expected, **kept})


def check_guards(plan: Plan, guards: Guards) -> None:
    """Refuse a plan that is larger than it may be, before the first write."""
    for table in plan.tables:
        if table.rows_expected == 0:
            raise Refused(
                f"{table.name}: its definition yields no rows, and a repair would empty it: "
                f"look at its sources (no flag lifts this; `dbt build --full-refresh` does it on purpose)"
            )
        if table.written > guards.max_rows:
            raise Refused(f"{table.name}: {table.written} or more rows to write, --max-rows allows {guards.max_rows}")
        percent = 100 * table.written / max(table.rows_expected, table.rows_actual)
        if percent > guards.max_percent:
            raise Refused(
                f"{table.name}: {table.written} rows to write are {percent:.1f} % of the table, "
                f"--max-percent allows {guards.max_percent:g}"
            )
        if table.count("delete") and not guards.allow_delete:
            raise Refused(f"{table.name}: {table.count('delete')} rows to delete, which needs --allow-delete")


@dataclass(frozen=True)
class Applied:
    """What a repair came to, table by table."""

    run_id: str
    inserted: int
    updated: int
    deleted: int
    stale: int


def apply_plan(project: Project, plan: Plan, guards: Guards, told: Callable[[str], None] = log.info) -> Applied:
    """Run exactly this plan: a transaction a model, each with its journal. Raises Refused before the first write.

    A row that is no longer what the plan saw, or that its definition no longer asks for, is left alone and counted.
    """
    check_guards(plan, guards)
    definitions = {definition.unique_id: definition for definition in project.definitions}
    unknown = [table.name for table in plan.tables if table.unique_id not in definitions]
    if unknown:
        raise Refused(f"the plan repairs {unknown[0]}, which is not selected here: select it, or plan again")
    run_id = new_run_id()
    total = Applied(run_id, 0, 0, 0, 0)
    for table in plan.tables:
        engine = open_engine(project.connection)
        try:
            with engine.repair_lock():
                done = _apply_table(engine, definitions[table.unique_id], table, run_id, plan.plan_id)
        finally:
            engine.close()
        written = f"{done.inserted} inserted, {done.updated} updated, {done.deleted} deleted"
        told(f"{table.name}: {written}, {done.stale} stale")
        total = replace(
            total,
            inserted=total.inserted + done.inserted,
            updated=total.updated + done.updated,
            deleted=total.deleted + done.deleted,
            stale=total.stale + done.stale,
        )
    return total


def _apply_table(engine: Engine, definition: Definition, table: PlannedTable, run_id: str, plan_id: str) -> Applied:
    journal.ensure_tables(engine)
    with engine.transaction():
        prepared = _prepared(engine, definition)
        # what the definition asks for now, not when the plan was made: an update that came since is not undone
        asked = list(planned_rows(engine, prepared))
        still_asked = _common(table.rows, asked)
        compared = [column.name for column in prepared.comparison.columns if not column.ignored]
        writer = RowWriter(engine, table.relation, prepared.actual_columns, table.key, compared)
        written = writer.write(still_asked)
        stale = len(table.rows) - len(still_asked) + len(written.stale)
        kept = tuple(row for i, row in enumerate(still_asked) if i not in set(written.stale))
        if kept:
            journal.write(engine, journal.Entry(run_id, table.unique_id, table.relation, table.key, plan_id, kept))
        left = list(planned_rows(engine, prepared))
        if _common(kept, left):
            raise Refused(f"{table.name}: rows still differ after they were written (a trigger?): rolled back")
    return Applied(run_id, written.inserted, written.updated, written.deleted, stale)


def _common(rows: Sequence[PlannedRow], others: Iterable[PlannedRow]) -> list[PlannedRow]:
    """Those of ``rows`` that are among ``others``, value for value."""
    known = {_identity(row) for row in others}
    return [row for row in rows if _identity(row) in known]


def _identity(row: PlannedRow) -> tuple[Any, ...]:
    images = (tuple(sorted(image.items())) if image is not None else None for image in (row.before, row.after))
    return (row.action, row.copies, *images)


def undo(project: Project, run_id: str, apply: bool) -> Applied:
    """Take a repair back, where its rows are still as it left them; the rest is counted as stale.

    Without ``apply`` only counts what would be restored. Raises Refused for an unknown run.
    """
    engine = open_engine(project.connection)
    try:
        entries = journal.read(engine, run_id)
        undo_id = new_run_id()
        total = Applied(undo_id, 0, 0, 0, 0)
        with engine.repair_lock(), engine.transaction():
            for entry in entries:
                total = _undo_entry(engine, entry, total, run_id)
            if not apply:
                raise _PlanOnly(total)
        return total
    except _PlanOnly as planned:
        return planned.total
    finally:
        engine.close()


class _PlanOnly(Exception):
    """Rolls the undo back after it has shown what it would do."""

    def __init__(self, total: Applied) -> None:
        super().__init__()
        self.total = total


def _undo_entry(engine: Engine, entry: journal.Entry, total: Applied, undone_run: str) -> Applied:
    columns = engine.table_columns(entry.relation)
    if columns is None:
        raise Refused(f"{entry.relation} does not exist any more: nothing of {entry.run_id} can be restored")
    rows = [journal.reversed_row(row) for row in reversed(entry.rows)]
    named = {name for row in rows for image in (row.before, row.after) if image for name in image}
    compared = [column.name for column in columns if column.name in named]
    written = RowWriter(engine, entry.relation, columns, entry.key, compared).write(rows)
    kept = tuple(row for i, row in enumerate(rows) if i not in set(written.stale))
    if kept:
        undone = journal.Entry(
            total.run_id, entry.unique_id, entry.relation, entry.key, entry.plan_id, kept, undone_run
        )
        journal.write(engine, undone)
    return replace(
        total,
        inserted=total.inserted + written.inserted,
        updated=total.updated + written.updated,
        deleted=total.deleted + written.deleted,
        stale=total.stale + len(written.stale),
    )


def repair_report(project: Project, tables: tuple[TableReport, ...], started_at: str, outcome: RepairOutcome) -> Report:
    return Report(
        run_id=outcome.run_id or outcome.plan_id,
        command="repair",
        target=project.connection.target,
        started_at=started_at,
        finished_at=now(),
        tables=tables,
        repair=outcome,
    )
