"""How things stand over time: open drift, time to repair, fresh sources, and tables that a project wants shown."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time
from typing import Any

from reconcile import history
from reconcile.definition import quote
from reconcile.engines.base import Column, Engine
from reconcile.engines.connect import before_connect, open_engine
from reconcile.errors import ReconcileError
from reconcile.project import Options
from reconcile.recording import recorded
from reconcile.report import PastRun, PastTable, Verdict, worst
from reconcile.runs import now
from reconcile.surroundings import Source, look_around

LATEST = 60  # runs
_PANEL_ROWS = 50


@dataclass(frozen=True)
class ModelOverTime:
    """One model in the latest runs, oldest first. Times are ISO 8601 in UTC, durations seconds.

    ``open_since``: when the drift that is still there was first found. ``repaired_in``: how long each earlier drift
    stood, from the run that found it to the run that found it gone.
    """

    name: str
    verdict: Verdict
    last_at: str
    keys: int
    open_since: str | None
    repaired_in: tuple[float, ...]
    runs: tuple[tuple[str, PastTable | None], ...]

    @property
    def time_to_repair(self) -> float | None:
        """The median, in seconds; None where no drift was ever repaired."""
        return statistics.median(self.repaired_in) if self.repaired_in else None


@dataclass(frozen=True)
class SourceFreshness:
    """How old the newest row of a source is (``age``, seconds), and what dbt's rule calls that.

    ``status``: pass, warn or error; "empty" where it holds no row, "unknown" where it could not be read.
    """

    name: str
    status: str
    loaded_at: str | None
    age: float | None
    warn_after: str | None
    error_after: str | None


@dataclass(frozen=True)
class Panel:
    """A table of the project that it wants shown (``meta.reconcile.panel``): its first rows, as text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]
    cut: bool


@dataclass(frozen=True)
class Overview:
    """What `reconcile report` shows without a run. ``notices``: what could not be looked at, and why."""

    target: str
    at: str
    runs: tuple[PastRun, ...]
    models: tuple[ModelOverTime, ...]
    sources: tuple[SourceFreshness, ...]
    panels: tuple[Panel, ...]
    notices: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of the models' latest verdicts."""
        return worst([model.verdict for model in self.models])

    def as_dict(self) -> dict[str, Any]:
        body = asdict(self)
        for model, entry in zip(self.models, body["models"], strict=True):
            entry["time_to_repair"] = model.time_to_repair
        return {**body, "verdict": self.verdict.value}


def overview(options: Options) -> Overview:
    """How the project stands. Raises ReconcileError where there is no project, or nothing was ever checked."""
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
    runs = _with_files(runs or [], options, shown.connection.target)
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


def _with_files(runs: list[PastRun], options: Options, target: str) -> list[PastRun]:
    """The runs of the database and those that only a file beside the project tells of."""
    found = {run.run_id: run for run in runs}
    for report in history.read_all(options.project_dir, LATEST):
        if report.target == target and report.tables and report.command in ("check", "repair"):
            found.setdefault(report.run_id, history.past_run(report))
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


def _freshness(engine: Engine, source: Source) -> SourceFreshness:
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
