"""``reconcile diff``: any two tables, wherever they are. Expected is LEFT, actual is RIGHT."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reconcile.check import new_run_id, now
from reconcile.compare import judge
from reconcile.engines.connect import before_connect
from reconcile.errors import NotComparable
from reconcile.prepare import prepare
from reconcile.project import Options, profile_connection
from reconcile.report import Report, Scope, TableReport, Verdict
from reconcile.sides import bring_together, parse_side, rename


@dataclass(frozen=True)
class Asked:
    """What to compare and how. ``columns`` None: all; ``renamed`` maps RIGHT's names to LEFT's."""

    left: str
    right: str
    key: tuple[str, ...]
    columns: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    tolerance: dict[str, float] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    where: str | None = None


def diff(asked: Asked, options: Options) -> Report:
    """Compare two tables. Raises ReconcileError where a side cannot be read or the sides cannot be compared."""
    started_at, started = now(), time.monotonic()

    def target(name: str) -> tuple[str, Any]:
        before_connect(name, options.project_dir.resolve())
        connection = profile_connection(options, name)
        return connection.adapter, connection.credentials

    left, right = parse_side(asked.left, target), parse_side(asked.right, target)
    with tempfile.TemporaryDirectory(prefix="reconcile-") as scratch:
        stand = bring_together(left, right, Path(scratch), asked.renamed)
        engine = stand.engine
        try:
            left_sql, right_sql = _narrowed(stand.left, asked.where), _narrowed(stand.right, asked.where)
            if asked.renamed:
                right_sql = rename(right_sql, stand.right_columns, asked.renamed)
            right_columns = engine.query_columns(right_sql)
            named = {column.name for column in [*stand.left_columns, *right_columns]}
            unknown = [name for name in [*(asked.columns or ()), *asked.ignore] if name not in named]
            if unknown:
                raise NotComparable(f"no column {unknown[0]!r} on either side: there are {', '.join(sorted(named))}")
            with engine.snapshot():
                prepared = prepare(
                    engine,
                    expected_sql=left_sql,
                    expected_columns=stand.left_columns,
                    actual_sql=right_sql,
                    actual_columns=right_columns,
                    key=asked.key,
                    ignore=frozenset(asked.ignore),
                    only=frozenset(asked.columns) if asked.columns is not None else None,
                    tolerance=asked.tolerance,
                    widths_matter=False,
                )
                found = judge(engine, prepared)
        finally:
            engine.close()
    both_empty = found.rows_expected == found.rows_actual == 0
    verdict = Verdict.DRIFT if found.drift.any() else Verdict.UNVERIFIED if both_empty else Verdict.LEVEL
    table = TableReport(
        name=left.name,
        unique_id=None,
        relation=f"{left.where} {left.table}" if left.kind != "file" else left.where,
        key=asked.key,
        verdict=verdict,
        scope=Scope("sweep", _reason(asked.key), None, found.rows_expected, found.rows_actual),
        drift=found.drift,
        columns=found.columns,
        schema_changes=found.schema_changes,
        samples=found.samples,
        truncated=found.truncated,
        error="both sides are empty: nothing was compared" if verdict is Verdict.UNVERIFIED else None,
        elapsed_ms=round((time.monotonic() - started) * 1000),
    )
    return Report(new_run_id(), "diff", right.where, started_at, now(), (table,))


def _narrowed(select: str, where: str | None) -> str:
    return f"select * from (\n{select}\n) as narrowed where {where}" if where else select


def _reason(key: tuple[str, ...]) -> str:
    return "every row of both sides was compared" + ("" if key else "; without a key, rows as a multiset")
