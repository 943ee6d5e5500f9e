"""Spark, reached through Spark Connect: the Delta tables of a lake, behind Spark itself or Sail.

Our statements are written as Postgres has them and translated; what they compare is Spark's own SQL, and stands in them
as temporary views. Sail reads a view's tables at the versions that they had when it was made, so that all statements
over one pair of views see one state. Spark itself reads them at the versions of each statement: a level verdict is one
statement there too, but what differs is read by a second one.
"""

from __future__ import annotations

import re
import socket
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, NoReturn
from urllib.parse import urlsplit

import sqlglot
from sqlglot import exp
from sqlglot.dialects import Postgres, Spark

from reconcile.definition import outside_literals, quote, why_volatile_beside
from reconcile.engines.base import Column, Moment
from reconcile.engines.plain import PlainEngine
from reconcile.errors import ConnectionFailed, EvaluationFailed, ProjectError

_INTEGERS = {"tinyint": "TINYINT", "smallint": "SMALLINT", "int": "INTEGER", "bigint": "BIGINT"}
_BASES = {
    **_INTEGERS,
    "string": "VARCHAR",
    "float": "FLOAT",
    "double": "DOUBLE",
    "boolean": "BOOLEAN",
    "date": "DATE",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
    "timestamp_ntz": "TIMESTAMP",
    "decimal": "DECIMAL",
}
_NO_ORDER = ("map", "variant", "interval")  # types whose values Spark does not compare, or not as they are written
_PARAMETER = "spark.remote"
_PORT = 15002
# what servers say that users cannot make sense of
_HINTS = {
    "unsupported PySpark version": "its server refuses newer clients: pip install 'pyspark-client<4.3'",
    "is not running": "that session has ended: restart the server, or name another session_id",
}
_ANSWERS_WITHIN = 5.0  # seconds


class _Written(Postgres):
    """How our statements are spelled: as on Postgres, with the names of tables as dbt spells them for Spark."""

    class Tokenizer(Postgres.Tokenizer):
        IDENTIFIERS: ClassVar = ['"', "`"]


class NestingSpark(Spark):
    """Spark's SQL with CTEs where they stand: sqlglot takes all to the top, where two of one name would meet."""

    class Generator(Spark.Generator):
        EXPRESSIONS_WITHOUT_NESTED_CTES: ClassVar[set[type[exp.Expr]]] = set()


def connect(remote: str) -> Any:
    """A session at a Spark Connect server, the process's own where it has one there already.

    Raises ProjectError without the client, ConnectionFailed where the server cannot be reached or refuses our client.
    """
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise ProjectError(f"Spark's client is not installed ({error}): pip install 'levelset[scale]'") from error
    parts = urlsplit(remote)
    session = None
    try:  # the client would try for minutes
        socket.create_connection((parts.hostname or "", parts.port or _PORT), _ANSWERS_WITHIN).close()
        session = SparkSession.builder.remote(remote).getOrCreate()
        session.sql("select 1").collect()
    except Exception as error:  # gRPC, the client and the server each have errors of their own
        if session is not None:
            with suppress(Exception):
                session.stop()  # else it stays the process's own
        said = _said(error)
        for words, hint in _HINTS.items():
            said += f"; {hint}" if words in said else ""
        raise ConnectionFailed(f"cannot reach Spark Connect at {_address(remote)}: {said}") from error
    return session


