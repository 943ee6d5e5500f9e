"""``reconcile check``: every selected model against its definition, one report."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from reconcile.compare import judge
from reconcile.definition import Definition
from reconcile.engines.base import Engine
from reconcile.engines.connect import before_connect, open_engine
from reconcile.errors import ReconcileError
from reconcile.prepare import Prepared, prepare, stored_sql
from reconcile.project import Options, Project, load
from reconcile.report import Drift, Report, Scope, TableReport, Verdict

log = logging.getLogger("reconcile")
Progress = Callable[[TableReport], None]


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_run_id() -> str:
    """Sorts by time, and is unique beside other runs of the same second."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}"


def open_project(options: Options) -> Project:
    """Load the project, with its target's server awake. Raises ReconcileError."""
    return load(options, before_connect)


def check(options: Options, fail_on: tuple[str, ...] = (), progress: Progress = lambda table: None) -> Report:
    """Judge every selected model. Raises ReconcileError where the run as a whole cannot be done.

    A model that cannot be judged does not stop the others: it stands in the report as error or unverified.
    """
    started_at, run_id = now(), new_run_id()
    project = open_project(options)
    tables = check_tables(project, progress)
    return Report(
        run_id=run_id,
        command="check",
        target=project.connection.target,
        started_at=started_at,
        finished_at=now(),
        tables=tables,
        fail_on=fail_on,
    )


def check_tables(project: Project, progress: Progress = lambda table: None) -> tuple[TableReport, ...]:
    """Judge the project's definitions, as many at once as the profile has threads, in their order."""
    definitions = [d for d in project.definitions if d.settings.enabled]
    workers = 1 if project.connection.adapter == "duckdb" else max(1, min(project.connection.threads, len(definitions)))

    def one(definition: Definition) -> TableReport:
        engine = open_engine(project.connection)
        try:
            found = judge_definition(engine, definition)
        finally:
            engine.close()
        progress(found)
        return found

    with ThreadPoolExecutor(workers) as pool:
        return tuple(pool.map(one, definitions))


def judge_definition(engine: Engine, definition: Definition) -> TableReport:
    """One model's report: its verdict, or why there is none."""
    started = time.monotonic()

    def told(
        verdict: Verdict, scope: Scope, error: str | None = None, drift: Drift | None = None, **found: object
    ) -> TableReport:
        elapsed = round((time.monotonic() - started) * 1000)
        return TableReport(
            name=definition.name,
            unique_id=definition.unique_id,
            relation=definition.relation_name,
            key=definition.key,
            verdict=verdict,
            scope=scope,
            drift=drift or Drift(),
            error=error,
            elapsed_ms=elapsed,
            path=definition.path,
            **found,  # type: ignore[arg-type]
        )

    nothing = Scope("sweep", "nothing was read", rows_expected=None, rows_actual=None)
    if definition.unverifiable is not None or definition.sql is None:
        return told(Verdict.UNVERIFIED, nothing, definition.unverifiable)
    try:
        with engine.snapshot():
            prepared = prepare_definition(engine, definition)
            if prepared is None:
                missing = f"{definition.relation_name} does not exist: run `dbt build -s {definition.name}` first"
                return told(Verdict.ERROR, nothing, missing)
            if definition.volatile is not None and (call := _volatile(engine, definition, prepared)) is not None:
                why = f"it calls {call} for more than ignored columns: it is no function of its sources"
                return told(Verdict.UNVERIFIED, nothing, why)
            found = judge(engine, prepared)
    except ReconcileError as error:
        return told(Verdict.ERROR, nothing, f"{definition.name}: {error}")
    reason = "every row of both sides was compared"
    if not definition.key:
        reason += "; the model has no unique_key, so rows were compared as a multiset"
    if found.drift.pending:
        reason += f"; pending rows were loaded after the last noted build ({definition.built_at})"
    scope = Scope("sweep", reason, None, found.rows_expected, found.rows_actual)
    if found.rows_expected == 0 and found.rows_actual == 0 and not found.drift.any():
        return told(Verdict.UNVERIFIED, scope, "both sides are empty: nothing was compared")
    return told(
        Verdict.DRIFT if found.drift.any() else Verdict.LEVEL,
        scope,
        drift=found.drift,
        columns=found.columns,
        schema_changes=found.schema_changes,
        samples=found.samples,
        truncated=found.truncated,
    )


def _volatile(engine: Engine, definition: Definition, prepared: Prepared) -> str | None:
    columns = [part.name for part in prepared.comparison.key if not part.expression.startswith("(")]
    columns += [column.name for column in prepared.comparison.columns if not column.ignored]
    return engine.volatile_call(definition.sql or "", columns, definition.settings.ignore)


def prepare_definition(engine: Engine, definition: Definition, carry: bool = False) -> Prepared | None:
    """The comparison of a model with its definition; None where its table does not exist. ``carry`` as in prepare."""
    assert definition.sql is not None
    actual = engine.table_columns(definition.relation_name)
    if actual is None:
        return None
    sql = stored_sql(definition.sql, dict(definition.contract))
    return prepare(
        engine,
        expected_sql=sql,
        expected_columns=engine.query_columns(sql),
        actual_sql=f"select * from {definition.relation_name}",
        actual_columns=actual,
        key=definition.key,
        ignore=definition.settings.ignore,
        tolerance=dict(definition.settings.tolerance),
        carry=carry,
        relation=definition.relation_name,
        as_of_sql=stored_sql(definition.as_of_sql, dict(definition.contract)) if definition.as_of_sql else None,
    )
