"""DuckDB: one file, one process."""

from __future__ import annotations

import json
import logging
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

import duckdb
from duckdb.func import PythonUDFType

from reconcile.engines.base import Column, Moment
from reconcile.engines.build_session import BuildSession, Settings, setting_statements
from reconcile.engines.defaults import OwnDialect, PlainEngine
from reconcile.engines.identifiers import quote
from reconcile.engines.volatility import (
    RunValue,
    called_names,
    clock_literals,
    run_values,
    sampled,
    with_stand_ins,
    words,
)
from reconcile.errors import ConnectionFailed, EvaluationFailed, NotSetUp

T = TypeVar("T")
log = logging.getLogger("reconcile")
_NESTED = re.compile(r"\[\d*\]$|^(STRUCT|MAP|UNION)\(")
_BATCH = 2_000
_LOADED_AT_ONCE = 200
_FIRST = 1_000_003  # of the numbers that mark run values in a plan; random() is always below it
_PLANNING = threading.Lock()  # the setting below is one for all connections of a file
# with these a plan may be one that DuckDB cannot print, or one in which it has folded our condition
_NOT_FOR_PLANS = (
    "top_n_window_elimination,statistics_propagation,join_order,compressed_materialization,late_materialization,"
    "common_subexpressions,common_subplan,window_self_join"
)
_CREATES = re.compile(
    r"create\s+(?:or\s+replace\s+)?\w+\s+(?:macro|function)\s+(?:if\s+not\s+exists\s+)?(?P<name>\w+|\"[^\"]+\")",
    re.IGNORECASE,
)
_PROGRESS = {"enable_progress_bar": True, "enable_progress_bar_print": False}

# Functions that the catalog does not call consistent, without a body, and the macros and views of users, with theirs.
# error() is called volatile so that it is not folded; it has no value that could vary.
_WHAT_MAY_VARY = """
    select function_name, null from duckdb_functions()
    where stability <> 'CONSISTENT' and function_name <> 'error' and list_contains($1, function_name)
    union
    select function_name, macro_definition from duckdb_functions()
    where not internal and macro_definition is not null and list_contains($1, lower(function_name))
    union
    select view_name, sql from duckdb_views() where not internal and list_contains($1, lower(view_name))
"""


