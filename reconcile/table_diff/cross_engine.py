"""How both sides of a diff become SELECTs in one engine.

Two tables of one database are compared there. Otherwise both come into DuckDB: parquet files and DuckDB tables are read
in place, csv and json files as texts; of a server's table, only the rows travel whose bucket's checksum differs from
the other side's, through COPY into a file that DuckDB reads with the table's own types. A server's table is read in one
snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from reconcile.compare.align import same_type
from reconcile.engines.base import Column, Engine
from reconcile.engines.identifiers import quote
from reconcile.errors import EvaluationFailed, NotComparable
from reconcile.table_diff.checksums import BucketedSide, Sum, how_many, unequal
from reconcile.table_diff.endpoints import Side
from reconcile.table_diff.guests import SCRATCH, Guest, columns_of, in_duckdb, literal, on_server, parquet, text_file
from reconcile.table_diff.line_up import LinedUp, columns_after, known_casts, lined_up, shared_forms
from reconcile.table_diff.text_files import Dialect
from reconcile.table_diff.value_text import Cast, make_forms

_WORTH_BUCKETS = 10_000  # rows: fewer travel whole
_PART = 100_000  # rows per side that are compared at once in this process
_TOO_MANY = 0.5  # of the rows in unequal buckets: then all of them travel


@dataclass(frozen=True)
class Buckets:
    """The buckets that differ, of how many; and the rows per side in the equal ones."""

    different: Sequence[int]
    of: int
    equal_left: int
    equal_right: int


@dataclass(frozen=True)
class Look:
    """Both sides as SELECTs in one engine, with LEFT's names, in parts: every key is in one part on both sides.

    ``buckets`` is None if every row is here. ``relation`` is RIGHT's table, if it is compared in its database.
    """

    parts: list[tuple[str, str]]
    left_columns: list[Column]
    right_columns: list[Column]
    buckets: Buckets | None = None
    relation: str | None = None
    bases: dict[str, str] = field(default_factory=dict)  # the types by which values are described, per column
    texts: tuple[LinedUp, ...] = ()  # the sides that are csv or json files
    forms: dict[str, Cast] = field(default_factory=dict)  # the columns that are compared as texts of one form


@dataclass(frozen=True)
class Wanted:
    """What of the sides is compared: ``renamed`` maps RIGHT's names to LEFT's, ``casts`` LEFT's names to types.

    ``where`` is a condition with LEFT's names. ``columns`` None: all.
    """

    key: tuple[str, ...]
    renamed: dict[str, str] = field(default_factory=dict)
    casts: dict[str, str] = field(default_factory=dict)
    where: str | None = None
    columns: tuple[str, ...] | None = None
    ignore: tuple[str, ...] = ()
    dialect: Dialect = field(default_factory=Dialect)

    def ignores(self, name: str) -> bool:
        return name not in self.key and (name in self.ignore or (self.columns is not None and name not in self.columns))


class Meeting:
    """Two sides and the engine in which they meet. ``scratch`` is a folder for what has to be copied."""

    def __init__(self, left: Side, right: Side, scratch: Path, wanted: Wanted) -> None:
        self._left, self._right, self._scratch, self._wanted = left, right, scratch, wanted
        one_database = left.connect is not None and (left.kind, left.where) == (right.kind, right.where)
        self._together = one_database and not wanted.casts  # a cast is exact only between texts, in DuckDB
        self.engine: Engine
        if self._together and left.connect is not None:
            self.engine = left.connect()
        else:
            from reconcile.engines.duckdb import DuckDBEngine  # imported here: it takes 0.1 s

            engine = DuckDBEngine(":memory:", {"TimeZone": "UTC", "temp_directory": str(scratch / "spilled")})
            make_forms(engine)
            engine.execute(f"attach {literal(str(scratch / 'scratch.duckdb'))} as {SCRATCH}")
            self.engine = engine

    @property
    def between_databases(self) -> bool:
        """Whether the sides are read at two moments, so that a change in flight can look like a difference."""
        return not self._together and "file" not in (self._left.kind, self._right.kind)

    @contextmanager
    def look(self, again: Look | None = None) -> Iterator[Look]:
        """Both sides as they are now; a second look, after ``again``, reads only the rows of its buckets.

        Raises NotComparable if a table does not exist or a file cannot be read.
        """
        wanted = self._wanted
        if self._together:
            sides = [
                LinedUp(f"select * from {side.table}", columns_of(self.engine, side.table, side), names)
                for side, names in ((self._left, {}), (self._right, wanted.renamed))
            ]
            left, right = (self._lined_up(side, side.select, {}) for side in sides)
            relation = None if wanted.renamed else self._right.table
            columns = [columns_after(side, {}) for side in sides]
            yield Look([(left, right)], columns[0], columns[1], relation=relation)
            return
        with ExitStack() as stack:
            yield self._met(self._guests(stack), again)

    def _guests(self, stack: ExitStack) -> tuple[Guest, Guest]:
        """Both sides, described as DuckDB has them."""
        if self._left == self._right and self._left.path is not None:
            guest = in_duckdb(self.engine, self._left, "left_db")  # one file is attached once
            return guest, guest
        made: dict[str, Guest] = {}
        # a lake's times take the other side's clock: the side that has types comes first
        for side, name in sorted(((self._left, "left"), (self._right, "right")), key=lambda item: _order(item[0])):
            made[name] = self._guest(side, name, made, stack)
        return made["left"], made["right"]

    def _guest(self, side: Side, name: str, made: dict[str, Guest], stack: ExitStack) -> Guest:
        if side.connect is not None:
            # the other side's types by the names that this side has for the columns
            renamed = self._wanted.renamed
            names = renamed if name == "right" else {there: here for here, there in renamed.items()}
            others = {column.name: column.type for guest in made.values() for column in guest.columns}
            known = {**others, **{here: others[there] for here, there in names.items() if there in others}}
            return on_server(side, self._scratch / name, stack, known)
        if side.path is not None:
            one_file = side.path.resolve() in (guest.side.path and guest.side.path.resolve() for guest in made.values())
            return in_duckdb(self.engine, side, "left_db" if one_file or name == "left" else "right_db")
        if side.is_text:
            return text_file(self.engine, side, name, self._scratch / "text", self._wanted.dialect)
        names = self._wanted.renamed if name == "right" else {}
        folder = self._scratch / f"{name}_parquet"
        return parquet(self.engine, side, folder, lambda column: self._wanted.ignores(names.get(column, column)))

    def _met(self, guests: tuple[Guest, Guest], again: Look | None) -> Look:
        wanted = self._wanted
        sides = [LinedUp.of(guests[0], "left", {}), LinedUp.of(guests[1], "right", wanted.renamed)]
        casts = known_casts(self.engine, wanted.casts, sides)
        forms = shared_forms(sides, casts)
        if again is not None:
            buckets, parts = again.buckets, len(again.parts)
        else:
            buckets, travelling = self._bucketed(guests, forms)
            parts = max(1, -(-travelling // _PART))
        bucketed = self._bucketed_sides(guests, forms, buckets.of if buckets is not None else how_many(parts * _PART))
        if bucketed is None:
            parts = 1
        selects = []
        for i, (guest, side) in enumerate(zip(guests, sides, strict=True)):
            within = bucketed[i].within(buckets.different) if bucketed is not None and buckets is not None else None
            read = guest.selects(within, bucketed[i].bucket if bucketed is not None else "0", parts)
            selects.append([self._kept(side, select, forms, part) for part, select in enumerate(read)])
        left, right = (columns_after(side, forms) for side in sides)
        bases = {column.name: column.base for column in [*left, *right]} | {n: c.base for n, c in forms.items()}
        texts = tuple(side for side in sides if side.text is not None)
        return Look(list(zip(*selects, strict=True)), left, right, buckets, bases=bases, texts=texts, forms=forms)

    def _kept(self, side: LinedUp, select: str, forms: dict[str, Cast], part: int) -> str:
        """A side's SELECT; of values in forms, which take time to write, that of a table that holds them."""
        lined = self._lined_up(side, select, forms)
        if not forms and side.text is None:
            return lined
        table = f"{side.lined_up}_{part}" if part else side.lined_up
        self.engine.execute(f"create or replace table {table} as {lined}")
        return f"select {', '.join(quote(side.name(column)) for column in side.columns)} from {table}"

    def _lined_up(self, side: LinedUp, select: str, forms: dict[str, Cast]) -> str:
        lined = lined_up(side, select, forms, self._wanted.where, places=side.text is not None)
        if self._wanted.where is not None:
            try:
                self.engine.query_columns(lined)
            except EvaluationFailed as error:
                texts = "; a column of a csv or json file is text, unless --cast COL=TYPE names its type"
                raise NotComparable(f"--where: {error}{texts if side.text is not None else ''}") from error
        return lined

    def _bucketed(self, guests: tuple[Guest, Guest], forms: dict[str, Cast]) -> tuple[Buckets | None, int]:
        """The buckets that differ, None if all rows are to be compared; and about how many rows per side that are."""
        rows = max(guest.estimate() for guest in guests)
        sides = self._bucketed_sides(guests, forms, how_many(rows))
        if self._wanted.where is not None or sides is None or rows < _WORTH_BUCKETS:
            return None, rows
        with ThreadPoolExecutor(2) as pool:
            left, right = pool.map(BucketedSide.sums, sides)
        different = unequal(left, right)
        inside = [sum(sums[bucket].rows for bucket in different if bucket in sums) for sums in (left, right)]
        whole = [_count(sums) for sums in (left, right)]
        if max(inside) > _TOO_MANY * rows:
            return None, max(whole)
        equal = [count - part for count, part in zip(whole, inside, strict=True)]
        return Buckets(different, sides[0].buckets, *equal), max(inside)

    def _bucketed_sides(
        self, guests: tuple[Guest, Guest], forms: dict[str, Cast], buckets: int
    ) -> tuple[BucketedSide, BucketedSide] | None:
        """Both sides for checksums, with every column that will be compared; None if keys have no common bucket."""
        key = self._wanted.key
        if not key or not any(guest.folder for guest in guests) or any(guest.text for guest in guests):
            return None
        left = {column.name: column for column in guests[0].columns}
        renamed = self._wanted.renamed
        right = {renamed.get(column.name, column.name): column for column in guests[1].columns}
        shared = [
            name
            for name in left
            if name in right and (name in forms or same_type(left[name], right[name], widths_matter=False))
        ]
        if not set(key) <= set(shared) or set(key) & set(forms):
            return None  # the comparison itself says why
        kinds = {(guest.engine.kind, guest.engine.version()) for guest in guests}
        native = len(kinds) == 1 and guests[0].engine.kind == "postgres"
        made = []
        for guest, names in zip(guests, (left, right), strict=True):
            own = {column.name: column for column in guest.own}
            keys = [own[names[name].name] for name in key]
            columns = [own[names[name].name] for name in shared if name not in key]
            made.append(BucketedSide(guest.engine, guest.source, keys, columns, buckets, native))
        return made[0], made[1]


def _count(sums: dict[int, Sum]) -> int:
    return sum(total.rows for total in sums.values())


def _order(side: Side) -> int:
    """Postgres knows its types; a lake's times take the other side's; files of text have none."""
    if side.is_text:
        return 2
    return 0 if side.kind in ("postgres", "duckdb", "file") else 1


__all__ = ["Buckets", "Look", "Meeting", "Wanted"]
