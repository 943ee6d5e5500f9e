"""Checksums per key bucket, computed in each side's engine: only rows of unequal buckets have to travel.

A row's checksum is a hash of its values' texts; a bucket's is its row count and their sum (a sum, not XOR: a duplicated
row must not cancel itself). The hash is md5, of which 60 bits count; Postgres' own 64 bits between two servers of one
version. If equal values have different texts (a double beyond 10^15, json), more rows travel, and they are compared by
value; two different values never have the same text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reconcile.engines.base import Column, Engine
from reconcile.engines.identifiers import quote

_ROWS = 64  # per bucket, until _MAX_BUCKETS is reached
_MAX_BUCKETS = 65_536  # the sums of both sides are held in memory
_INTEGERS = frozenset({"int2", "int4", "int8", "TINYINT", "SMALLINT", "INTEGER", "BIGINT"})

# their texts hold no bar and are never empty: they need no length before them
_PLAIN = frozenset({"numeric", "float4", "float8", "bool", "date", "timestamp", "timestamptz", "time", "uuid"})
_PLAIN |= {"DECIMAL", "FLOAT", "DOUBLE", "BOOLEAN", "DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "TIME", "UUID"}
_PLAIN |= _INTEGERS


@dataclass(frozen=True)
class Sum:
    """A bucket's number of rows and the sum of their checksums."""

    rows: int
    checksum: int


@dataclass(frozen=True)
class BucketedSide:
    """One side: ``table`` is what a FROM takes; ``key`` and ``columns`` are its columns, in the other side's order."""

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
            # a remainder has the key's sign on every engine
            return f"coalesce(abs({quote(self.key[0].name)} % {self.buckets}), 0)"
        return f"{self.engine.hex_number(f'md5({self._texts(self.key)})', 8)} % {self.buckets}"

    def sums(self) -> dict[int, Sum]:
        """The sums per bucket."""
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
        return {int(bucket): Sum(int(count), int(total)) for bucket, count, total in rows}

    def within(self, buckets: Sequence[int]) -> str:
        """A condition that holds for the rows of these buckets."""
        return f"{self.bucket} in ({', '.join(map(str, sorted(buckets)))})" if buckets else "false"

    def _texts(self, columns: Sequence[Column]) -> str:
        return " || '|' || ".join(map(self._text, columns))

    def _text(self, column: Column) -> str:
        """A value's text; a free text with its length before it, so that a bar in it is no separator."""
        name = quote(column.name)
        text = self.engine.common_text(name, column)
        if column.base in _PLAIN:
            return f"coalesce({text}, '')"
        return f"coalesce(length({text}) || ':' || {text}, '-')"


def how_many(rows: int) -> int:
    """The number of buckets for a table of about so many rows."""
    return max(1, min(_MAX_BUCKETS, rows // _ROWS))


def unequal(left: Mapping[int, Sum], right: Mapping[int, Sum]) -> list[int]:
    """The buckets that differ between the sides."""
    return sorted(bucket for bucket in {*left, *right} if left.get(bucket) != right.get(bucket))
