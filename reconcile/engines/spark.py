"""Spark, reached through Spark Connect: the Delta tables of a lake, behind Spark itself or Sail.

Our statements are written in Postgres' SQL and translated; the definitions that they compare are temporary views in
Spark's own SQL. Sail reads a view's tables at the versions that they had when it was made, so all statements over one
pair of views see one state. Spark itself reads them at the versions of each statement: a level verdict is one statement
there too, but what differs is read by a second one.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from reconcile.atomic_files import held
from reconcile.engines.base import Column, Moment
from reconcile.engines.defaults import PlainEngine
from reconcile.engines.identifiers import quote
from reconcile.engines.own_schema import PASSING, SCHEMA
from reconcile.engines.spark_dialect import as_spark_has_it, created, text_literal, translated
from reconcile.engines.spark_executors import Workers
from reconcile.engines.volatility import RunValue, run_values, sampled, without_stamps
from reconcile.errors import ConnectionFailed, EvaluationFailed, ProjectError, Refused

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
_ZONE = "spark.sql.session.timeZone"
_UTC = ("UTC", "Etc/UTC", "Z", "+00:00", "GMT")
_TAG = "reconcile-repair"  # of the statements of a repair
_WAITS = 5.0  # seconds for another repair to end
# types whose Spark name our statements cannot bear: they are written as Postgres has them
_WRITTEN = {"string": "varchar", "float": "real", "timestamp": "timestamp with time zone"}
_PORT = 15002
# what servers say that users cannot make sense of
_HINTS = {
    "unsupported PySpark version": (
        "Sail knows pyspark up to 4.2: pip install 'pyspark-client<4.3' where it is started, and start it again"
    ),
    "is not running": "that session has ended: restart the server, or name another session_id",
}
_ANSWERS_WITHIN = 5.0  # seconds


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
        str(session.version)  # asked first: Sail says to the first question alone that it does not know the release
        session.sql("select 1").collect()
    except Exception as error:  # gRPC, the client and the server each have separate errors
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

    def __init__(self, remote: str, schema: str = "default") -> None:
        self._remote = remote
        self._schema = schema
        self._session = connect(remote)
        self.workers = Workers(self._session, urlsplit(remote).hostname or "")
        self._views: dict[str, str] = {}

    @classmethod
    def from_dbt(cls, credentials: Any, lock_timeout: float = 0.0) -> SparkEngine:
        remote = _remote(credentials)
        if str(credentials.method).rpartition(".")[2].lower() != "session" or not remote:
            raise ProjectError(
                "Spark is reached through Spark Connect: give the target `method: session` and, under "
                f"server_side_parameters, `{_PARAMETER}: sc://host:port`"
            )
        return cls(remote, credentials.schema)

    @staticmethod
    def address(credentials: Any) -> str:
        return _address(_remote(credentials))

    def spelled(self, sql: str) -> str:
        return as_spark_has_it(sql)

    def shown(self, sql: str) -> str:
        text = translated(sql, pretty=True)
        for definition, name in self._views.items():
            text = text.replace(name, f"(\n{self.spelled(definition)}\n)")  # no other name is like it
        return text

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

    def typed(self, expression: str, column: Column) -> str:
        if column.base not in _BASES.values():
            raise Refused(
                f"its column {column.name} is of type {column.type}, which a journal of texts does not bring back: run "
                "`dbt build --full-refresh`"
            )
        return f"cast({expression} as {_WRITTEN.get(column.type, column.type)})"

    def json_of(self, texts: Sequence[tuple[str, str]]) -> str:
        # a NULL that is a struct's field would be left out, by Sail whatever the setting
        pairs = [
            f"{self.literal(json.dumps(name, ensure_ascii=False) + ': ')} || {_inside(f'to_json(array({text}))')}"
            for name, text in texts
        ]
        return "'{' || " + " || ', ' || ".join(pairs) + " || '}'"

    def json_field(self, expression: str, name: str) -> str:
        return f"try_element_at(from_json({expression}, 'map<string,string>'), {self.literal(name)})"

    def volatile_call(self, sql: str, columns: Sequence[str], ignored: frozenset[str]) -> str | None:
        if (clause := sampled(sql)) is not None:
            return clause
        return next((value.name for value in run_values(without_stamps(sql, ignored))), None)

    def run_values(self, sql: str) -> list[RunValue]:
        return run_values(sql)

    def progress(self) -> float | None:
        return None

    def losses(self) -> list[str]:
        return self.workers.lost()

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
        return True

    def has_schema(self, name: str) -> bool:
        return bool(self._session.catalog.databaseExists(name))

    def make_schema(self, name: str) -> None:
        """Beside the target's own schema: where that has a place, Sail wants one for each."""
        place = self._place_of(name)
        self._raw(f"create schema if not exists {name}" + (f" location {text_literal(place)}" if place else ""))

    def store(self, sql: str) -> str:
        name = f"{SCHEMA}.{PASSING}{uuid.uuid4().hex}"
        self.execute(f"create table {name} as {sql}")
        return name

    def _place_of(self, name: str) -> str | None:
        """Where a schema lies, or would; None where the catalog knows by itself."""
        with suppress(Exception):  # without a schema of that name there is nothing to lie beside
            beside, _, own = self._session.catalog.getDatabase(self._schema).locationUri.rstrip("/").rpartition("/")
            return f"{beside}/{name}" if own == self._schema else None
        return None

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._forget_views()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        yield  # of what we write there (verdicts), each statement is a separate commit

    def one(self, sql: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...]:
        return self.rows(sql, parameters)[0]

    def stream(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        try:
            for row in self._session.sql(translated(sql, tuple(parameters))).toLocalIterator():
                yield tuple(row)
        except Exception as error:  # noqa: BLE001
            self._fail(error)

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self._raw(translated(sql, tuple(parameters)))

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        if sql.startswith("create table"):
            statement = created(sql, self._place_of(SCHEMA))
        else:
            statement = translated(sql, tuple(parameters))
        try:
            self._session.sql(statement)  # runs at once what is no query
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
                rows = self._session.sql(translated(sql)).toArrow()  # noqa: F841  read by name below
            except Exception as error:  # noqa: BLE001
                self._fail(error)
            with duckdb.connect() as writer:
                writer.execute(f"set TimeZone = 'UTC'; copy rows to '{file}' (format csv, header false, nullstr '')")
            with file.open("rb") as lines:
                longest = max([longest, *map(len, lines)])
        return longest

    @contextmanager
    def repair_lock(self) -> Iterator[None]:
        """Of this machine and user: a lake has no lock that would be gone with the process that holds it."""
        zone = self._session.conf.get(_ZONE)
        if zone not in _UTC:
            raise Refused(
                f"times in a plan and in the journal are UTC's, and this session's zone is {zone}: set `{_ZONE}: UTC` "
                "under server_side_parameters of the target"
            )
        named = hashlib.sha256(f"{_address(self._remote)} {self._schema}".encode()).hexdigest()[:16]
        path = Path(tempfile.gettempdir()) / f"reconcile-{os.getuid()}-{named}.lock"
        with ExitStack() as stack:
            try:
                taken = stack.enter_context(held(path, _WAITS))
            except OSError as error:
                raise Refused(f"cannot write {path} ({error.strerror}): fix its permissions or its disk") from error
            if not taken:
                raise Refused("another reconcile repair or undo is at work in this lake: try again when it is done")
            self._end_former_repair()
            self._session.addTag(_TAG)
            stack.callback(self._session.removeTag, _TAG)
            yield

    def _end_former_repair(self) -> None:
        """Stop what one that was killed still has running, and drop its tables: none else has the lock."""
        with suppress(Exception):  # nothing runs, or the server does not know how
            self._session.interruptTag(_TAG)
        if self.has_schema(SCHEMA):
            for table in self._raw(f"show tables in {SCHEMA} like '{PASSING}*'"):
                self._raw(f"drop table if exists {SCHEMA}.{table[1]}")

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


def _inside(array: str) -> str:
    """The one element of a JSON array, as JSON."""
    return f"substring({array}, 2, length({array}) - 2)"


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


def _remote(credentials: Any) -> str:
    return str((credentials.server_side_parameters or {}).get(_PARAMETER, ""))


def _address(remote: str) -> str:
    """Where that is, without a token."""
    return remote.removeprefix("sc://").split("/")[0]
