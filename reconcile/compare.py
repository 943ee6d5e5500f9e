"""Judge one table against its definition, inside one snapshot of one engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby, islice
from typing import Any

from reconcile.engines.base import Engine
from reconcile.prepare import Prepared
from reconcile.report import SAMPLE_LIMIT, Cell, Drift, Sample, SchemaChange
from reconcile.statements import (
    HEAD,
    Comparison,
    Counts,
    Rows,
    Totals,
    counts_sql,
    differences_sql,
    later_build_sql,
    missing_duplicates_sql,
    surplus_counts_sql,
    surplus_sql,
    totals_sql,
)

_FEW = 2_000  # differing rows taken in one piece
_STREAMED = 50_000  # differing rows read one by one; beyond that they are counted in the engine


@dataclass(frozen=True)
class Judged:
    """What a comparison found; ``rows_expected`` and ``rows_actual`` count every row of both sides."""

    drift: Drift
    columns: dict[str, int]
    schema_changes: tuple[SchemaChange, ...]
    samples: tuple[Sample, ...]
    truncated: bool
    rows_expected: int
    rows_actual: int


def judge(engine: Engine, prepared: Prepared, sample_limit: int = SAMPLE_LIMIT) -> Judged:
    """Compare. To be called inside ``engine.snapshot()``: every statement of it must see one state.

    A level table costs one statement that returns one row. Where rows differ, those are read in a second one; where
    too many do, they are counted in the engine and only a sample is read.
    """
    comparison = replace(prepared.comparison, as_of=None)  # what the last build saw matters only where rows differ
    if not comparison.key:
        return _judge_bag(engine, prepared, sample_limit)
    totals = Totals(*engine.one(totals_sql(comparison, prepared.actual_unique)))
    if totals.level:
        schema = Drift(schema=len(prepared.schema_changes))
        return Judged(schema, {}, prepared.schema_changes, (), False, totals.pairs_expected, totals.rows_actual)
    found = _found(engine, prepared, totals, sample_limit)
    if found.drift.pending and engine.one(later_build_sql(prepared.comparison))[0] > 0:
        found = _found(engine, replace(prepared, comparison=comparison), totals, sample_limit)
    null_key = 0
    samples = list(found.samples)
    if found.null_keys:
        surplus_e, surplus_a, _, _ = engine.one(surplus_counts_sql(comparison, Rows.NULL_KEYS))
        null_key = int(max(surplus_e, surplus_a))
        samples += islice(_surplus(engine, comparison, Rows.NULL_KEYS, "null_key", sample_limit), sample_limit)
    drift = replace(found.drift, null_key=null_key, schema=len(prepared.schema_changes))
    return Judged(
        drift=drift,
        columns={name: count for name, count in found.columns.items() if count},
        schema_changes=prepared.schema_changes,
        samples=tuple(samples[:sample_limit]),
        truncated=drift.of_rows() + drift.pending > min(len(samples), sample_limit),
        rows_expected=found.rows_expected,
        rows_actual=totals.rows_actual,
    )


@dataclass(frozen=True)
class _Found:
    """The differing rows, but for those whose key has a NULL part: ``null_keys`` says that there are such."""

    drift: Drift
    columns: dict[str, int]
    samples: list[Sample]
    null_keys: bool
    rows_expected: int


def _found(engine: Engine, prepared: Prepared, totals: Totals, sample_limit: int) -> _Found:
    streamed = _streamed(engine, prepared, totals, sample_limit)
    return streamed if streamed is not None else _counted(engine, prepared, totals, sample_limit)


def _streamed(engine: Engine, prepared: Prepared, totals: Totals, sample_limit: int) -> _Found | None:
    """Read every differing row once; None where that will not do: too many, or a key stands more than once."""
    comparison = prepared.comparison
    if totals.repeated or totals.differing > _STREAMED:
        return None
    kinds: Counter[str] = Counter()
    columns: Counter[str] = Counter()
    only_expected = only_actual = 0
    drifted: list[Sample] = []
    pending: list[Sample] = []
    before: tuple[object, ...] | None = None
    n = len(comparison.key)
    query = differences_sql(comparison, engine.as_text, None)
    for row in engine.rows(query) if totals.differing <= _FEW else engine.stream(query):
        key = row[HEAD : HEAD + n]
        if key == before:
            return None  # the definition itself yields a key twice
        before = key
        kinds[row[0]] += 1
        only_expected += row[2] is None
        only_actual += row[1] is None
        if row[0] == "changed":
            columns.update(_differing(row, comparison))
        kept = pending if row[0] == "pending" else drifted
        if len(kept) < sample_limit:
            kept.append(_sample(row, comparison))
    null_expected = totals.pairs - totals.pairs_actual - only_expected
    null_actual = totals.pairs - totals.pairs_expected - only_actual
    rows_expected = totals.pairs_expected
    return _Found(Drift(**kinds), columns, drifted + pending, null_expected + null_actual > 0, rows_expected)


def _counted(engine: Engine, prepared: Prepared, totals: Totals, sample_limit: int) -> _Found:
    """Count in the engine. Keys that stand more than once are judged apart, as multisets, and know no pending."""
    comparison = replace(prepared.comparison, as_of=None)
    repeated = totals.repeated or engine.one(missing_duplicates_sql(comparison))[0] > 0
    if not repeated:
        comparison = prepared.comparison
    row = engine.one(counts_sql(comparison))
    counts = Counts(*row[:10])
    columns = {column.name: row[10 + i] for i, column in enumerate(comparison.columns)}
    drift = Drift(counts.missing, counts.extra, counts.changed, pending=counts.pending)
    samples: list[Sample] = []
    rows_expected = counts.pairs_expected
    if repeated:
        drift, columns = _count_differences(engine, comparison)
        twice = list(_surplus(engine, comparison, Rows.TWICE, "duplicate"))
        drift = replace(drift, duplicate=len({tuple(sample.key.items()) for sample in twice}))
        samples += twice[:sample_limit]
        rows_expected = int(engine.one(f"select count(*) from (\n{comparison.expected}\n) as counted")[0])
    if drift.missing or drift.extra or drift.changed or drift.pending:
        rows = engine.stream(differences_sql(comparison, engine.as_text, sample_limit, unique=not repeated))
        samples += [_sample(row, comparison) for row in rows]
    return _Found(drift, columns, samples, bool(counts.null_expected or counts.null_actual), rows_expected)


def _count_differences(engine: Engine, comparison: Comparison) -> tuple[Drift, dict[str, int]]:
    kinds: Counter[str] = Counter()
    columns: Counter[str] = Counter()
    for row in engine.stream(differences_sql(comparison, engine.as_text, None, unique=False)):
        kinds[row[0]] += 1
        if row[0] == "changed":
            columns.update(_differing(row, comparison))
    return Drift(**kinds), columns


def _differing(row: tuple[Any, ...], comparison: Comparison) -> Iterator[str]:
    first = HEAD + len(comparison.key)
    return (column.name for i, column in enumerate(comparison.columns) if row[first + 3 * i + 2])


def _sample(row: tuple[Any, ...], comparison: Comparison) -> Sample:
    n = len(comparison.key)
    kind, in_expected, in_actual = row[:HEAD]
    key = {part.name: _text(row[HEAD + i]) for i, part in enumerate(comparison.key)}
    cells = {}
    for i, column in enumerate(comparison.columns):
        expected, actual, differs = row[HEAD + n + 3 * i : HEAD + 3 + n + 3 * i]
        if in_expected is None or in_actual is None or differs:
            cells[column.name] = Cell(_text(expected), _text(actual))
    return Sample(kind, key, cells)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _surplus(
    engine: Engine, comparison: Comparison, rows: Rows, kind: str, limit: int | None = None
) -> Iterator[Sample]:
    """One sample a key: its surplus row on the table's side, or the row that the table lacks."""
    n = len(comparison.key)
    found = engine.stream(surplus_sql(comparison, engine.as_text, rows, limit))
    for key, group in groupby(found, key=lambda row: row[2 : 2 + n] if kind == "duplicate" else object()):
        copies_expected, copies_actual, *values = next(iter(group))
        too_many = copies_actual > copies_expected
        cells = {
            column.name: Cell(None, _text(value)) if too_many else Cell(_text(value), None)
            for column, value in zip(comparison.columns, values[n:], strict=True)
        }
        named = values[:n] if isinstance(key, tuple) or n else []
        yield Sample(kind, {part.name: _text(v) for part, v in zip(comparison.key, named, strict=True)}, cells)


def _judge_bag(engine: Engine, prepared: Prepared, sample_limit: int) -> Judged:
    comparison = prepared.comparison
    surplus_e, surplus_a, rows_e, rows_a = (int(n) for n in engine.one(surplus_counts_sql(comparison, Rows.ALL)))
    samples = []
    if surplus_e or surplus_a:
        for copies_e, copies_a, *values in engine.stream(
            surplus_sql(comparison, engine.as_text, Rows.ALL, sample_limit)
        ):
            kind = "missing" if copies_e > copies_a else "extra"
            cells = {
                column.name: Cell(_text(value), None) if kind == "missing" else Cell(None, _text(value))
                for column, value in zip(comparison.columns, values, strict=True)
            }
            samples.append(Sample(kind, {}, cells))
    drift = Drift(missing=surplus_e, extra=surplus_a, schema=len(prepared.schema_changes))
    return Judged(drift, {}, prepared.schema_changes, tuple(samples), drift.of_rows() > len(samples), rows_e, rows_a)