class DuckDBEngine(OwnDialect, PlainEngine):
    """One connection to a database file (or ``:memory:``)."""

    kind = dialect = "duckdb"
    row_id: tuple[str, ...] = ("rowid",)
    whole_row = "{}"
    pinned_settings: dict[str, str] = {"TimeZone": "UTC"}  # noqa: RUF012
    tells_instants = True

    def __init__(self, path: str, settings: dict[str, Any] | None = None, must_exist: bool = True) -> None:
        if must_exist and path != ":memory:" and not Path(path).exists():
            raise ConnectionFailed(f"no DuckDB file {path}: run dbt build first, or correct the profile's path")
        try:
            self._connection = duckdb.connect(path)
        except duckdb.Error as error:
            raise ConnectionFailed(f"cannot open the DuckDB file {path}: {_said(error)}") from error
        # progress is reckoned only for a bar, which need not be printed
        for name, value in {**(settings or {}), **_PROGRESS}.items():
            self._connection.execute(f"set {quote(name)} = {_literal(str(value))}")
        self._defined: list[str] = []
        self._built_as = BuildSession()
        self._before_build: Settings = ()  # the values of its settings in this session

    @classmethod
    def from_dbt(cls, credentials: Any, lock_timeout: float = 0.0) -> DuckDBEngine:
        return cls(credentials.path, settings=credentials.settings)

    @staticmethod
    def address(credentials: Any) -> str:
        return str(Path(credentials.path).resolve())

    def table_columns(self, relation_name: str) -> list[Column] | None:
        try:
            rows = self._connection.execute(f"describe {relation_name}").fetchall()
        except duckdb.CatalogException:
            return None
        except duckdb.Error as error:
            raise EvaluationFailed(_said(error)) from error
        return [_column(row) for row in rows]

    def query_columns(self, sql: str) -> list[Column]:
        return [_column(row) for row in self._run(f"describe select * from (\n{sql}\n) as described").fetchall()]

    def comparable(self, expression: str, column: Column) -> str:
        return column.compared.replace("{}", expression)

    def packed(self, expression: str, column: Column) -> str:
        return self.as_text(f"{expression} + 0" if column.base in ("FLOAT", "DOUBLE") else expression)

    def as_text(self, expression: str) -> str:
        return f"cast({expression} as varchar)"

    def common_text(self, expression: str, column: Column) -> str:
        text = self.as_text(expression)
        if column.base in ("DOUBLE", "FLOAT"):
            return f"regexp_replace({text}, '\\.0$', '')"  # Postgres prints 1, DuckDB 1.0
        return text

    def hex_number(self, digest: str, digits: int) -> str:
        return f"cast('0x' || substr({digest}, 1, {digits}) as bigint)"

    def literal(self, value: str | None) -> str:
        return "null" if value is None else _literal(value)

    def typed(self, expression: str, column: Column) -> str:
        return f"cast({expression} as {column.unbounded})"

    def json_of(self, texts: Sequence[tuple[str, str]]) -> str:
        return f"cast(json_object({', '.join(f'{_literal(name)}, {text}' for name, text in texts)}) as varchar)"

    def json_field(self, expression: str, name: str) -> str:
        pointer = "/" + name.replace("~", "~0").replace("/", "~1")  # RFC 6901
        return f"json_extract_string({expression}, {_literal(pointer)})"

    def volatile_call(self, sql: str, columns: Sequence[str], ignored: frozenset[str]) -> str | None:
        if (hidden := sampled(sql) or self._hidden_call(sql)) is not None:
            return hidden
        values = self.run_values(sql)
        if not values:
            return None
        # DuckDB folds now() before it plans. A condition that it cannot fold stays in the plan, with the number that
        # tells which value it belongs to, unless no column that is asked for needs it.
        replaced = with_stand_ins(
            sql, values, lambda i, value: f"(case when random() < {_FIRST + i} then {sql[value.start : value.end]} end)"
        )
        listed = ", ".join(map(quote, columns)) or "count(*)"
        plan = self._logical_plan(f"select {listed} from (\n{replaced}\n) as asked")
        if plan is None:
            return values[0].name
        needed = (value.name for i, value in enumerate(values) if f'"value":{_FIRST + i}.0' in plan)
        return next(needed, None if '"random"' not in plan else values[0].name)

    def _logical_plan(self, sql: str) -> str | None:
        """The optimized plan of a SELECT, with every expression, as JSON; None if DuckDB cannot tell it."""
        # a separate connection: after a failure DuckDB ends the transaction of this one
        with closing(self._connection.cursor()) as apart, _PLANNING:
            [before] = apart.execute("select current_setting('disabled_optimizers')").fetchall()[0]
            try:
                for statement in self._built_as.statements():
                    apart.execute(statement)
                apart.execute(f"set disabled_optimizers = '{_NOT_FOR_PLANS}'")
                plan = apart.execute("select json_serialize_plan($1, optimize := true)", [sql]).fetchall()[0][0]
            except duckdb.Error as error:
                log.info("the plan of a definition is not known: %s", error)
                return None
            finally:
                apart.execute(f"set disabled_optimizers = {_literal(str(before))}")
        return plan if json.loads(plan).get("error") is False else None

    def run_values(self, sql: str) -> list[RunValue]:
        found = self.rows(_WHAT_MAY_VARY, [sorted(called_names(sql))])
        volatile = {name for name, body in found if body is None}
        macros = {name.lower() for name, body in found if body is not None}  # what these call is looked at by itself
        return [
            value
            for value in run_values(sql, volatile)
            if value.function not in macros and not clock_literals(sql[value.start : value.end])  # it knows no 'today'
        ]

    def _hidden_call(self, sql: str) -> str | None:
        """A call that may vary between evaluations, of a view or macro that ``sql`` reaches."""
        pending, seen = called_names(sql) | words(sql), set[str]()
        while pending:
            found = self.rows(_WHAT_MAY_VARY, [sorted(pending)])
            seen |= pending
            pending = set()
            for name, body in found:
                if body is None:
                    continue
                varying = self.run_values(body)
                if varying:
                    return f"{varying[0].name} in {name}"
                pending |= (called_names(body) | words(body)) - seen
        return None

    def progress(self) -> float | None:
        done = self._connection.query_progress()
        return done / 100 if done >= 0 else None

    def cancel(self) -> None:
        self._connection.interrupt()

    def before(self, moment: Moment, relation_name: str, loaded_at: str | None) -> str | None:
        return f"({loaded_at}) <= timestamp with time zone '{moment.at}'" if loaded_at else None

    def about(self) -> str:
        return f"DuckDB {duckdb.__version__}"

    def role(self) -> str:
        return "main"  # a file has no roles: whoever opens it may do everything

    def version(self) -> int:
        return int(duckdb.__version__.split(".")[0])

    def may_journal(self) -> bool:
        return True

    def has_schema(self, name: str) -> bool:
        return bool(self.rows("select 1 from pg_catalog.pg_namespace where nspname = $1", [name]))

    def make_schema(self, name: str) -> None:
        self.execute(f"create schema if not exists {name}")

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        with self.transaction():
            yield

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._run("begin")
        try:
            yield
            self._run("commit")
        except BaseException:
            with suppress(duckdb.Error):  # a failed commit has rolled back already
                self._connection.execute("rollback")
            raise

    @contextmanager
    def built_as(self, session: BuildSession) -> Iterator[None]:
        if not session:
            yield
            return
        for function in session.functions:
            self._refuse_own_functions_name(function)
        self._before_build = self._values_of(session.names)
        try:
            for statement in session.statements():
                self._run(statement)
            self._built_as = session
            yield
        finally:  # also after a failure inside a transaction, which has been rolled back here
            self._built_as = BuildSession()
            for statement in setting_statements(self._before_build):
                self._connection.execute(statement)
            for name, kind in self._temporary_macros().items():
                self._connection.execute(f"drop {kind} temp.main.{quote(name)}")

    def _values_of(self, names: Iterable[str]) -> Settings:
        return tuple((name, _literal(str(self.one(f"select current_setting('{name}')")[0]))) for name in names)

    def _temporary_macros(self) -> dict[str, str]:
        """The macros of this session alone, each with its kind as ``drop`` names it."""
        kinds = {"macro": "macro", "table_macro": "macro table"}
        query = "select function_name, function_type from duckdb_functions() where database_name = 'temp'"
        return {name: kinds[kind] for name, kind in self._connection.execute(query).fetchall() if kind in kinds}

    def _refuse_own_functions_name(self, function: str) -> None:
        name = _created(function)
        if self.rows("select 1 from duckdb_functions() where internal and lower(function_name) = $1", [name]):
            raise NotSetUp(f"its sql_header replaces DuckDB's own function {name}, which a check itself may call")

    @contextmanager
    def set_instead(self, settings: Settings) -> Iterator[None]:
        others = self._values_of(name for name, _ in settings if name not in self._built_as.names)
        for statement in setting_statements((*self._before_build, *settings)):
            self._run(statement)
        try:
            yield
        finally:
            for statement in setting_statements((*others, *self._built_as.settings)):
                self._connection.execute(statement)

    @contextmanager
    def pinned(self) -> Iterator[None]:
        zone = self.one("select current_setting('TimeZone')")[0]
        self._run("set TimeZone = 'UTC'")
        try:
            yield
        finally:
            with suppress(duckdb.Error):  # a failed transaction refuses statements until it is rolled back
                self._connection.execute(f"set TimeZone = {_literal(str(zone))}")

    def one(self, sql: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...]:
        [row] = self.rows(sql, parameters)
        return row

    def stream(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        cursor = self._run(sql, parameters)
        while rows := _interruptible(partial(cursor.fetchmany, _BATCH)):
            yield from rows

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return _interruptible(self._run(sql, parameters).fetchall)

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        rows = self._run(sql, parameters).fetchall()
        return rows[0][0] if rows and isinstance(rows[0][0], int) else -1

    def load(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        place = f"({', '.join('?' * len(columns))})"
        remaining = iter(rows)
        while batch := list(islice(remaining, _LOADED_AT_ONCE)):
            places = ", ".join([place] * len(batch))
            self._run(f"insert into {table} ({', '.join(columns)}) values {places}", list(chain(*batch)))

    def append(self, table: str, columns: Sequence[Sequence[Any]]) -> None:
        """Add rows to a table, given by column, in its order; with pyarrow, fifty times as fast as ``load``."""
        import pyarrow  # type: ignore[import-untyped]

        self._connection.register(
            "appended", pyarrow.table(list(columns), names=[f"c{i}" for i in range(len(columns))])
        )
        self.execute(f"insert into {table} select * from appended")
        self._connection.unregister("appended")

    def define(self, name: str, function: Callable[[str], str]) -> None:
        """Define a function of one text, which yields a text; NULL for NULL."""
        self._connection.create_function(name, function, ["VARCHAR"], "VARCHAR", type=PythonUDFType.NATIVE)
        self._defined.append(name)

    @contextmanager
    def repair_lock(self) -> Iterator[None]:
        yield  # DuckDB itself lets one process in

    def close(self) -> None:
        for name in self._defined:  # one that is still defined at exit makes DuckDB print its leaks
            self._connection.remove_function(name)
        self._connection.close()

    def _run(self, sql: str, parameters: Sequence[Any] = ()) -> duckdb.DuckDBPyConnection:
        try:
            return _interruptible(partial(self._connection.execute, sql, list(parameters) or None))
        except duckdb.Error as error:
            raise EvaluationFailed(_said(error)) from error


def _interruptible(call: Callable[[], T]) -> T:
    """Ctrl-C as Python has it: while a statement runs, DuckDB makes it a RuntimeError."""
    try:
        return call()
    except RuntimeError as error:
        if "Query interrupted" in str(error):
            raise KeyboardInterrupt from error
        raise


def _column(row: tuple[Any, ...]) -> Column:
    name, spelled, nullable = row[0], row[1], row[2]
    form = _compared(spelled)
    return Column(name, spelled, spelled.split("(")[0], nullable == "YES", compared=form, matched=form)


def _compared(spelled: str) -> str:
    """What values of a type are compared by. DuckDB does not say which collation a column has (``collate nocase``)."""
    if spelled == "VARCHAR":
        return '{} collate "binary"'
    if spelled == "JSON":
        return 'cast({} as varchar) collate "binary"'
    if "INTERVAL" in spelled and not _NESTED.search(spelled):
        return "cast({} as varchar)"  # one month and 30 days are equal intervals, and not the same value
    if _NESTED.search(spelled) and re.search("INTERVAL|VARCHAR|JSON", spelled):
        # a value inside is compared as = has it, too: by the text as well
        return "case when {} is not null then struct_pack(value := {}, text := encode(cast({} as varchar))) end"
    return "{}"


def _created(statement: str) -> str:
    """The name of the macro that a statement creates, in lower case."""
    match = _CREATES.match(statement)
    if match is None:
        raise NotSetUp(f"which macro its sql_header creates is not known ({statement[:60]})")
    return match["name"].strip('"').lower()


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _said(error: duckdb.Error) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0][:400] if lines else type(error).__name__
