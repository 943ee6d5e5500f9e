"""Verdicts kept in the database: one row per model and run, for dashboards, dbt models and machines without our files.

They are kept where a schema ``reconcile`` exists (``setup``, a repair or ``--record`` make it): a check of a database
that never heard of us writes nothing there.
"""

from __future__ import annotations

import logging

from reconcile.engines.base import Engine
from reconcile.engines.factory import Connection, open_engine
from reconcile.engines.own_schema import SCHEMA
from reconcile.errors import ReconcileError
from reconcile.report.model import KINDS, PastRun, PastTable, Report, Verdict
from reconcile.state.schema import is_at_home, settle_in, version_of

log = logging.getLogger("reconcile")
TABLE = f"{SCHEMA}.verdict"
_COUNTS = (*KINDS, "keys_checked", "rows_expected", "rows_actual", "elapsed_ms")
_TEXTS = ("run_id", "command", "target", "unique_id", "model", "relation", "verdict", "scope", "reason", "error")
_TIMES = ("started_at", "finished_at")
_COLUMNS = (*_TEXTS, *_TIMES, *_COUNTS)
_CREATE = f"""create table if not exists {TABLE} (
    {", ".join(f"{name} varchar" for name in _TEXTS)},
    {", ".join(f"{name} timestamp with time zone" for name in _TIMES)},
    {", ".join(f"{name} bigint" for name in _COUNTS)}
)"""


def record(report: Report, connection: Connection, create: bool = False) -> None:
    """Keep a run's verdicts in its own database. ``create``: make the schema where there is none.

    A role that may not write there loses nothing but this: it is logged, and the verdict stays what it is.
    """
    if not report.tables:
        return
    try:
        engine = open_engine(connection)
        try:
            if create or is_at_home(engine):
                there, version = engine.table_columns(TABLE) is not None, version_of(engine)
                with engine.transaction():
                    settle_in(engine, version)
                    if not there:
                        engine.execute(_CREATE)
                    _write(engine, report)
        finally:
            engine.close()
    except ReconcileError as error:
        log.info("the verdicts of run %s are not kept in the database: %s", report.run_id, error)


def recorded(engine: Engine, target: str, latest: int) -> list[PastRun] | None:
    """The latest runs that were kept there, oldest first; None where none ever was."""
    if engine.table_columns(TABLE) is None:
        return None
    version_of(engine)
    rows = engine.rows(
        f"select run_id, finished_at, model, verdict, {' + '.join(k for k in KINDS if k not in ('schema', 'pending'))}"
        f" from {TABLE} where target = $1 and run_id in (select run_id from {TABLE} where target = $1"
        f" group by run_id order by run_id desc limit {int(latest)}) order by run_id, model",
        [target],
    )
    runs: dict[str, PastRun] = {}
    for run_id, finished_at, model, verdict, keys in rows:
        run = runs.setdefault(run_id, PastRun(run_id, _iso(finished_at), {}))
        run.tables[model] = PastTable(Verdict(verdict), keys)
    return list(runs.values())


def _write(engine: Engine, report: Report) -> None:
    names, places = ", ".join(_COLUMNS), ", ".join(f"${i + 1}" for i in range(len(_COLUMNS)))
    for table in report.tables:
        texts = [report.run_id, report.command, report.target, table.unique_id, table.name, table.relation]
        texts += [table.verdict.value, table.scope.mode, table.scope.reason, table.error]
        counts = [getattr(table.drift, kind) for kind in KINDS]
        counts += [table.scope.keys_checked, table.scope.rows_expected, table.scope.rows_actual, table.elapsed_ms]
        values = [*texts, report.started_at, report.finished_at, *counts]
        engine.execute(f"insert into {TABLE} ({names}) values ({places})", values)


def _iso(at: object) -> str:
    from datetime import UTC, datetime

    assert isinstance(at, datetime)
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
