"""The state over time: open drift, time to repair, fresh sources, and tables that a project wants shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time

from reconcile.dbt.freshness import SourceFreshnessRule, look_around
from reconcile.dbt.project import Options
from reconcile.dbt.project_state import state_of
from reconcile.engines.base import Column, Engine
from reconcile.engines.factory import before_connect, open_engine
from reconcile.engines.identifiers import quote
from reconcile.errors import ReconcileError
from reconcile.report.model import PastRun, PastTable, Verdict
from reconcile.report.overview import ModelOverTime, Overview, Panel, SourceFreshness
from reconcile.report.run_id import now
from reconcile.state import past_runs
from reconcile.state.store import State
from reconcile.state.verdict_table import recorded

LATEST = 60  # runs
_PANEL_ROWS = 50


def overview(options: Options) -> Overview:
    """The state of the project. Raises ReconcileError where there is no project, or nothing was ever checked."""
    shown = look_around(options, before_connect)
    notices: list[str] = []
    sources: tuple[SourceFreshness, ...] = ()
    runs: list[PastRun] | None = None
    panels: tuple[Panel, ...] = ()
    try:
        engine = open_engine(shown.connection)
        try:
            runs = recorded(engine, shown.connection.target, LATEST)
            sources = tuple(_freshness(engine, source) for source in shown.sources)
            panels = tuple(_panels(engine, shown.panels, notices))
        finally:
            engine.close()
    except ReconcileError as error:
        notices.append(f"the database could not be looked at: {error}")
    runs = _with_reports(runs or [], state_of(options), shown.connection.target)
    if not runs:
        raise ReconcileError(f"nothing was ever checked on target {shown.connection.target}: run `reconcile check`")
    return Overview(
        target=shown.connection.target,
        at=now(),
        runs=tuple(runs),
        models=models_over_time(runs),
        sources=sources,
        panels=panels,
        notices=tuple(notices),
    )


def models_over_time(runs: Sequence[PastRun]) -> tuple[ModelOverTime, ...]:
    """Each model of the runs (oldest first), those with open drift first."""
    names = dict.fromkeys(name for run in runs for name in run.tables)
    found = [_over_time(name, [(run.at, run.tables.get(name)) for run in runs]) for name in names]
    return tuple(sorted(found, key=lambda model: (model.open_since is None, model.name)))


def _over_time(name: str, runs: list[tuple[str, PastTable | None]]) -> ModelOverTime:
    began: str | None = None
    repaired: list[float] = []
    seen = [(at, found) for at, found in runs if found is not None]
    for at, found in seen:
        if found.verdict is Verdict.DRIFT and began is None:
            began = at
        elif found.verdict is Verdict.LEVEL and began is not None:  # what could not be judged ends no drift
            repaired.append((datetime.fromisoformat(at) - datetime.fromisoformat(began)).total_seconds())
            began = None
    last_at, last = seen[-1]
    return ModelOverTime(name, last.verdict, last_at, last.keys, began, tuple(repaired), tuple(runs))


def _with_reports(runs: list[PastRun], state: State, target: str) -> list[PastRun]:
    """The runs whose verdicts the database has, and those of which only a report tells."""
    found = {run.run_id: run for run in runs}
    for report in state.reports(LATEST):
        if report.target == target and report.tables and report.command in ("check", "repair"):
            found.setdefault(report.run_id, past_runs.past_run(report))
    return [found[run_id] for run_id in sorted(found)][-LATEST:]


def _panels(engine: Engine, wanted: Sequence[tuple[str, str]], notices: list[str]) -> Iterator[Panel]:
    """Each panel that can be read; why another cannot goes to ``notices``."""
    for title, relation in wanted:
        try:
            columns = engine.table_columns(relation)
            if columns is None:
                notices.append(f"{title}: its table does not exist yet, dbt build makes it")
            else:
                yield _panel(engine, title, relation, columns)
        except ReconcileError as error:
            notices.append(f"{title}: {error}")


def _panel(engine: Engine, title: str, relation: str, columns: Sequence[Column]) -> Panel:
    listed = ", ".join(engine.as_text(quote(column.name)) for column in columns)
    first = quote(columns[0].name)
    rows = engine.rows(f"select {listed} from {relation} order by {first} desc limit {_PANEL_ROWS + 1}")
    return Panel(title, tuple(column.name for column in columns), tuple(rows[:_PANEL_ROWS]), len(rows) > _PANEL_ROWS)


def _freshness(engine: Engine, source: SourceFreshnessRule) -> SourceFreshness:
    limits = (source.warn_after, source.error_after)
    try:
        (newest,) = engine.one(source.newest_sql)
    except ReconcileError:
        return SourceFreshness(source.name, "unknown", None, None, *limits)
    if newest is None:
        return SourceFreshness(source.name, "empty", None, None, *limits)
    if isinstance(newest, date) and not isinstance(newest, datetime):
        newest = datetime.combine(newest, time())
    if not isinstance(newest, datetime):
        return SourceFreshness(source.name, "unknown", None, None, *limits)
    loaded_at = newest if newest.tzinfo else newest.replace(tzinfo=UTC)  # dbt takes a time without zone for UTC too
    age = max((datetime.now(UTC) - loaded_at).total_seconds(), 0.0)
    return SourceFreshness(source.name, source.status(age), loaded_at.astimezone(UTC).isoformat(), age, *limits)
