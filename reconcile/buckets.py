"""Checksums by key bucket, computed on each side by its own engine: only rows of unequal buckets have to travel.

A row's checksum is the md5 of its values' texts, each with its length before it; a bucket's is their number and the
sums of both halves (a sum, not XOR: a duplicated row must not cancel itself). Texts that differ for equal values (a
double beyond 10^15, json) only make more rows travel; that two values are equal is never told by a text that two
values share, and rows that travel are compared by value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reconcile.definition import quote
from reconcile.engines.base import Column, Engine

_ROWS = 64  # in a bucket, about: while there are buckets enough
_MOST = 65_536  # buckets: their sums of both sides are held in memory
_INTEGERS = frozenset({"int2", "int4", "int8", "TINYINT", "SMALLINT", "INTEGER", "BIGINT"})

Sum = tuple[int, int, int]


@dataclass(frozen=True)
class Bucketed:
    """One side: ``table`` is what a FROM takes; ``key`` and ``columns`` are its own columns, in the other's order."""

    engine: Engine
    table: str
    key: Sequence[Column]
    columns: Sequence[Column]
    buckets: int

    @property
    def bucket(self) -> str:
        """The bucket of a row, from 0 up: the same number on every engine."""
        if len(self.key) == 1 and self.key[0].base in _INTEGERS:
            # a remainder has the sign of the key on all of them
            return f"coalesce(abs({quote(self.key[0].name)} % {self.buckets}), 0)"
        texts = " || ".join(self._measured(column) for column in self.key)
        return f"{self._number(f'md5({texts})', 1, 8)} % {self.buckets}"

    def sums(self) -> dict[int, Sum]:
        """Bucket -> rows in it, and two checksums."""
        texts = " || ".join(self._measured(column) for column in [*self.key, *self.columns])
        halves = ", ".join(f"cast(sum({self._number('digest', first, 15)}) as varchar)" for first in (1, 16))
        rows = self.engine.rows(
            f"select bucket, count(*), {halves} from ("
            f"select {self.bucket} as bucket, md5({texts}) as digest from {self.table}) as digested group by bucket"
        )
        return {int(bucket): (int(count), int(one), int(other)) for bucket, count, one, other in rows}

    def within(self, buckets: Sequence[int]) -> str:
        """A condition that holds for the rows of these buckets."""
        return f"{self.bucket} in ({', '.join(map(str, sorted(buckets)))})" if buckets else "false"

    def _measured(self, column: Column) -> str:
        name = quote(column.name)
        text = f"cast({name} as varchar)"
        if self.engine.kind == "duckdb" and column.base in ("DOUBLE", "FLOAT"):
            text = f"regexp_replace({text}, '\\.0$', '')"  # Postgres prints 1, DuckDB 1.0
        if self.engine.kind == "postgres" and column.type == "numeric":
            text = f"cast(trim_scale({name}) as varchar)"
        return f"coalesce(length({text}) || ':' || {text}, '-')"

    def _number(self, digest: str, first: int, digits: int) -> str:
        """Hexadecimal digits of a digest as an integer."""
        cut = f"substr({digest}, {first}, {digits})"
        if self.engine.kind == "duckdb":
            return f"cast('0x' || {cut} as bigint)"
        return f"cast(cast('x' || {cut} as bit({4 * digits})) as bigint)"


def how_many(rows: int) -> int:
    """Buckets for a table of so many rows."""
    return max(1, min(_MOST, rows // _ROWS))


def unequal(left: Mapping[int, Sum], right: Mapping[int, Sum]) -> list[int]:
    """The buckets that are not the same on both sides."""
    return sorted(bucket for bucket in {*left, *right} if left.get(bucket) != right.get(bucket))
