"""Checksums by key bucket, computed on each side by its own engine: only rows of unequal buckets have to travel.

A row's checksum is a hash of its values' texts; a bucket's is their number and sum (a sum, not XOR: a duplicated row
must not cancel itself). The hash is md5, of which 60 bits count, and Postgres' own 64 bits between two of one version.
Texts that differ for equal values (a double beyond 10^15, json) only make more rows travel; no two values share a text,
and rows that travel are compared by value.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reconcile.engines.base import Column, Engine
from reconcile.engines.identifiers import quote

_ROWS = 64  # in a bucket, about: while there are buckets enough
_MAX_BUCKETS = 65_536  # buckets: their sums of both sides are held in memory
_INTEGERS = frozenset({"int2", "int4", "int8", "TINYINT", "SMALLINT", "INTEGER", "BIGINT"})

# their texts hold no bar and are never empty: no length has to keep them apart
_PLAIN = frozenset({"numeric", "float4", "float8", "bool", "date", "timestamp", "timestamptz", "time", "uuid"})
_PLAIN |= {"DECIMAL", "FLOAT", "DOUBLE", "BOOLEAN", "DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIME", "UUID"}
_PLAIN |= _INTEGERS

Sum = tuple[int, int]  # rows, checksum


@dataclass(frozen=True)
class Bucketed:
    """One side: ``table`` is what a FROM takes; ``key`` and ``columns`` are its own columns, in the other's order."""

    engine: Engine
    table: str
    key: Sequence[Column]
    columns: Sequence[Column]
    buckets: int
    native: bool = False  # both sides are Postgres of one version, whose own hash is the same

    @property
    def bucket(self) -> str:
        """The bucket of a row, from 0 up: the same number on every engine."""
        if len(self.key) == 1 and self.key[0].base in _INTEGERS:
            # a remainder has the sign of the key on all of them
            return f"coalesce(abs({quote(self.key[0].name)} % {self.buckets}), 0)"
        return f"{self.engine.hex_number(f'md5({self._texts(self.key)})', 8)} % {self.buckets}"

    def sums(self) -> dict[int, Sum]:
        """Bucket -> rows in it, and the sum of their checksums."""
        texts = self._texts([*self.key, *self.columns])
        digest = (
            f'hashtextextended(({texts}) collate "C", 0)'
            if self.native
            else self.engine.hex_number(f"md5({texts})", 15)
        )
        rows = self.engine.rows(
            f"select bucket, count(*), cast(sum(digest) as varchar) from ("
            f"select {self.bucket} as bucket, {digest} as digest from {self.table}) as digested group by bucket"
        )
        return {int(bucket): (int(count), int(total)) for bucket, count, total in rows}

    def within(self, buckets: Sequence[int]) -> str:
        """A condition that holds for the rows of these buckets."""
        return f"{self.bucket} in ({', '.join(map(str, sorted(buckets)))})" if buckets else "false"

    def _texts(self, columns: Sequence[Column]) -> str:
        return " || '|' || ".join(map(self._text, columns))

    def _text(self, column: Column) -> str:
        """A value's text; a free one with its length before it, so that no value can pass for another and a bar."""
        name = quote(column.name)
        text = self.engine.common_text(name, column)
        if column.base in _PLAIN:
            return f"coalesce({text}, '')"
        return f"coalesce(length({text}) || ':' || {text}, '-')"


def how_many(rows: int) -> int:
    """Buckets for a table of so many rows."""
    return max(1, min(_MAX_BUCKETS, rows // _ROWS))


def unequal(left: Mapping[int, Sum], right: Mapping[int, Sum]) -> list[int]:
    """The buckets that are not the same on both sides."""
    return sorted(bucket for bucket in {*left, *right} if left.get(bucket) != right.get(bucket))
