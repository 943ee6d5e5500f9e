"""What the rest of reconcile asks of a database: describe, read in one snapshot, write in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from reconcile.engines.build_session import BuildSession, Settings
from reconcile.engines.volatility import RunValue


@dataclass(frozen=True)
class Column:
    """A column of a table or query: ``type`` as the engine spells it, ``base`` without length or scale.

    ``generated``: the database computes it (a stored or virtual column), so it cannot be written.
    ``compared`` is a template of what its values are compared by (``{}`` is the value): equal exactly if the bytes are.
    ``matched`` is the same for values of a key: as far as possible, what an index of the column is sorted by.
    """

    name: str
    type: str
    base: str
    nullable: bool = True
    generated: bool = False
    identity_always: bool = False
    collation: str | None = None  # quoted; None for types without one, and on engines that have only one order
    either_clock: bool = False  # a time in UTC that matches one with a zone and one without
    compared: str = "{}"
    matched: str = "{}"
    rounded: bool = False  # its text has fewer digits than the value under some setting of the session

    @property
    def unbounded(self) -> str:
        """The type without a length or precision, so that a cast to it shortens no value.

        An SQL name without a length may be a length of 1: ``character`` is ``character(1)`` and ``bit`` is ``bit(1)``.
        """
        element, array = (self.base[1:], "[]") if self.base.startswith("_") else (self.base, "")
        return f"{_UNBOUNDED[element]}{array}" if element in _UNBOUNDED else self.type


# Postgres types that take a length or precision (pg_type.typname), each as the type that holds any value of it
_UNBOUNDED = {
    "bpchar": "bpchar",
    "varchar": "varchar",
    "bit": "bit varying",
    "varbit": "bit varying",
    "numeric": "numeric",
    "time": "time",
    "timetz": "timetz",
    "timestamp": "timestamp",
    "timestamptz": "timestamptz",
    "interval": "interval",
}


@dataclass(frozen=True)
class Moment:
    """A moment in a database's life: ``at`` as ISO 8601, ``xid`` where it counts its transactions.

    Every transaction below ``xid`` had ended by then.
    """

    at: str
    xid: int | None = None


@dataclass(frozen=True)
class RowCounts:
    """How many rows of a table a transaction has written so far, by itself or by its triggers and cascades."""

    inserted: int
    updated: int
    deleted: int

    @property
    def made(self) -> int:
        """Versions of rows that were written."""
        return self.inserted + self.updated

    @property
    def ended(self) -> int:
        """Versions of rows that were replaced or deleted."""
        return self.updated + self.deleted


@dataclass(frozen=True)
class Reference:
    """A foreign key of the table ``child``, and what it does to the child's rows when the row they refer to is deleted.

    ``action`` is delete, set null or set default; None if it only acts on an update of ``referenced``.
    """

    child: str
    columns: tuple[str, ...]
    referenced: tuple[str, ...]
    action: str | None


@dataclass(frozen=True)
class Estimate:
    """What a planner expects of a statement: its cost in the planner's own unit, the rows of its full join, each of
    ``width`` bytes, and how many rows it reads."""

    cost: float
    rows: int
    width: int
    scanned: int


class Engine(Protocol):
    """One connection to one database. Identifiers are quoted by us, values travel as parameters ($1, $2, ...)."""

    kind: str
    dialect: str  # its SQL, as sqlglot names it
    row_id: tuple[str, ...]  # the hidden columns that name one stored row
    whole_row: str  # a row as one value, by the name of the table that it is of: "{}" where that name alone is
    row_lock: str  # what a SELECT from a table ``t`` ends with to lock its rows until the transaction ends
    pinned_settings: dict[str, str]  # what ``pinned`` sets
    skip_conflicts: str  # what an INSERT ends with to leave out rows whose unique values exist already
    functions: str  # prefix of the engine's own functions, so that none of the user's is called in their place
    equal: str  # the engine's own operator = for the same reason
    tells_instants: bool  # whether a value of its clock can be replaced by what the clock showed at another time
    ages_at_midnight: bool  # whether age(x) is the age at midnight of the session's day

    @staticmethod
    def address(credentials: Any) -> str:
        """Where the database of these credentials of a dbt profile is, without user or password."""

    def spelled(self, sql: str) -> str:
        """A definition in the engine's own dialect, also where we have put something around the model's SQL."""

    def shown(self, sql: str) -> str:
        """A statement of ours as it may be typed there: in the engine's own dialect, with nothing given by name."""

    def given(self, sql: str) -> str:
        """A SELECT in the engine's own dialect (a definition) as our statements may hold it."""

    def table_columns(self, relation_name: str) -> list[Column] | None:
        """The columns of a table or view, in order; None where it does not exist."""

    def query_columns(self, sql: str) -> list[Column]:
        """The columns that a SELECT yields, without running it."""

    def has_unique_index(self, relation_name: str, columns: Sequence[str]) -> bool:
        """Whether the database itself keeps these columns unique and not NULL."""

    def unique_keys(self, relation_name: str) -> list[tuple[str, ...]]:
        """The columns of each unique index without a NULL, the shortest first; none where the engine keeps none."""

    def comparable(self, expression: str, column: Column) -> str:
        """An expression of a value of this column that is equal exactly if the bytes of the value are."""

    def packed(self, expression: str, column: Column) -> str:
        """A text that two values of this column share just where ``comparable`` calls them equal."""

    def as_text(self, expression: str) -> str:
        """An expression that prints a value without losing a digit."""

    def common_text(self, expression: str, column: Column) -> str:
        """``as_text`` of a value of this column, where it can be as other engines print the same value."""

    def hex_number(self, digest: str, digits: int) -> str:
        """An expression: the first so many (8 or 15) hexadecimal digits of a text as a whole number."""

    def literal(self, value: str | None) -> str:
        """A text as SQL has it, whatever it holds; null for None."""

    def typed(self, expression: str, column: Column) -> str:
        """An expression (of texts as ``as_text`` prints them, too) as a value of this column.

        Raises Refused for a type whose values a text does not bring back.
        """

    def json_of(self, texts: Sequence[tuple[str, str]]) -> str:
        """An expression: JSON text of these names, each with the text that its expression yields."""

    def json_field(self, expression: str, name: str) -> str:
        """An expression: the text that a JSON text (or NULL) holds under a name."""

    def volatile_call(self, sql: str, columns: Sequence[str], ignored: frozenset[str]) -> str | None:
        """A value that differs at every evaluation and that these columns of ``sql`` depend on; None without one.

        No columns: what its rows depend on. ``ignored``: the other columns, for an engine whose plans do not tell.
        """

    def run_values(self, sql: str) -> list[RunValue]:
        """The parts of ``sql`` that the clock, chance or a run of dbt decides alone, in order: no table is read."""

    def plan(self, sql: str) -> Estimate | None:
        """What the planner expects of a statement, without running it; None where the engine does not say."""

    def prefer_merge(self, sql: str) -> None:
        """For the rest of the snapshot, join by merging where both sides of this statement come sorted by an index."""

    def histogram(self, relation_name: str, column: Column) -> list[str]:
        """Values that cut a column into parts of about the same size, in its own order; none without statistics."""

    def progress(self) -> float | None:
        """How much of the running statement is done, from 0 to 1, asked by another thread; None: it does not say."""

    def losses(self) -> list[str]:
        """What was lost of those who work for the engine since it was last asked, in words; none if it cannot tell."""

    def cancel(self) -> None:
        """Stop the running statement from another thread: it fails, and its transaction is rolled back."""

    def xid(self) -> int | None:
        """The oldest transaction that may still run; None where the engine does not number them."""

    def server(self) -> str | None:
        """Which server numbers the transactions; None where none does."""

    def snapshot_name(self) -> str:
        """The snapshot of this transaction, as text that tells later which transactions it saw; '' where none does."""

    def before(self, moment: Moment, relation_name: str, loaded_at: str | None) -> str | None:
        """A predicate on a source's rows: written before that moment. None where nothing tells."""

    def writer(self, relation_name: str) -> str | None:
        """An expression over a table's rows: the transaction that wrote each; None where nothing tells."""

    def has_index(self, relation_name: str, columns: Sequence[str]) -> bool | None:
        """Whether an index begins with these columns in any order; None where the engine needs none."""

    def about(self) -> str:
        """The database and the role, in words."""

    def role(self) -> str:
        """The name under which rights are granted to this session."""

    def version(self) -> int:
        """The major version: within one, values print and hash equally."""

    def may_read(self, relation_name: str) -> bool:
        """Whether the role may select from a table that exists."""

    def may_journal(self) -> bool:
        """Whether the role may keep the repair journal."""

    def analyzed(self, relation_name: str) -> bool | None:
        """Whether the planner knows the table's size; None where the engine keeps no statistics of it."""

    def has_schema(self, name: str) -> bool:
        """Whether there is a schema of that name."""

    def make_schema(self, name: str) -> None:
        """Make a schema where there is none of that name."""

    def snapshot(self) -> AbstractContextManager[None]:
        """A read-only transaction in which every statement sees one state of the database."""

    def transaction(self) -> AbstractContextManager[None]:
        """A transaction that is committed at its end, or rolled back whole."""

    def one(self, sql: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...]:
        """The one row of a statement."""

    def stream(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of a statement, fetched in batches: memory stays flat."""

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a statement that is known to yield few: unlike a cursor, Postgres may plan it in parallel."""

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run a statement; the number of rows it wrote, -1 where the engine does not say."""

    def load(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Add rows to a table, fast. Memory stays flat."""

    def built_as(self, session: BuildSession) -> AbstractContextManager[None]:
        """Evaluate definitions under the settings and with the temporary functions of dbt's build of a model.

        To be entered outside transactions; the session is as before afterwards. Raises NotSetUp where that cannot be.
        """

    def set_instead(self, settings: Settings) -> AbstractContextManager[None]:
        """Inside ``built_as`` and a transaction: these settings hold, and not those of the build."""

    def pinned(self) -> AbstractContextManager[None]:
        """Convert between values and texts under settings of ours, whatever database, role and profile say.

        To be entered inside a transaction; the session's own settings are back afterwards.
        """

    def pinning_sql(self) -> list[str]:
        """The statements by which a script pins the settings, after its ``begin``."""

    def table_rules(self, relation_name: str) -> list[tuple[str, str]]:
        """What decides how rows of a table are written beside its columns' types, each with its definition.

        Triggers, rules, policies, constraints, and the foreign keys that refer to the table.
        """

    def rewriters(self, relation_name: str) -> list[tuple[str, str]]:
        """What may make a table hold other rows than were written to it, each as its kind and its name.

        Enabled triggers of users on inserts, updates and deletes, rewrite rules, foreign keys of the table with an
        action (``on delete cascade``), and child tables that inherit.
        """

    def lock_table(self, relation_name: str) -> None:
        """Keep a table's columns and triggers as they are until the transaction ends; its rows can still be written."""

    def row_counts(self, relation_name: str) -> RowCounts | None:
        """What this transaction has written to a table and its partitions; None if the engine does not count that."""

    def unique_sets(self, relation_name: str) -> list[tuple[str, ...]]:
        """Columns that an update of many rows must keep unique after each row; none where it is looked at the end."""

    def bound_to(self, relation_name: str) -> list[str]:
        """Foreign keys and triggers that depend on the table's rows, as messages."""

    def references(self, relation_name: str) -> list[Reference]:
        """The foreign keys that refer to a table and change rows themselves; children as ``same_table`` names them."""

    def parents(self, relation_name: str) -> list[str]:
        """The tables that a table's foreign keys refer to, as ``same_table`` takes them."""

    def same_table(self, relation_name: str) -> str:
        """One name for a table, however it was spelled."""

    def lacking(self, relation_name: str, actions: Iterable[str]) -> list[str]:
        """Which of insert, update and delete the role may not do to a table."""

    def repair_lock(self) -> AbstractContextManager[None]:
        """Hold the one lock of all repairs of this database. Raises Refused where another keeps it for seconds."""

    def close(self) -> None: ...


@runtime_checkable
class CopiesOut(Protocol):
    """An engine whose rows can travel as a file."""

    def copy_out(
        self, table: str, columns: Sequence[Column], files: Sequence[Path], part: str, where: str | None = None
    ) -> int:
        """Stream a table's rows into CSV files without a header: NULL is nothing, an empty text is "".

        ``part`` is an expression that tells the number of the file for each row. Returns the longest row's bytes.
        Memory stays flat.
        """


@runtime_checkable
class CommitsStatements(Protocol):
    """An engine without transactions over several statements: each is a separate commit, and no table is temporary.

    A repair keeps its plan in our own tables and writes each of the user's tables with one MERGE.
    """

    def store(self, sql: str) -> str:
        """A new table in our schema that holds what a SELECT yields; its name."""
