"""Judge one table against its definition, inside one snapshot of one engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby, islice

from reconcile.definition import cast_to_contract, quote
from reconcile.engines.base import Column, Engine
from reconcile.errors import NotComparable
from reconcile.report import SAMPLE_LIMIT, Cell, Drift, Sample, SchemaChange
from reconcile.statements import (
    ComparedColumn,
    Comparison,
    Counts,
    KeyPart,
    Rows,
    counts_sql,
    differences_sql,
    missing_duplicates_sql,
    surplus_counts_sql,
    surplus_sql,
)


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


@dataclass(frozen=True)
class Prepared:
    """A comparison ready to run: its statements' parts, the table's own columns, and what differs in shape."""

    comparison: Comparison
    actual_columns: tuple[Column, ...]
    schema_changes: tuple[SchemaChange, ...]


def prepare(
    engine: Engine,
    *,
    expected_sql: str,
    expected_columns: list[Column],
    actual_sql: str,
    actual_columns: list[Column],
    key: tuple[str, ...],
    ignore: frozenset[str] = frozenset(),
    only: frozenset[str] | None = None,
    tolerance: dict[str, float] | None = None,
    carry: bool = False,
    as_of_sql: str | None = None,
    widths_matter: bool = True,
) -> Prepared:
    """Line two sides up by column name. Columns on one side, or of types that do not match, are named and not compared.

    With ``widths_matter`` False integers of any width match: between two databases one number has many types.
    With ``carry`` ignored columns come along uncompared: a row to insert needs their values too.
    Raises NotComparable where a key column stands on one side only.
    """
    tolerance = tolerance or {}
    left = {column.name: column for column in expected_columns}
    right = {column.name: column for column in actual_columns}
    parts = tuple(_key_part(name, left, right) for name in key)
    key_columns = {part.name for part in parts if part.name in left}
    unknown = [name for name in tolerance if name not in left and name not in right]
    if unknown:
        raise NotComparable(f"tolerance names the column {unknown[0]!r}, which neither side has")
    changes = []
    columns = []
    for name in dict.fromkeys([*left, *right]):
        ignored = name not in key_columns and (name in ignore or (only is not None and name not in only))
        if ignored and not carry:
            continue
        if ignored and not (name in right and name in left and _same_type(left[name], right[name], widths_matter)):
            continue
        if name not in right:
            changes.append(SchemaChange(name, "missing", left[name].type, None))
        elif name not in left:
            changes.append(SchemaChange(name, "extra", None, right[name].type))
        elif not _same_type(left[name], right[name], widths_matter):
            changes.append(SchemaChange(name, "type", left[name].type, right[name].type))
            if name in key_columns:
                raise NotComparable(
                    f"the key column {name} is {left[name].type} in the definition and {right[name].type} in the table"
                )
        elif name not in key_columns:
            expressions = engine.comparable(quote(name), left[name]), engine.comparable(quote(name), right[name])
            columns.append(ComparedColumn(name, *expressions, tolerance.get(name), ignored))
    comparison = Comparison(expected_sql, actual_sql, parts, tuple(columns), as_of_sql if parts else None)
    return Prepared(comparison, tuple(actual_columns), tuple(changes))


def _key_part(name: str, left: dict[str, Column], right: dict[str, Column]) -> KeyPart:
    if name in left and name in right:
        return KeyPart(name, quote(name))
    for side, columns in (("definition", left), ("table", right)):
        if name not in columns and name.isidentifier():
            raise NotComparable(f"the key column {name!r} is not in the {side}: its columns are {', '.join(columns)}")
    return KeyPart(name, f"({name})")  # unique_key may be an SQL expression


_INTEGERS = frozenset({"int2", "int4", "int8", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"})


def _same_type(left: Column, right: Column, widths_matter: bool) -> bool:
    if not widths_matter and {left.base, right.base} <= _INTEGERS:
        return True
    if left.base != right.base:
        return {left.base, right.base} <= {"text", "varchar"}
    # dbt itself widens varchar(n); a scale or length of anything else changes values
    return left.type == right.type or left.base == "varchar"


def judge(engine: Engine, prepared: Prepared, sample_limit: int = SAMPLE_LIMIT) -> Judged:
    """Compare. To be called inside ``engine.snapshot()``: every statement of it must see one state."""
    comparison = replace(prepared.comparison, as_of=None)  # what the last build saw matters only where rows differ
    if not comparison.key:
        return _judge_bag(engine, prepared, sample_limit)
    counts, per_column = _counts(engine, comparison)
    repeated = counts.duplicate_keys > 0 or counts.pairs_actual > counts.rows_actual
    if not repeated and counts.missing > 1:
        repeated = engine.one(missing_duplicates_sql(comparison))[0] > 0
    if prepared.comparison.as_of is not None and not repeated and (counts.missing or counts.extra or counts.changed):
        comparison = prepared.comparison
        counts, per_column = _counts(engine, comparison)
    duplicate = 0
    samples: list[Sample] = []
    if repeated:
        # a key that stands twice pairs more than once: count the others by themselves, and those as multisets
        missing, extra, changed, per_column = _count_differences(engine, comparison)
        twice = list(_surplus(engine, comparison, Rows.TWICE, "duplicate"))
        duplicate = len({tuple(sample.key.items()) for sample in twice})
        samples += twice[:sample_limit]
    else:
        missing, extra, changed = counts.missing, counts.extra, counts.changed
    null_key = 0
    if counts.null_expected or counts.null_actual:
        surplus_e, surplus_a, _, _ = engine.one(surplus_counts_sql(comparison, Rows.NULL_KEYS))
        null_key = int(max(surplus_e, surplus_a))
        samples += islice(_surplus(engine, comparison, Rows.NULL_KEYS, "null_key", sample_limit), sample_limit)
    drift = Drift(missing, extra, changed, duplicate, null_key, len(prepared.schema_changes), counts.pending)
    if missing or extra or changed or counts.pending:
        rows = engine.stream(differences_sql(comparison, engine.as_text, sample_limit, unique=not repeated))
        samples += [_sample(row, comparison) for row in rows]
    return Judged(
        drift=drift,
        columns={name: count for name, count in per_column.items() if count},
        schema_changes=prepared.schema_changes,
        samples=tuple(samples[:sample_limit]),
        truncated=drift.of_rows() + drift.pending > min(len(samples), sample_limit),
        rows_expected=_rows_expected(engine, comparison, counts, repeated),
        rows_actual=counts.rows_actual,
    )


def _rows_expected(engine: Engine, comparison: Comparison, counts: Counts, repeated: bool) -> int:
    if not repeated:
        return counts.pairs_expected
    return int(engine.one(f"select count(*) from (\n{comparison.expected}\n) as counted")[0])


def _counts(engine: Engine, comparison: Comparison) -> tuple[Counts, dict[str, int]]:
    row = engine.one(counts_sql(comparison))
    return Counts(*row[:10]), {column.name: row[10 + i] for i, column in enumerate(comparison.columns)}


def _count_differences(engine: Engine, comparison: Comparison) -> tuple[int, int, int, dict[str, int]]:
    kinds = {"missing": 0, "extra": 0, "changed": 0}
    per_column = dict.fromkeys((column.name for column in comparison.columns), 0)
    first = 1 + len(comparison.key)
    for row in engine.stream(differences_sql(comparison, engine.as_text, None, unique=False)):
        kinds[row[0]] += 1
        if row[0] == "changed":
            for i, column in enumerate(comparison.columns):
                per_column[column.name] += bool(row[first + 3 * i + 2])
    return kinds["missing"], kinds["extra"], kinds["changed"], per_column


def _sample(row: tuple[object, ...], comparison: Comparison) -> Sample:
    n = len(comparison.key)
    kind = str(row[0])
    key = {part.name: _text(row[1 + i]) for i, part in enumerate(comparison.key)}
    cells = {}
    for i, column in enumerate(comparison.columns):
        expected, actual, differs = row[1 + n + 3 * i : 4 + n + 3 * i]
        one_sided = kind in ("missing", "extra") or (kind == "pending" and _one_sided(row, comparison))
        if one_sided or differs:
            cells[column.name] = Cell(_text(expected), _text(actual))
    return Sample(kind, key, cells)


def _one_sided(row: tuple[object, ...], comparison: Comparison) -> bool:
    cells = row[1 + len(comparison.key) :]
    return all(cell is None for cell in cells[0::3]) or all(cell is None for cell in cells[1::3])


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


def stored_sql(sql: str, contract: dict[str, str]) -> str:
    """A definition as its build would store it: cast to the contract, where there is one."""
    return cast_to_contract(sql, contract) if contract else sql
