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
from reconcile.compare.key_ranges import narrowed, narrowed_sql
from reconcile.compare.multiset import differing_keys_sql
from reconcile.compare.value_patterns import shape_of
from reconcile.dbt.project import Options, profile_connection
from reconcile.engines.base import Engine
from reconcile.engines.factory import Connection, before_connect
from reconcile.errors import NotComparable
from reconcile.report.model import Report, Scope, TableReport, Verdict
from reconcile.report.progress import Watcher, polled
from reconcile.report.run_id import new_run_id, now
from reconcile.table_diff.cross_engine import Look, Meeting, Wanted, rename
from reconcile.table_diff.endpoints import Side, parse_side

_SETTLE = 1.0  # seconds before what differs between two databases is looked at again
_SEEN = "reconcile_differed_at_first"


@dataclass(frozen=True)
class DiffRequest:
    """What to compare and how. ``columns`` None: all; ``renamed`` maps RIGHT's names to LEFT's."""

    left: str
    right: str
    key: tuple[str, ...]
    columns: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    tolerance: dict[str, float] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    where: str | None = None


def diff(
    asked: DiffRequest,
    options: Options,
    watcher: Watcher = Watcher(),  # noqa: B008  does nothing
    wait: Callable[[], None] = lambda: time.sleep(_SETTLE),
) -> Report:
    """Compare two tables. Raises ReconcileError where a side cannot be read or the sides cannot be compared.

    Between two databases a difference may be a change that was on its way: what differs is looked at again after
    ``wait``, and only what differs still is drift.
    """
    started_at, started = now(), time.monotonic()

    def target(name: str) -> Connection:
        before_connect(name, options.project_dir.resolve())
        return profile_connection(options, name)

    left, right = parse_side(asked.left, target), parse_side(asked.right, target)
    with tempfile.TemporaryDirectory(prefix="reconcile-") as scratch:
        meeting = Meeting(left, right, Path(scratch), Wanted(asked.key, asked.renamed, whole=asked.where is not None))
        watcher.began(left.name)
        try:
            with polled(meeting.engine, left.name, watcher):
                found, scope = _compared(meeting, asked, wait, lambda done, whole: watcher.step(left.name, done, whole))
        finally:
            meeting.engine.close()
    table = _table(left, asked, found, scope, started)
    watcher.ended(table)
    return Report(new_run_id(), "diff", right.where, started_at, now(), (table,))


def _table(left: Side, asked: DiffRequest, found: Compared, scope: Scope, started: float) -> TableReport:
    both_empty = found.rows_expected == found.rows_actual == 0
    verdict = Verdict.DRIFT if found.drift.any() else Verdict.UNVERIFIED if both_empty else Verdict.LEVEL
    return TableReport(
        name=left.name,
        unique_id=None,
        relation=f"{left.where} {left.table}" if left.kind != "file" else left.where,
        key=asked.key,
        verdict=verdict,
        scope=scope,
        drift=found.drift,
        columns=found.columns,
        causes=_causes(found),
        schema_changes=found.schema_changes,
        samples=tuple(replace(s, cause="duplicate") if s.kind == "duplicate" else s for s in found.samples),
        truncated=found.truncated,
        error="both sides are empty: nothing was compared" if verdict is Verdict.UNVERIFIED else None,
        elapsed_ms=round((time.monotonic() - started) * 1000),
    )


def _causes(found: Compared) -> dict[str, int]:
    """How many keys have which shape; those on one side only need none beside their kind."""
    twice = {"duplicate": found.drift.duplicate} if found.drift.duplicate else {}
    return {**found.causes, **twice}


def _compared(meeting: Meeting, asked: DiffRequest, wait: Callable[[], None], step: Step) -> tuple[Compared, Scope]:
    engine = meeting.engine
    again, seen = False, list[str]()
    with meeting.look() as look:
        judged: list[Compared] = []
        for part in look.parts:
            with engine.snapshot():
                prepared = _prepared(engine, look, part, asked)
                judged.append(_judged(engine, prepared, partial(_step, step, judged)))
                again = meeting.between_databases and (again or judged[-1].drift.of_rows() > 0)
                if again and prepared.comparison.key:
                    seen.append(f"{_SEEN}_{len(seen)}")
                    engine.execute(f"create temp table {seen[-1]} as {differing_keys_sql(prepared.comparison)}")
    first = combined(judged)
    found = replace(
        first, rows_expected=first.rows_expected + look.equal[0], rows_actual=first.rows_actual + look.equal[1]
    )
    reason = "every row of both sides was compared" + ("" if asked.key else "; without a key, rows as a multiset")
    if look.buckets is not None:
        buckets, of = look.buckets
        reason = (
            f"checksums of {of:,} key buckets were compared, and by value the rows of the {len(buckets):,} unequal ones"
        )
    settled = None
    if again:
        wait()
        second = _second(meeting, look, asked, seen)
        settled = max(0, first.drift.of_rows() - second.drift.of_rows())
        found = replace(second, rows_expected=found.rows_expected, rows_actual=found.rows_actual)
        reason += f"; what differed was looked at again, {settled:,} settled"
    return found, Scope("sweep", reason, None, found.rows_expected, found.rows_actual, settled=settled)


def _judged(engine: Engine, prepared: Prepared, step: Step = lambda done, whole: None) -> Compared:
    bases = {column.name: column.base for column in prepared.actual_columns}
    return judge(engine, prepared, step=step, shape_of=partial(shape_of, bases=bases))


def _step(step: Step, judged: list[Compared], done: int, whole: int | None) -> None:
    """Tell of the rows of a part, with those of the parts before it."""
    step(done + sum(part.rows_actual for part in judged), whole)


def _second(meeting: Meeting, first: Look, asked: DiffRequest, seen: list[str]) -> Compared:
    """The keys that differed, as they are now; the tables ``seen`` hold them."""
    judged = []
    with meeting.look(first) as look:
        for part in look.parts:
            with meeting.engine.snapshot():
                prepared = _prepared(meeting.engine, look, part, asked)
                judged.append(_judged(meeting.engine, _only(prepared, seen)))
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


def _prepared(engine: Engine, look: Look, part: tuple[str, str], asked: DiffRequest) -> Prepared:
    left_sql, right_sql = (narrowed_sql(side, asked.where) if asked.where else side for side in part)
    if asked.renamed:
        right_sql = rename(right_sql, look.right_columns, asked.renamed)
    right_columns = engine.query_columns(right_sql)
    named = {column.name for column in [*look.left_columns, *right_columns]}
    unknown = [name for name in [*(asked.columns or ()), *asked.ignore] if name not in named]
    if unknown:
        raise NotComparable(f"no column {unknown[0]!r} on either side: there are {', '.join(sorted(named))}")
    return prepare(
        engine,
        expected_sql=left_sql,
        expected_columns=look.left_columns,
        actual_sql=right_sql,
        actual_columns=right_columns,
        key=asked.key,
        ignore=frozenset(asked.ignore),
        only=frozenset(asked.columns) if asked.columns is not None else None,
        tolerance=asked.tolerance,
        widths_matter=False,
        relation=look.relation if not asked.renamed else None,
    )
