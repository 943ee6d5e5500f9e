"""Judge one table against its definition, inside one snapshot of one engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import groupby, islice
from typing import Any

from reconcile.compare.align import Prepared
from reconcile.compare.key_ranges import narrowed, pieces_of
from reconcile.compare.multiset import Rows, surplus_counts_sql, surplus_sql
from reconcile.compare.sql import (
    HEAD,
    Comparison,
    Counts,
    Totals,
    counts_sql,
    differences_sql,
    gathered_sql,
    later_build_sql,
    missing_duplicates_sql,
    read_difference,
    totals_sql,
)
from reconcile.compare.value_patterns import ShapeOf, Values
from reconcile.engines.base import Engine
from reconcile.report.model import SAMPLE_LIMIT, Cell, Drift, Sample, SchemaChange

Row = tuple[Any, ...]
_NUMBERS = frozenset({"int2", "int4", "int8", "numeric"})
_GATHERED = 10_000  # differing rows of a piece that come in the row that counts them
_FEW = 2_000  # differing rows taken in one piece
_STREAMED = 50_000  # differing rows read one by one; beyond that they are counted in the engine


@dataclass(frozen=True)
class Compared:
    """What a comparison found; ``rows_expected`` and ``rows_actual`` count every row of both sides."""

    drift: Drift
    columns: dict[str, int]
    schema_changes: tuple[SchemaChange, ...]
    samples: tuple[Sample, ...]
    truncated: bool
    rows_expected: int
    rows_actual: int
    causes: dict[str, int] = field(default_factory=dict)  # by shape, if it was requested and is known


def combined(parts: Sequence[Compared], sample_limit: int = SAMPLE_LIMIT) -> Compared:
    """The parts of one comparison as one: they have the same columns, and no key in common."""
    drift = sum((part.drift for part in parts), Drift())
    columns = sum((Counter(part.columns) for part in parts), Counter[str]())
    causes = sum((Counter(part.causes) for part in parts), Counter[str]())
    samples = tuple(sample for part in parts for sample in part.samples)[:sample_limit]
    return Compared(
        drift=replace(drift, schema=parts[0].drift.schema),
        columns=dict(columns),
        schema_changes=parts[0].schema_changes,
        samples=samples,
        truncated=drift.of_rows() + drift.pending > len(samples),
        rows_expected=sum(part.rows_expected for part in parts),
        rows_actual=sum(part.rows_actual for part in parts),
        causes=dict(causes) if all(part.causes or not part.drift.changed for part in parts) else {},
    )


Step = Callable[[int, int | None], None]  # rows compared so far, rows in all where somebody knows


def judge(
    engine: Engine,
    prepared: Prepared,
    sample_limit: int = SAMPLE_LIMIT,
    step: Step = lambda done, whole: None,
    brief: bool = False,
    shape_of: ShapeOf | None = None,
) -> Compared:
    """Compare. To be called inside ``engine.snapshot()``: every statement of it must see one state.

    A level table costs one statement a piece of it, each of which returns one row. The rows that differ come in the
    same row where the piece is small enough; otherwise they are read in a second statement, and where too many do,
    they are counted in the engine and only a sample is read. ``brief`` asks only whether anything differs, and whether
    a key occurs more than once: kinds are rough then (NULL keys are missing or extra, what is pending is drift).
    ``shape_of`` names the cause of a changed row by its values; not where so many differ that they are only counted.
    """
    if not prepared.comparison.key:
        return _judge_bag(engine, prepared, sample_limit)
    engine.prefer_merge(totals_sql(without_as_of(prepared).comparison, prepared.actual_unique))
    pieces = pieces_of(engine, prepared)
    whole = sum(piece.rows or 0 for piece in pieces) or None
    found = _Found()
    for piece in pieces:
        part = narrowed(prepared, piece.condition)
        found += _brief(engine, part) if brief else _judge_piece(engine, part, piece.gather, sample_limit, shape_of)
        step(found.rows_actual, whole)
    if found.drift.pending and engine.one(later_build_sql(prepared.comparison))[0] > 0:
        return judge(engine, without_as_of(prepared), sample_limit, step, shape_of=shape_of)
    null_key = 0
    samples = sorted(found.samples, key=lambda sample: sample.kind == "pending")
    if found.null_keys:
        comparison = without_as_of(prepared).comparison
        surplus_e, surplus_a, _, _ = engine.one(surplus_counts_sql(comparison, Rows.NULL_KEYS))
        null_key = int(max(surplus_e, surplus_a))
        samples += islice(_surplus(engine, comparison, Rows.NULL_KEYS, "null_key", sample_limit), sample_limit)
    drift = replace(found.drift, null_key=null_key, schema=len(prepared.schema_changes))
    return Compared(
        drift=drift,
        columns={c.name: found.columns[c.name] for c in prepared.comparison.columns if found.columns[c.name]},
        schema_changes=prepared.schema_changes,
        samples=tuple(samples[:sample_limit]),
        truncated=drift.of_rows() + drift.pending > min(len(samples), sample_limit),
        rows_expected=found.rows_expected,
        rows_actual=found.rows_actual,
        causes=dict(found.causes) if found.shaped else {},
    )


def is_dearer(engine: Engine, narrow: Prepared, whole: Prepared) -> bool:
    """Whether the planner thinks it no cheaper to compare these keys than every row."""
    plans = [engine.plan(totals_sql(p.comparison, p.actual_unique)) for p in (narrow, whole)]
    return plans[0] is not None and plans[1] is not None and plans[0].cost >= plans[1].cost


def without_as_of(prepared: Prepared) -> Prepared:
    """``prepared`` with nothing pending: every difference is drift."""
    return replace(prepared, comparison=replace(prepared.comparison, as_of=None))


@dataclass(frozen=True)
class _Found:
    """The differing rows, but for those whose key has a NULL part: ``null_keys`` says that there are such."""

    drift: Drift = field(default_factory=Drift)
    columns: Counter[str] = field(default_factory=Counter)
    samples: tuple[Sample, ...] = ()
    null_keys: bool = False
    rows_expected: int = 0
    rows_actual: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    shaped: bool = True  # the causes are those of every changed row

    def __add__(self, other: _Found) -> _Found:
        return _Found(
            self.drift + other.drift,
            self.columns + other.columns,
            self.samples + other.samples,
            self.null_keys or other.null_keys,
            self.rows_expected + other.rows_expected,
            self.rows_actual + other.rows_actual,
            self.causes + other.causes,
            self.shaped and other.shaped,
        )


def _brief(engine: Engine, prepared: Prepared) -> _Found:
    comparison = without_as_of(prepared).comparison
    totals = Totals(*engine.one(totals_sql(comparison, prepared.actual_unique)))
    missing, extra = totals.pairs - totals.pairs_actual, totals.pairs - totals.pairs_expected
    twice = totals.repeated or (missing > 0 and engine.one(missing_duplicates_sql(comparison))[0] > 0)
    drift = Drift(missing=missing, extra=extra, changed=totals.changed, duplicate=int(twice))
    return _Found(drift, rows_expected=totals.pairs_expected, rows_actual=totals.rows_actual)


def _judge_piece(
    engine: Engine, prepared: Prepared, gather: bool, sample_limit: int, shape_of: ShapeOf | None
) -> _Found:
    # what the last build saw matters only where rows differ
    comparison = without_as_of(prepared).comparison
    rows: list[Row] | None = None
    totals = None
    if gather:
        row = engine.one(gathered_sql(comparison, prepared.actual_unique, engine.as_text, _GATHERED))
        pairs, differing, gathered, in_table, twice = row
        found = [read_difference(found, comparison) for found in gathered or []]
        keys = range(HEAD, HEAD + len(comparison.key))
        # whose row it is that has no key is not told here
        if differing <= _GATHERED and not any(row[i] is None for row in found for i in keys):
            rows = sorted(found, key=_place(prepared))
            totals = _totals_of(pairs, rows, in_table, twice)
    if totals is None:
        totals = Totals(*engine.one(totals_sql(comparison, prepared.actual_unique)))
    if totals.level:
        return _Found(rows_expected=totals.pairs_expected, rows_actual=totals.rows_actual)
    judged = None
    if not totals.repeated and totals.differing <= _STREAMED:
        if rows is None or prepared.comparison.as_of is not None:
            query = differences_sql(prepared.comparison, engine.as_text, None)
            few = totals.differing <= _FEW
            differing = _read(engine.rows(query) if few else engine.stream(query), comparison)
            judged = _streamed(prepared.comparison, differing, totals, sample_limit, shape_of)
        else:
            judged = _streamed(comparison, rows, totals, sample_limit, shape_of)
    return judged or _counted(engine, prepared, totals, sample_limit, shape_of)


def _totals_of(pairs: int, differing: Sequence[Row], in_table: int, twice: int) -> Totals:
    """The totals of a piece all of whose differing rows are here."""
    only_actual, only_expected = (sum(row[i] is None for row in differing) for i in (1, 2))
    changed = len(differing) - only_actual - only_expected
    return Totals(pairs, pairs - only_actual, pairs - only_expected, changed, in_table, twice)


def _read(rows: Iterable[tuple[Any, ...]], comparison: Comparison) -> Iterator[Row]:
    return (read_difference(found, comparison) for (found,) in rows)


def _place(prepared: Prepared) -> Callable[[Row], list[Any]]:
    """The key of a gathered row as something to sort by: numbers as numbers, all else by its text."""
    bases = {column.name: column.base for column in prepared.actual_columns}
    numeric = [bases.get(part.name) in _NUMBERS for part in prepared.comparison.key]

    def place(row: Row) -> list[Any]:
        parts = zip(row[HEAD:], numeric, strict=False)
        return [("", Decimal(text)) if number and text else (text or "", 0) for text, number in parts]

    return place


def _streamed(
    comparison: Comparison, rows: Iterable[Row], totals: Totals, sample_limit: int, shape_of: ShapeOf | None
) -> _Found | None:
    """Count the differing rows, each once; None where a key of the definition itself occurs more than once."""
    kinds: Counter[str] = Counter()
    columns: Counter[str] = Counter()
    causes: Counter[str] = Counter()
    only_expected = only_actual = 0
    drifted: list[Sample] = []
    pending: list[Sample] = []
    before: tuple[object, ...] | None = None
    n = len(comparison.key)
    for row in rows:
        key = row[HEAD : HEAD + n]
        if key == before:
            return None  # the definition itself yields a key twice
        before = key
        kinds[row[0]] += 1
        only_expected += row[2] is None
        only_actual += row[1] is None
        if row[0] == "changed":
            columns.update(name for name, _, _ in _differing(row, comparison))
        if cause := _cause(row, comparison, shape_of):
            causes[cause] += 1
        kept = pending if row[0] == "pending" else drifted
        if len(kept) < sample_limit:
            kept.append(replace(_sample(row, comparison), cause=cause))
    null_expected = totals.pairs - totals.pairs_actual - only_expected
    null_actual = totals.pairs - totals.pairs_expected - only_actual
    samples = tuple(drifted + pending)
    null_keys = null_expected + null_actual > 0
    return _Found(Drift(**kinds), columns, samples, null_keys, totals.pairs_expected, totals.rows_actual, causes)


def _counted(engine: Engine, prepared: Prepared, totals: Totals, sample_limit: int, shape_of: ShapeOf | None) -> _Found:
    """Count in the engine. Keys that occur more than once are judged apart, as multisets, and know no pending."""
    comparison = replace(prepared.comparison, as_of=None)
    repeated = totals.repeated or engine.one(missing_duplicates_sql(comparison))[0] > 0
    if not repeated:
        comparison = prepared.comparison
    row = engine.one(counts_sql(comparison))
    counts = Counts(*row[:10])
    columns = Counter({column.name: row[10 + i] for i, column in enumerate(comparison.columns)})
    drift = Drift(counts.missing, counts.extra, counts.changed, pending=counts.pending)
    samples: list[Sample] = []
    rows_expected = counts.pairs_expected
    causes: Counter[str] = Counter()
    if repeated:
        drift, columns, causes = _count_differences(engine, comparison, shape_of)
        twice = list(_surplus(engine, comparison, Rows.TWICE, "duplicate"))
        drift = replace(drift, duplicate=len({tuple(sample.key.items()) for sample in twice}))
        samples += twice[:sample_limit]
        rows_expected = int(engine.one(f"select count(*) from (\n{comparison.expected}\n) as counted")[0])
    if drift.missing or drift.extra or drift.changed or drift.pending:
        rows = engine.stream(differences_sql(comparison, engine.as_text, sample_limit, unique=not repeated))
        samples += [
            replace(_sample(row, comparison), cause=_cause(row, comparison, shape_of if causes else None))
            for row in _read(rows, comparison)
        ]
    null_keys = bool(counts.null_expected or counts.null_actual)
    return _Found(
        drift,
        columns,
        tuple(samples),
        null_keys,
        rows_expected,
        totals.rows_actual,
        causes,
        shaped=causes.total() == drift.changed,
    )


def _count_differences(
    engine: Engine, comparison: Comparison, shape_of: ShapeOf | None
) -> tuple[Drift, Counter[str], Counter[str]]:
    kinds: Counter[str] = Counter()
    columns: Counter[str] = Counter()
    causes: Counter[str] = Counter()
    rows = engine.stream(differences_sql(comparison, engine.as_text, None, unique=False))
    for row in _read(rows, comparison):
        kinds[row[0]] += 1
        if row[0] == "changed":
            columns.update(name for name, _, _ in _differing(row, comparison))
        if cause := _cause(row, comparison, shape_of):
            causes[cause] += 1
    return Drift(**kinds), columns, causes


def _cause(row: Row, comparison: Comparison, shape_of: ShapeOf | None) -> str | None:
    return shape_of(list(_differing(row, comparison))) if shape_of is not None and row[0] == "changed" else None


def _differing(row: tuple[Any, ...], comparison: Comparison) -> Iterator[Values]:
    """The columns that differ in a row, each with its expected value and its actual one."""
    first = HEAD + len(comparison.key)
    return (
        (column.name, row[first + 3 * i], row[first + 3 * i + 1])
        for i, column in enumerate(comparison.columns)
        if row[first + 3 * i + 2]
    )


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
    for key, group in groupby(found, key=lambda row: tuple(row[2][:n]) if kind == "duplicate" else object()):
        copies_expected, copies_actual, values = next(iter(group))
        too_many = copies_actual > copies_expected
        cells = {
            column.name: Cell(None, _text(value)) if too_many else Cell(_text(value), None)
            for column, value in zip(comparison.columns, values[n:], strict=True)
        }
        named = values[:n] if isinstance(key, tuple) or n else []
        yield Sample(kind, {part.name: _text(v) for part, v in zip(comparison.key, named, strict=True)}, cells)


def _judge_bag(engine: Engine, prepared: Prepared, sample_limit: int) -> Compared:
    comparison = prepared.comparison
    surplus_e, surplus_a, rows_e, rows_a = (int(n) for n in engine.one(surplus_counts_sql(comparison, Rows.ALL)))
    samples = []
    if surplus_e or surplus_a:
        for copies_e, copies_a, values in engine.stream(
            surplus_sql(comparison, engine.as_text, Rows.ALL, sample_limit)
        ):
            kind = "missing" if copies_e > copies_a else "extra"
            cells = {
                column.name: Cell(_text(value), None) if kind == "missing" else Cell(None, _text(value))
                for column, value in zip(comparison.columns, values, strict=True)
            }
            samples.append(Sample(kind, {}, cells))
    drift = Drift(missing=surplus_e, extra=surplus_a, schema=len(prepared.schema_changes))
    return Compared(drift, {}, prepared.schema_changes, tuple(samples), drift.of_rows() > len(samples), rows_e, rows_a)