class SparkEngine(PlainEngine):
    """One session at a Spark Connect server: that of dbt in this process, whose catalog it shares."""

    kind = "spark"
    dialect = "nestingspark"
    row_id: tuple[str, ...] = ()
    whole_row = "struct({}.*)"
    why_no_repair: str | None = (
        "a repair and its journal are one transaction over several tables, which Delta does not have: "
        "run `dbt build --full-refresh -s` on what drifted"
    )

    def __init__(self, remote: str) -> None:
        self._remote = remote
        self._session = connect(remote)
        self._views: dict[str, str] = {}

    @classmethod
    def from_dbt(cls, credentials: Any) -> SparkEngine:
        remote = (credentials.server_side_parameters or {}).get(_PARAMETER)
        if str(credentials.method).rpartition(".")[2].lower() != "session" or not remote:
            raise ProjectError(
                "Spark is reached through Spark Connect: give the target `method: session` and, under "
                f"server_side_parameters, `{_PARAMETER}: sc://host:port`"
            )
        return cls(str(remote))

    def spelled(self, sql: str) -> str:
        return _as_spark_has_it(sql)

    def given(self, sql: str) -> str:
        if sql not in self._views:
            name = f"reconcile_{uuid.uuid4().hex}"
            self._raw(f"create or replace temporary view {name} as\n{self.spelled(sql)}")
            self._views[sql] = name
        return f"select * from {self._views[sql]}"

    def table_columns(self, relation_name: str) -> list[Column] | None:
        try:
            return [_column(field) for field in self._session.table(relation_name).schema.fields]
        except Exception as error:  # noqa: BLE001
            if _is_missing(error):
                return None
            self._fail(error)

    def query_columns(self, sql: str) -> list[Column]:
        try:
            return [_column(field) for field in self._session.sql(self.spelled(sql)).schema.fields]
        except Exception as error:  # noqa: BLE001
            self._fail(error)

    def comparable(self, expression: str, column: Column) -> str:
        return self.as_text(expression) if column.type.startswith(_NO_ORDER) else expression

    def packed(self, expression: str, column: Column) -> str:
        return self.as_text(f"{expression} + 0" if column.base in ("FLOAT", "DOUBLE") else expression)

    def as_text(self, expression: str) -> str:
        return f"cast({expression} as varchar)"

    def common_text(self, expression: str, column: Column) -> str:
        text = self.as_text(expression)
        return f"regexp_replace({text}, '[.]0$', '')" if column.base in ("DOUBLE", "FLOAT") else text

    def hex_number(self, digest: str, digits: int) -> str:
        return f"cast(conv(substr({digest}, 1, {digits}), 16, 10) as decimal(20, 0))"  # sums of bigints overflow

    def literal(self, value: str | None) -> str:
        return "null" if value is None else "'" + value.replace("'", "''") + "'"

    def json_of(self, texts: Sequence[tuple[str, str]]) -> str:
        raise NotImplementedError

    def json_field(self, expression: str, name: str) -> str:
        raise NotImplementedError

    def volatile_call(self, sql: str, columns: Sequence[str], ignored: frozenset[str]) -> str | None:
        return why_volatile_beside(sql, ignored)

    def progress(self) -> float | None:
        return None

    def cancel(self) -> None:
        with suppress(Exception):  # nothing runs, or the server does not know how
            self._session.interruptAll()

    def before(self, moment: Moment, relation_name: str, loaded_at: str | None) -> str | None:
        return f"({loaded_at}) <= timestamp '{moment.at}'" if loaded_at else None

    def about(self) -> str:
        return f"Spark Connect {self._session.version} at {_address(self._remote)}"

    def role(self) -> str:
        return "the session's user"

    def version(self) -> int:
        return int(self._session.version.split(".")[0])

    def may_journal(self) -> bool:
        return False

    def has_schema(self, name: str) -> bool:
        return bool(self._session.catalog.databaseExists(name))

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        self._forget_views()
        try:
            yield
        finally:
            self._forget_views()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        yield  # of what we write there (verdicts), each statement is a commit of its own

    def one(self, sql: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...]:
        return self.rows(sql, parameters)[0]

    def stream(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        try:
            for row in self._session.sql(_translated(sql, tuple(parameters))).toLocalIterator():
                yield tuple(row)
        except Exception as error:  # noqa: BLE001
            self._fail(error)

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._raw(_translated(sql, tuple(parameters)))

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        try:
            self._session.sql(_translated(sql, tuple(parameters)))  # runs at once what is no query
        except Exception as error:  # noqa: BLE001
            self._fail(error)
        return -1

    def load(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        raise NotImplementedError

    def copy_out(
        self, table: str, columns: Sequence[Column], files: Sequence[Path], part: str, where: str | None = None
    ) -> int:
        """As ``CopiesOut`` says, but that the rows of one file are in memory, as Arrow, while they are written."""
        import duckdb

        listed = ", ".join(quote(column.name) for column in columns)
        longest = 0
        for number, file in enumerate(files):
            sql = f"select {listed} from {table} where {part} = {number} and {where or 'true'}"
            try:
                rows = self._session.sql(_translated(sql)).toArrow()  # noqa: F841  read by name below
            except Exception as error:  # noqa: BLE001
                self._fail(error)
            with duckdb.connect() as writer:
                writer.execute(f"set TimeZone = 'UTC'; copy rows to '{file}' (format csv, header false, nullstr '')")
            with file.open("rb") as lines:
                longest = max([longest, *map(len, lines)])
        return longest

    @contextmanager
    def repair_lock(self) -> Iterator[None]:
        yield

    def close(self) -> None:
        """Drop what we made. The session is dbt's too, and its end would be that of its catalog."""
        self._forget_views()

    def _forget_views(self) -> None:
        for name in self._views.values():
            with suppress(Exception):  # it is gone with its session
                self._session.catalog.dropTempView(name)
        self._views.clear()

    def _raw(self, sql: str) -> list[tuple[Any, ...]]:
        try:
            return [tuple(row) for row in self._session.sql(sql).collect()]
        except Exception as error:  # noqa: BLE001
            self._fail(error)

    def _fail(self, error: Exception) -> NoReturn:
        said = _said(error)
        if "UNAVAILABLE" in said or "failed to connect" in said.lower():
            raise ConnectionFailed(f"Spark Connect at {_address(self._remote)} does not answer: {said}") from error
        raise EvaluationFailed(said) from error


@lru_cache(maxsize=256)
def _translated(sql: str, parameters: tuple[Any, ...] = ()) -> str:
    """A statement of ours as Spark has it."""
    tree = sqlglot.parse_one(sql, dialect=_Written)
    for cte in tree.find_all(exp.CTE):
        cte.set("materialized", None)
    for place in list(tree.find_all(exp.Parameter)):
        place.replace(exp.convert(parameters[int(place.name) - 1]))
    # a tolerance: Sail compares a double with a decimal as decimals, and NaN is none
    for number in [n.expression for n in tree.find_all(exp.LTE) if n.expression.is_number]:
        number.replace(exp.cast(number.copy(), "double"))
    return tree.sql(NestingSpark)


def _as_spark_has_it(sql: str) -> str:
    """A definition with what was put around the model's own SQL spelled for Spark."""

    def spelled(text: str) -> str:
        text = text.replace("as not materialized (", "as (")
        return re.sub(r"\btimestamp with time zone\s*$", "timestamp ", text)

    def own_name(literal: str) -> str:
        return "`" + literal[1:-1].replace('""', '"').replace("`", "``") + "`"

    return outside_literals(sql, spelled, own_name)


def _column(field: Any) -> Column:
    kind = field.dataType.simpleString()
    plain = kind.split("(")[0]
    # a timestamp is an instant that is read off the session's clock
    return Column(field.name, kind, _BASES.get(plain, plain), field.nullable, either_clock=plain == "timestamp")


def _is_missing(error: Exception) -> bool:
    said = str(error).lower()
    return any(words in said for words in ("not found", "cannot be found", "does not exist", "not_found"))


def _said(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:400] if lines else type(error).__name__


def _address(remote: str) -> str:
    """Where that is, without a token."""
    return remote.removeprefix("sc://").split("/")[0]
