"""What Python code may import from reconcile: the functions behind the commands, and the types they take and return.

Everything here is also an attribute of the package: ``from reconcile import check``. Each function takes dbt's flags as
keyword arguments (``ProjectArguments``), or an opened ``Project``, which saves the seconds that dbt takes to parse.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

from reconcile.atomic_files import write_whole
from reconcile.capture.setup import setup as run_setup
from reconcile.capture.setup import teardown as run_teardown
from reconcile.compare.key_filter import Keys
from reconcile.dbt.builds import last_builds
from reconcile.dbt.project import Options, Project, invoke_dbt
from reconcile.dbt.project_state import state_of
from reconcile.engines.own_schema import PASSING, SCHEMA
from reconcile.errors import ConnectionFailed, EvaluationFailed, NotComparable, ProjectError, ReconcileError, Refused
from reconcile.model_check import run as model_check
from reconcile.model_check.doctor import examine
from reconcile.model_check.explain import explain as run_explain
from reconcile.model_check.judge_model import CheckRequest
from reconcile.overview.assemble import overview
from reconcile.render import report_file
from reconcile.render.human import print_report
from reconcile.render.overview import render_overview
from reconcile.render.progress import LogProgress
from reconcile.repair.run import RepairRequest, repair_run
from reconcile.repair.session import Applied
from reconcile.repair.undo import undo as run_undo
from reconcile.report.diagnosis import Diagnosis, Level
from reconcile.report.log_lines import JsonLines
from reconcile.report.model import (
    Cell,
    Drift,
    NotCompared,
    PlannedChange,
    PlannedPart,
    RepairOutcome,
    Report,
    Sample,
    SchemaChange,
    Scope,
    TableReport,
    UndoOutcome,
    Verdict,
)
from reconcile.report.overview import Overview
from reconcile.report.progress import Watcher
from reconcile.report.run_id import now
from reconcile.state import past_runs
from reconcile.state.folder import FolderState, load, state_folder, target_folder
from reconcile.state.store import State
from reconcile.table_diff.run import DiffRequest
from reconcile.table_diff.run import diff as run_diff
from reconcile.table_diff.text_files import Dialect

__all__ = [
    "Applied",
    "Cell",
    "ConnectionFailed",
    "Diagnosis",
    "Drift",
    "EvaluationFailed",
    "JsonLines",
    "Level",
    "LogProgress",
    "NotComparable",
    "NotCompared",
    "Overview",
    "PlannedChange",
    "PlannedPart",
    "Project",
    "ProjectArguments",
    "ProjectError",
    "ReconcileError",
    "Refused",
    "RepairOutcome",
    "Report",
    "Sample",
    "SchemaChange",
    "Scope",
    "TableReport",
    "UndoOutcome",
    "Verdict",
    "Watcher",
    "apply_repair",
    "build_times",
    "check",
    "connect_spark",
    "diff",
    "doctor",
    "explain",
    "history",
    "is_temporary_table",
    "open_project",
    "plan_repair",
    "print_report",
    "project_overview",
    "read_report",
    "run_dbt",
    "setup",
    "teardown",
    "undo",
    "write_file",
    "write_overview",
    "write_report",
]

_SILENT = Watcher()


class ProjectArguments(TypedDict, total=False):
    """dbt's flags, under dbt's names. Without any: the project in the working folder, all of its incremental models.

    ``select`` and ``exclude`` are dbt selectors, in one string or several. ``vars`` is YAML, or a mapping.
    ``upstream``: "deep" inlines upstream models down to the sources, "shallow" reads them as tables.
    ``lock_timeout``: seconds to wait for a table that another session has locked.
    ``state_dir``: where build times, proofs and past runs are kept in files (default: target/reconcile of the project);
    ``keep_days``: how long the schema reconcile of the database keeps them (default: 90).
    """

    project_dir: str | Path
    profiles_dir: str | Path | None
    profile: str | None
    target: str | None
    select: str | Sequence[str]
    exclude: str | Sequence[str]
    selector: str | None
    state: str | Path | None
    vars: str | Mapping[str, object] | None
    threads: int | None
    upstream: Literal["deep", "shallow"]
    lock_timeout: float
    state_dir: str | Path | None
    keep_days: int


def open_project(*, manifest: object = None, **where: Unpack[ProjectArguments]) -> Project:
    """Parse the project once, for several calls: definitions and build times are those of this moment.

    ``manifest`` is dbt's parsed manifest for the same target (``run_dbt(["parse", ...]).result``); it is changed here,
    so do not build with it afterwards. Raises ProjectError without a project, a profile or a selected model.
    """
    return model_check.open_project(project_options(where), manifest)


def check(
    project: Project | None = None,
    *,
    scope: Literal["auto", "capture", "sweep"] = "auto",
    keys: Iterable[str | Mapping[str, str | None]] | None = None,
    fail_on: Sequence[str] = (),
    record: bool = False,
    keep: bool = True,
    watcher: Watcher = _SILENT,
    manifest: object = None,
    **where: Unpack[ProjectArguments],
) -> Report:
    """Compare each selected incremental model with its own definition, row by row.

    Returns a report with one ``TableReport`` per model: ``report.verdict`` is level, drift, unverified or error,
    ``report.exit_code`` what the command would exit with. A model that cannot be judged does not stop the others.

    ``scope``: "capture" compares the changed keys only, "sweep" every row, "auto" the cheapest that can decide.
    ``keys``: compare only these keys, each a value, or a mapping from key column to value; values are text.
    ``fail_on``: what makes ``exit_code`` 1: kinds of drift, or "unverified" (default: any kind but pending).
    ``record``: create the table reconcile.verdict and store verdicts in the database from now on.
    ``keep``: keep the report among the project's past runs, for ``history`` and ``read_report``.

    Raises ReconcileError if nothing can be judged: no project, no connection, an empty selection.

    >>> report = check(select="orders")
    >>> for table in report.tables:
    ...     print(table.name, table.verdict.value, table.drift.missing, table.drift.changed)
    orders drift 0 1
    """
    request = CheckRequest(scope) if keys is None else CheckRequest("keys", _keys(keys))
    source = _given(project, where)
    report = model_check.check(source, tuple(fail_on), watcher, request, start_record=record, manifest=manifest)
    return _kept(report, source, keep)


def diff(
    left: str,
    right: str,
    *,
    key: str | Sequence[str] = (),
    columns: Sequence[str] | None = None,
    ignore: Sequence[str] = (),
    tolerance: Mapping[str, float] | None = None,
    rename: Mapping[str, str] | None = None,
    where: str | None = None,
    cast: Mapping[str, str] | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    null_text: str = "",
    project_dir: str | Path = ".",
    profiles_dir: str | Path | None = None,
    watcher: Watcher = _SILENT,
) -> Report:
    """Compare two tables or files; ``left`` is expected, ``right`` is actual.

    Each side is "postgresql://user@host/db#schema.table", "duckdb:FILE#schema.table", "TARGET:schema.table" of the dbt
    profile, or the path of a .csv, .parquet or .jsonl file. Without a ``key`` rows are compared as a multiset.

    ``tolerance``: column -> largest absolute difference that is equal. ``rename``: right's column -> left's.
    ``where``: a SQL condition on the rows of both sides. ``cast``: column -> type by whose values it is compared; the
    columns of csv and json files are texts. ``delimiter``, ``encoding`` and ``null_text`` describe such files, if they
    are not a comma (or what the header has), UTF-8 (or what the byte order mark says) and an empty field.
    The report has one table, named as ``left``.

    Raises ReconcileError if a side cannot be read, or the sides cannot be compared.

    >>> report = diff("before.csv", "after.csv", key="id", tolerance={"revenue": 0.01})
    >>> report.totals.changed
    1
    """
    request = DiffRequest(
        left,
        right,
        key=(key,) if isinstance(key, str) else tuple(key),
        columns=None if columns is None else tuple(columns),
        ignore=tuple(ignore),
        tolerance=dict(tolerance or {}),
        renamed=dict(rename or {}),
        where=where,
        casts=dict(cast or {}),
        dialect=Dialect(delimiter, encoding, null_text),
    )
    folder = None if profiles_dir is None else Path(profiles_dir)
    return run_diff(request, Options(project_dir=Path(project_dir), profiles_dir=folder), watcher)


def plan_repair(
    project: Project | None = None,
    *,
    plan_file: str | Path | None = None,
    sql_file: str | Path | None = None,
    keep: bool = True,
    watcher: Watcher = _SILENT,
    **where: Unpack[ProjectArguments],
) -> Report:
    """Plan how to make the drifted models level. Writes a plan file and nothing to the tables.

    ``report.repair`` has the counts of rows to write and the plan's path (``plan_file``, by default under
    target/reconcile/plans). ``sql_file``: also write the statements there, for review.

    Raises ReconcileError if the models cannot be compared or the plan cannot be written.

    >>> planned = plan_repair(select="orders", plan_file="plan.json")
    >>> planned.repair.updated
    1
    """
    request = RepairRequest(_path(plan_file), False, False, 1, 0.0, _yes, sql_file=_path(sql_file))
    source = _given(project, where)
    return _kept(repair_run(source, request, watcher), source, keep)


def apply_repair(
    project: Project | None = None,
    *,
    plan_file: str | Path | None = None,
    allow_delete: bool = False,
    cascade: bool = False,
    max_rows: int = 10_000,
    max_percent: float = 10.0,
    confirm: Callable[[RepairOutcome], bool] | None = None,
    journal_days: int | None = None,
    sql_file: str | Path | None = None,
    keep: bool = True,
    watcher: Watcher = _SILENT,
    **where: Unpack[ProjectArguments],
) -> Report:
    """Write what makes the drifted models level, then compare them again. The report has the verdicts after it.

    ``plan_file``: run exactly this plan; without it, plan and apply at once. One transaction per model; only rows that
    still are as planned are written (the others are counted in ``report.repair.stale``), and each is journaled.
    ``report.repair.run_id`` is what ``undo`` takes.

    Guards, per table: ``max_rows`` to write, ``max_percent`` of its rows, ``allow_delete`` to delete rows,
    ``cascade`` to delete or change rows of other tables with them (on delete cascade, set null).
    ``confirm`` is given the plan and returns whether to write. ``journal_days``: delete older journal entries.

    Raises Refused if a guard or ``confirm`` stops it, another ReconcileError if the database refuses: no row is written
    then.

    >>> done = apply_repair(select="orders", max_rows=500)
    >>> done.verdict.value, done.repair.updated
    ('level', 1)
    """
    request = RepairRequest(
        plan_file=_path(plan_file),
        apply=True,
        allow_delete=allow_delete,
        max_rows=max_rows,
        max_percent=max_percent,
        confirm=confirm or _yes,
        sql_file=_path(sql_file),
        journal_days=journal_days,
        cascade=cascade,
    )
    source = _given(project, where)
    return _kept(repair_run(source, request, watcher), source, keep)


def undo(
    run_id: str, project: Project | None = None, *, apply: bool = False, **where: Unpack[ProjectArguments]
) -> Applied:
    """Restore the rows that repair ``run_id`` wrote, if they still are as it left them.

    Returns the counts of rows (``inserted``, ``updated``, ``deleted``; ``stale``: changed since, left as they are) and
    the ``run_id`` of this undo, which ``history`` lists and which can be undone too. Without ``apply`` it only counts.

    Raises Refused for an unknown run or a table that no longer exists.

    >>> done = apply_repair(select="orders")
    >>> undo(done.repair.run_id, apply=True).updated
    1
    """
    opened, started_at = _opened(project, where), now()
    done = run_undo(opened, run_id, apply)
    if apply:
        outcome = UndoOutcome(run_id, done.inserted, done.updated, done.deleted, done.stale)
        report = Report(done.run_id, "undo", opened.connection.target, started_at, now(), (), undo=outcome)
        opened.state.keep_report(report)
    return done


def read_report(
    run_id: str | None = None, *, file: str | Path | None = None, **where: Unpack[ProjectArguments]
) -> Report:
    """The report of a past run of the project (the latest without ``run_id``), or of a JSON report ``file``.

    Past runs are read from the state folder, and from the schema reconcile of the target's database.

    Raises ReconcileError if there is no such report, or it is of another schema version.

    >>> read_report().command in ("check", "repair", "undo")
    True
    """
    return past_runs.read(state_of(project_options(where)), run_id) if file is None else load(Path(file))


def history(*, latest: int | None = None, database: bool = True, **where: Unpack[ProjectArguments]) -> list[Report]:
    """The reports of the project's past runs (at most the ``latest`` so many), oldest first.

    ``database``: with the runs that only the schema reconcile of the target's database has; False reads files alone.
    """
    options = project_options(where)
    return (state_of(options) if database else _files(options)).reports(latest)


def project_overview(**where: Unpack[ProjectArguments]) -> Overview:
    """Verdicts over time, time to repair, source freshness and the project's panels. Raises ReconcileError without any
    past run.
    """
    return overview(project_options(where))


def doctor(**where: Unpack[ProjectArguments]) -> tuple[Diagnosis, ...]:
    """What prevents or slows checks and repairs of the selected models, one finding each, with its fix."""
    return tuple(examine(project_options(where)))


def explain(**where: Unpack[ProjectArguments]) -> tuple[str, ...]:
    """The SQL that a check of each selected model would run, with the reasons as SQL comments."""
    return tuple(run_explain(project_options(where)))


def setup(
    project: Project | None = None, *, unbounded: bool = False, **where: Unpack[ProjectArguments]
) -> tuple[Diagnosis, ...]:
    """Start change capture for the selected models and their sources (Postgres). Can be repeated.

    Returns what was done; if a finding is ``Level.TROUBLE``, it says what is missing. ``unbounded`` accepts a server
    that sets no limit to the log kept by an unused replication slot.
    """
    return tuple(run_setup(_opened(project, where), unbounded))


def teardown(project: Project | None = None, **where: Unpack[ProjectArguments]) -> tuple[Diagnosis, ...]:
    """Drop what ``setup`` created; the repair journal stays."""
    return tuple(run_teardown(_opened(project, where)))


def write_report(report: Report, kind: str, path: str | Path, **where: Unpack[ProjectArguments]) -> None:
    """Write a report as "json", "markdown", "junit", "html" or "github". The page shows the project's past runs too.

    Raises ReconcileError if the file cannot be written.
    """
    options = project_options(where)
    report_file.write_report(report, kind, Path(path), options.project_dir, state_of(options))


def write_overview(found: Overview, path: str | Path) -> None:
    """Write an overview as an HTML page. Raises ReconcileError if the file cannot be written."""
    report_file.write_text(Path(path), "html", render_overview(found))


def write_file(path: str | Path, text: str) -> None:
    """Write a text file whole or not at all, so that a reader never sees half of it. Raises OSError."""
    write_whole(Path(path), text)


def connect_spark(remote: str) -> Any:
    """A session at a Spark Connect server ("sc://host:port/..."); the process's own, if it has one there.

    Raises ProjectError without Spark's client, ConnectionFailed if the server cannot be reached or refuses the client.
    """
    from reconcile.engines.spark import connect

    return connect(remote)


def is_temporary_table(schema: str, name: str) -> bool:
    """Whether a table is one that a repair creates and drops again."""
    return schema == SCHEMA and name.startswith(PASSING)


def run_dbt(arguments: Sequence[str], *, manifest: object = None) -> Any:
    """Run a dbt command in this process; returns dbt's ``dbtRunnerResult``. ``manifest``: skip parsing.

    Use it instead of dbt's own runner in a process that invokes dbt often: it keeps each invocation as fast as the
    first. Raises ProjectError if dbt is not installed or its release is not supported.
    """
    return invoke_dbt(list(arguments), manifest)


def build_times(*, project_dir: str | Path = ".", target: str, default_target: str) -> dict[str, datetime]:
    """``unique_id`` -> when the model's last known build on ``target`` began (UTC).

    dbt keeps the times of its latest invocation only: call this before each next one, and the older ones are kept.
    ``default_target`` is the profile's target, which dbt does not write down where no target was named.
    """
    options = project_options({"project_dir": project_dir})
    builds = last_builds(_files(options), target_folder(options.project_dir), target, default_target)
    return {unique_id: build.began for unique_id, build in builds.items()}


def project_options(where: ProjectArguments) -> Options:
    """The arguments as the modules below take them."""
    given: dict[str, Any] = dict(where)
    for name in ("project_dir", "profiles_dir", "state", "state_dir"):
        if given.get(name) is not None:
            given[name] = Path(given[name])
    for name in ("select", "exclude"):
        value = given.get(name, ())
        words = [value] if isinstance(value, str) else value
        given[name] = tuple(word for text in words for word in text.split())
    if isinstance(given.get("vars"), Mapping):
        given["vars"] = json.dumps(given["vars"])
    return Options(**given)


def _given(project: Project | None, where: ProjectArguments) -> Options | Project:
    if project is not None and where:
        raise TypeError(f"give an opened project or {', '.join(where)}, not both")
    return project_options(where) if project is None else project


def _opened(project: Project | None, where: ProjectArguments) -> Project:
    source = _given(project, where)
    return model_check.open_project(source) if isinstance(source, Options) else source


def _kept(report: Report, source: Options | Project, keep: bool) -> Report:
    if keep:
        (state_of(source) if isinstance(source, Options) else source.state).keep_report(report)
    return report


def _files(options: Options) -> State:
    return FolderState(state_folder(options.project_dir, options.state_dir))


def _keys(keys: Iterable[str | Mapping[str, str | None]]) -> Keys:
    rows: tuple[dict[str, str | None], ...]
    rows = tuple({"": key} if isinstance(key, str) else {**key} for key in keys)
    if not rows:
        raise ReconcileError("keys is empty: nothing would be compared")
    columns = tuple(name for name in rows[0] if name)
    return Keys(columns, rows, "keys")


def _path(value: str | Path | None) -> Path | None:
    return None if value is None else Path(value)


def _yes(_planned: RepairOutcome) -> bool:
    return True
