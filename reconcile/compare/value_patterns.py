"""What a differing row of two tables looks like: how copies of counters go wrong, told from the two values alone.

No build made one table from the other, so there is no evidence of a cause as ``causes`` asks for; but a zero over a
number, a "K" read where there was none or a time zone leave a shape that a value alone shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from enum import StrEnum

# base types as Postgres and DuckDB name them, in lower case
_INTEGERS = {"int2", "int4", "int8", "tinyint", "smallint", "integer", "bigint", "hugeint"}
_UNSIGNED = {"utinyint", "usmallint", "uinteger", "ubigint", "uhugeint"}
_NUMBERS = _INTEGERS | _UNSIGNED | {"numeric", "decimal", "float4", "float8", "float", "double"}
_TIMES = ("timestamp", "date", "time")
_SCALES = frozenset(Decimal(10) ** power for power in (3, 6, 9))

Values = tuple[str, str | None, str | None]  # a differing column, its expected value and its actual one
ShapeOf = Callable[[Sequence[Values]], str]


class ValuePattern(StrEnum):
    """In the order in which they are looked for: a row has the first that one of its columns shows."""

    ZEROED = "zeroed"  # 0, where the other side has a number
    NULLED = "nulled"  # nothing, where the other side has a value
    FILLED = "filled"  # a value, where the other side has nothing
    SCALED = "scaled"  # a thousand, a million or a thousand million times as much, or as little
    TIME_SHIFTED = "time_shifted"  # another time
    OTHER = "other"


def shape_of(differing: Sequence[Values], bases: Mapping[str, str]) -> str:
    """The shape of a changed row: RIGHT's values as against LEFT's. ``bases``: each column's base type."""
    found = {_shape(bases.get(name, "").lower(), expected, actual) for name, expected, actual in differing}
    return next(shape for shape in ValuePattern if shape in found or shape is ValuePattern.OTHER).value


def _shape(base: str, expected: str | None, actual: str | None) -> ValuePattern:
    if actual is None:
        return ValuePattern.NULLED
    number = _number(actual) if base in _NUMBERS else None
    if number == 0:
        return ValuePattern.ZEROED
    if expected is None:
        return ValuePattern.FILLED
    if base.startswith(_TIMES):
        return ValuePattern.TIME_SHIFTED
    other = _number(expected) if number is not None else None
    if number is not None and other and (number / other in _SCALES or other / number in _SCALES):
        return ValuePattern.SCALED
    return ValuePattern.OTHER


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
