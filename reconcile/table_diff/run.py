"""``reconcile diff``: any two tables, wherever they are. Expected is LEFT, actual is RIGHT."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from reconcile.compare.align import Prepared, prepare
from reconcile.compare.comparison import Compared, Step, combined, judge
from reconcile.compare.key_ranges import narrowed
from reconcile.compare.multiset import differing_keys_sql
from reconcile.compare.value_patterns import shape_of
from reconcile.dbt.project import Options, profile_connection
from reconcile.engines.base import Engine
from reconcile.engines.factory import Connection, before_connect
from reconcile.report.model import Report, Scope, TableReport, Verdict
from reconcile.report.progress import Watcher, polled
from reconcile.report.run_id import new_run_id, now
from reconcile.table_diff.cross_engine import Look, Meeting, Wanted
from reconcile.table_diff.endpoints import Side, parse_side
from reconcile.table_diff.line_up import need_column
from reconcile.table_diff.places import places_of
from reconcile.table_diff.text_files import Dialect

_SETTLE = 1.0  # seconds before what differs between two databases is compared again
_SEEN = "reconcile_differed_at_first"
# of a column of texts: exact where both are decimals of up to 38 digits, else as doubles
_DIFFERENCE = (
    "coalesce(try_cast({0} as decimal(38, 12)) - try_cast({1} as decimal(38, 12)),"
    " try_cast({0} as double) - try_cast({1} as double))"
)


@dataclass(frozen=True)
class DiffRequest:
    """What to compare and how. ``columns`` None: all; ``renamed`` maps RIGHT's names to LEFT's.

    ``casts`` maps LEFT's names to the type by whose values a column is compared; ``dialect`` is that of csv files.
    """

    left: str
    right: str
    key: tuple[str, ...]
    columns: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    tolerance: dict[str, float] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    where: str | None = None
    casts: dict[str, str] = field(default_factory=dict)
    dialect: Dialect = field(default_factory=Dialect)

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.key, self.renamed, self.casts, self.where, self.columns, self.ignore, self.dialect)


@dataclass(frozen=True)
class _Found:
    compared: Compared
    scope: Scope
    hints: tuple[str, ...]


def diff(
    request: DiffRequest,
    options: Options,
    watcher: Watcher = Watcher(),  # noqa: B008  does nothing
    wait: Callable[[], None] = lambda: time.sleep(_SETTLE),
) -> Report:
    """Compare two tables. Raises ReconcileError if a side cannot be read or the sides cannot be compared.

    Between two databases a difference may be a change in flight: rows that differ are compared again after ``wait``,
    and only those that still differ are drift.
    """
    started_at, started = now(), time.monotonic()

    def target(name: str) -> Connection:
        before_connect(name, options.project_dir.resolve())
        return profile_connection(replace(options, target=name))

    left, right = parse_side(request.left, target), parse_side(request.right, target)
    with tempfile.TemporaryDirectory(prefix="reconcile-") as scratch:
        meeting = Meeting(left, right, Path(scratch), request.wanted)
        watcher.began(left.name)
        try:
            with polled(meeting.engine, left.name, watcher):
                found = _compared(meeting, request, wait, lambda done, whole: watcher.step(left.name, done, whole))
        finally:
            meeting.engine.close()
    table = _table(left, request, found, started)
    watcher.ended(table)
    return Report(new_run_id(), "diff", right.where, started_at, now(), (table,))


def _table(left: Side, request: DiffRequest, found: _Found, started: float) -> TableReport:
    compared = found.compared
    both_empty = compared.rows_expected == compared.rows_actual == 0
    verdict = Verdict.DRIFT if compared.drift.any() else Verdict.UNVERIFIED if both_empty else Verdict.LEVEL
    return TableReport(
        name=left.name,
        unique_id=None,
        relation=f"{left.where} {left.table}" if left.kind != "file" else left.where,
        key=request.key,
        verdict=verdict,
        scope=found.scope,
        drift=compared.drift,
        columns=compared.columns,
        causes=_causes(compared),
        schema_changes=compared.schema_changes,
        samples=tuple(replace(s, cause="duplicate") if s.kind == "duplicate" else s for s in compared.samples),
        truncated=compared.truncated,
        error="both sides are empty: nothing was compared" if verdict is Verdict.UNVERIFIED else None,
        hints=found.hints,
        elapsed_ms=round((time.monotonic() - started) * 1000),
    )


def _causes(found: Compared) -> dict[str, int]:
    """The number of keys per cause; missing and extra keys have no other cause than their kind."""
    duplicates = {"duplicate": found.drift.duplicate} if found.drift.duplicate else {}
    return {**found.causes, **duplicates}


def _compared(meeting: Meeting, request: DiffRequest, wait: Callable[[], None], step: Step) -> _Found:
    engine = meeting.engine
    again, seen = False, list[str]()
    with meeting.look() as look:
        judged: list[Compared] = []
        for part in look.parts:
            with engine.snapshot():
                prepared = _prepared(engine, look, part, request)
                judged.append(_judged(engine, look, prepared, partial(_step, step, judged)))
                again = meeting.between_databases and (again or judged[-1].drift.of_rows() > 0)
                if again and prepared.comparison.key:
                    seen.append(f"{_SEEN}_{len(seen)}")
                    engine.execute(f"create temp table {seen[-1]} as {differing_keys_sql(prepared.comparison)}")
        first = combined(judged)
        hints = places_of(engine, look.texts, look.forms, request.key, first)
    equal = (look.buckets.equal_left, look.buckets.equal_right) if look.buckets is not None else (0, 0)
    found = replace(first, rows_expected=first.rows_expected + equal[0], rows_actual=first.rows_actual + equal[1])
    reason = _reason(look, request)
    settled = None
    if again:
        wait()
        second = _second(meeting, look, request, seen)
        settled = max(0, first.drift.of_rows() - second.drift.of_rows())
        found = replace(second, rows_expected=found.rows_expected, rows_actual=found.rows_actual)
        reason += f"; rows that differed were compared again, {settled:,} settled"
    scope = Scope("sweep", reason, None, found.rows_expected, found.rows_actual, settled=settled)
    return _Found(found, scope, tuple(hints))


def _reason(look: Look, request: DiffRequest) -> str:
    if look.buckets is not None:
        reason = (
            f"checksums of {look.buckets.of:,} key buckets were compared, and by value the rows of the "
            f"{len(look.buckets.different):,} unequal ones"
        )
    else:
        reason = "every row of both sides was compared" + ("" if request.key else "; without a key, rows as a multiset")
    notes = [note for side in look.texts if side.text is not None for note in side.text.notes]
    return "; ".join([reason, *dict.fromkeys(notes)])


def _judged(engine: Engine, look: Look, prepared: Prepared, step: Step = lambda done, whole: None) -> Compared:
    bases = {column.name: column.base for column in prepared.actual_columns} | look.bases
    return judge(engine, prepared, step=step, shape_of=partial(shape_of, bases=bases))


def _step(step: Step, judged: list[Compared], done: int, whole: int | None) -> None:
    """Report the rows of a part as progress, with those of the parts before it."""
    step(done + sum(part.rows_actual for part in judged), whole)


def _second(meeting: Meeting, first: Look, request: DiffRequest, seen: list[str]) -> Compared:
    """The keys that differed, as they are now; the tables ``seen`` hold them."""
    judged = []
    with meeting.look(first) as look:
        for part in look.parts:
            with meeting.engine.snapshot():
                prepared = _prepared(meeting.engine, look, part, request)
                judged.append(_judged(meeting.engine, look, _only(prepared, seen)))
    return combined(judged)


def _only(prepared: Prepared, seen: list[str]) -> Prepared:
    comparison = prepared.comparison
    if not comparison.key:
        return prepared
    same = " and ".join(
        f"seen.k{i} is not distinct from narrowed.{part.expression}" for i, part in enumerate(comparison.key)
    )
    keys = " union all ".join(f"select * from {name}" for name in seen)
    return narrowed(prepared, f"exists (select 1 from ({keys}) as seen where {same})")


def _prepared(engine: Engine, look: Look, part: tuple[str, str], request: DiffRequest) -> Prepared:
    left, right = ([column.name for column in columns] for columns in (look.left_columns, look.right_columns))
    for name in request.key:
        need_column(name, left, "of the key on LEFT")
        need_column(name, right, "of the key on RIGHT")
    for name in [*(request.columns or ()), *request.ignore, *request.tolerance]:
        need_column(name, list(dict.fromkeys([*left, *right])), "on either side")
    prepared = prepare(
        engine,
        expected_sql=part[0],
        expected_columns=look.left_columns,
        actual_sql=part[1],
        actual_columns=look.right_columns,
        key=request.key,
        ignore=frozenset(request.ignore),
        only=frozenset(request.columns) if request.columns is not None else None,
        tolerance=request.tolerance,
        widths_matter=False,
        relation=look.relation,
    )
    texts = {column.name for column in look.left_columns if column.base == "VARCHAR"}
    columns = [
        replace(column, difference=_DIFFERENCE) if column.tolerance is not None and column.name in texts else column
        for column in prepared.comparison.columns
    ]
    return replace(prepared, comparison=replace(prepared.comparison, columns=tuple(columns)))
