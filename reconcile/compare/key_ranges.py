"""Cut a large comparison into key ranges: progress can be shown, and what differs can be gathered in the same pass.

All pieces are read in one snapshot, so the verdict is that of one statement. A table is cut only where the planner
says that the pieces together cost little more than the whole: a definition that cannot be evaluated for a range of
keys is evaluated once, whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from reconcile.compare.align import Prepared
from reconcile.compare.key_filter import Values, condition
from reconcile.compare.sql import totals_sql
from reconcile.engines.base import Column, Engine
from reconcile.engines.identifiers import quote
from reconcile.errors import NotComparable

_ROWS = 1_500_000  # in a piece
_BYTES = 256_000_000  # of a piece's rows: what the server may hold of them, were all of them to differ
_COLUMNS = 200  # of a table whose differing rows are gathered: the statement names each a dozen times
_FEWEST = 4
# The pieces may be thought this many times as dear as the whole: planners overrate ranges of an index (1 M x 1 M rows
# in 5 pieces were thought 2.1 times as dear, and took as long). What cannot be narrowed costs _FEWEST times the whole.
_DEARER = 3.0
_RANGES = frozenset({"int2", "int4", "int8", "numeric", "date", "timestamp", "timestamptz", "uuid", "text", "varchar"})


@dataclass(frozen=True)
class Piece:
    """A range of keys: ``condition`` holds for its rows (None: every row). ``rows`` is the planner's estimate.

    With ``gather`` few enough rows are in it for all differing ones to be held at once.
    """

    condition: str | None
    rows: int | None
    gather: bool


def pieces_of(engine: Engine, prepared: Prepared) -> list[Piece]:
    """The pieces to compare one after another, inside the caller's snapshot; together they hold every row once."""
    whole = engine.plan(totals_sql(prepared.comparison, prepared.actual_unique))
    if whole is None:
        return [Piece(None, None, gather=False)]
    fits = min(_ROWS, _BYTES // max(1, whole.width))
    narrow = len(prepared.comparison.columns) <= _COLUMNS
    if whole.rows <= fits:
        return [Piece(None, whole.rows, gather=narrow)]
    wanted = max(_FEWEST, -(-whole.rows // max(1, fits)))
    conditions = _conditions(engine, prepared, wanted)
    if len(conditions) >= _FEWEST:
        middle = narrowed(prepared, conditions[len(conditions) // 2])
        part = engine.plan(totals_sql(middle.comparison, prepared.actual_unique))
        if part is not None and part.cost * len(conditions) <= _DEARER * whole.cost:
            share = whole.rows // len(conditions)
            return [Piece(condition, share, gather=narrow and share <= 2 * fits) for condition in conditions]
    return [Piece(None, whole.rows, gather=False)]


def narrowed_to_keys(prepared: Prepared, keys: Sequence[Values]) -> Prepared:
    """The comparison of just these keys. Raises NotComparable if a part of the key is an expression."""
    names = [part.name for part in prepared.comparison.key]
    columns = {column.name: column for column in prepared.actual_columns}
    expression = next((part for part in prepared.comparison.key if part.name not in columns), None)
    if expression is not None:
        raise NotComparable(f"the key {expression.name} is an expression, which keys cannot be looked up by")
    return narrowed(prepared, condition(names, [columns[name] for name in names], keys))


def narrowed(prepared: Prepared, condition: str | None) -> Prepared:
    """``prepared`` over the rows that a condition on the key's columns holds for, on every side."""
    if condition is None:
        return prepared
    comparison = prepared.comparison
    as_of = narrowed_sql(comparison.as_of, condition) if comparison.as_of is not None else None
    expected, actual = (narrowed_sql(sql, condition) for sql in (comparison.expected, comparison.actual))
    return replace(prepared, comparison=replace(comparison, expected=expected, actual=actual, as_of=as_of))


def narrowed_sql(select: str, condition: str) -> str:
    """A SELECT over the rows that a condition on its columns holds for."""
    return f"select * from (\n{select}\n) as narrowed where {condition}"


def _conditions(engine: Engine, prepared: Prepared, wanted: int) -> list[str]:
    first = prepared.comparison.key[0]
    column = next((c for c in prepared.actual_columns if c.name == first.name), None)
    if prepared.relation is None or column is None or column.base not in _RANGES or first.expression.startswith("("):
        return []
    # the table's own order on both sides, whatever the definition's collation is
    key = quote(first.name) + (f" collate {column.collation}" if column.collation else "")
    bounds = [
        f"'{bound.replace(chr(39), chr(39) * 2)}'::{column.unbounded}"
        for bound in _bounds(engine, prepared.relation, column, wanted)
    ]
    if not bounds:
        return []
    between = [f"{key} >= {low} and {key} < {high}" for low, high in pairwise(bounds)]
    return [f"({key} < {bounds[0]} or {key} is null)", *between, f"{key} >= {bounds[-1]}"]


def _bounds(engine: Engine, relation: str, column: Column, wanted: int) -> list[str]:
    known = engine.histogram(relation, column)
    step = max(1, len(known) / wanted)
    return list(dict.fromkeys(known[round(i * step)] for i in range(1, wanted) if round(i * step) < len(known)))
