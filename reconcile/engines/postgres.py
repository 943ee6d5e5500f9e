"""Postgres, over psycopg 3."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import make_conninfo

from reconcile.engines import postgres_catalog as catalog
from reconcile.engines.base import Column, Estimate, Moment, Reference, RowCounts
from reconcile.engines.build_session import BuildSession, Settings, setting_statements
from reconcile.engines.identifiers import quote
from reconcile.engines.postgres_dialect import PostgresSpelling, text_literal
from reconcile.engines.postgres_types import UNKNOWN, Equality, TypeFacts, facts_of
from reconcile.engines.volatility import (
    RunValue,
    called_names,
    clock_literals,
    computed_bound,
    run_values,
    sampled,
    why_volatile,
    with_stand_ins,
)
from reconcile.errors import ConnectionFailed, EvaluationFailed, NotComparable, NotSetUp, Refused, RowsHidden
from reconcile.masking import masked

T = TypeVar("T")
log = logging.getLogger("reconcile")
_BATCH = 2_000
_RUN_VALUE = "reconcile.run_value_"  # the beginning of the name of a setting that does not exist; a number follows
_NOT_UTF8 = (
    "the database holds text that is not UTF-8, and its encoding SQL_ASCII says no other: convert the text, or move "
    "the data to a database with an encoding"
)
_REPAIR_LOCK_SECONDS = 3.0
_REPAIR_LOCK = 0x7265636F6E63  # "reconc": one repair at a time in a database
# What the texts of values depend on. Each of these is read back under any setting of another session.
_PINNED: dict[str, str] = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "xmloption": "content",
    "standard_conforming_strings": "on",
}
_PINNED_OIDS = 10_000  # objects below it are written by hand in the server's source, and nothing can change them
_COLLATED = frozenset({"text", "varchar", "bpchar"})

# xmin holds the lower 32 bits of a transaction's number; a visible row's is below the snapshot's end
_XMAX = "pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
_ROW_XID = f"({_XMAX} - (({_XMAX} - xmin::text::bigint) & 4294967295))"

# One message to the server. Several merge joins of one sorted side are cheap; compiling them is not. Tables that were
# just loaded have no statistics yet, and a nested loop that looks cheap there evaluates a definition once a row: 34 s
# instead of 1 for 300 rows; where only a nested loop can do, it is still used. Every row of a cursor will be read: do
# not plan for the first tenth.
_SNAPSHOT = """
    set transaction isolation level repeatable read, read only;
    set local jit = off;
    set local enable_nestloop = off;
    set local cursor_tuple_fraction = 1
"""


def _stand_in(place: int, value: RunValue, sql: str, types: Mapping[str, str]) -> str:
    """A call of the same type as a run value, which the planner can neither fold nor has to keep."""
    number = sql[value.end - 1 : value.end].isdigit()
    kind = types.get(value.function or "") or value.type or ("numeric" if number else "text")
    return f"cast(pg_catalog.current_setting('{_RUN_VALUE}{place}', true) as {kind})"


class PostgresEngine(PostgresSpelling):
    """One session. ``lock_timeout`` bounds every wait for a table that a running build holds."""

    kind = dialect = "postgres"
    row_id: tuple[str, ...] = ("tableoid", "ctid")  # a ctid alone names a row of every partition
    whole_row = "{}"
    pinned_settings = _PINNED
    row_lock = " for update of t"
    skip_conflicts = " on conflict do nothing"
    functions = "pg_catalog."
    equal = "operator(pg_catalog.=)"
    tells_instants = ages_at_midnight = True

    def __init__(self, conninfo: str, role: str | None = None, lock_timeout: str = "10s") -> None:
        try:
            # UTF8 whatever the database stores: texts of LATIN1 arrive decoded, names of SQL_ASCII are not bytes.
            # No prepared statements: one fails after another session has rebuilt its table with other columns.
            self._connection = psycopg.connect(
                conninfo,
                autocommit=True,
                prepare_threshold=None,
                cursor_factory=psycopg.RawCursor,
                client_encoding="UTF8",
            )
        except psycopg.Error as error:
            raise ConnectionFailed(_unreachable(conninfo, error)) from None
        self._connection.execute("select set_config('lock_timeout', $1, false)", [lock_timeout])
        # a statement that a policy would filter is an error then, also where a view reads the table
        self._connection.execute("set row_security = off")
        if role:
            self._connection.execute(psycopg.sql.SQL("set role {}").format(psycopg.sql.Identifier(role)))
        # $1 placeholders only: a model's own SQL may hold any number of bare % signs
        self._connection.server_cursor_factory = psycopg.RawServerCursor
        self._cursors = 0
        self._pinned_facts: dict[int, TypeFacts] = {}
        self._built_as = BuildSession()

    def keep_plans(self) -> None:
        """Plan a repeated statement once a session. Only for a session without a pooler that reads catalogs and tables
        of schema reconcile: a plan fails after another session has rebuilt its table."""
        self._connection.prepare_threshold = 1
        self._run("set plan_cache_mode = force_generic_plan")

    @classmethod
    def from_dbt(cls, credentials: Any, lock_timeout: float = 10.0) -> PostgresEngine:
        """The session that dbt itself would open for these profile credentials."""
        options = f"-c search_path={credentials.search_path}" if credentials.search_path else None
        names = {"sslmode": "sslmode", "sslcert": "sslcert", "sslkey": "sslkey", "sslrootcert": "sslrootcert"}
        extra = {
            name: getattr(credentials, field) for name, field in names.items() if getattr(credentials, field, None)
        }
        conninfo = make_conninfo(
            host=credentials.host,
            port=credentials.port,
            user=credentials.user,
            password=credentials.password or None,
            dbname=credentials.database,
            connect_timeout=credentials.connect_timeout,
            application_name="reconcile",
            options=options,
            **extra,
        )
        return cls(conninfo, role=credentials.role, lock_timeout=f"{lock_timeout:g}s")

    @staticmethod
    def address(credentials: Any) -> str:
        return f"{credentials.host}:{credentials.port}/{credentials.database}"

    def table_columns(self, relation_name: str) -> list[Column] | None:
        oid = self._oid(relation_name)
        if oid is None:
            return None
        rows = self._run(catalog.COLUMNS, [oid]).fetchall()
        facts = self._facts([row[-1] for row in rows])
        return [
            _column(name, spelled, facts.get(type_oid, UNKNOWN), nullable, generated, always, collation, loose)
            for name, spelled, nullable, generated, always, collation, loose, type_oid in rows
        ]

    def _facts(self, oids: Iterable[int]) -> Mapping[int, TypeFacts]:
        wanted = set(oids)
        if unknown := sorted(wanted - self._pinned_facts.keys()):
            found = facts_of(self._run(catalog.TYPES, [unknown]).fetchall())
            # base types of the server itself are the same as long as it runs
            pinned = {oid: facts for oid, facts in found.items() if oid < _PINNED_OIDS and facts.kind == "b"}
            self._pinned_facts |= pinned
            return {**self._pinned_facts, **found}
        return self._pinned_facts

    def _oid(self, relation_name: str) -> int | None:
        row = self._run("select to_regclass($1)::oid", [_without_database(relation_name)]).fetchone()
        return row[0] if row else None

    def query_columns(self, sql: str) -> list[Column]:
        cursor = self._run(f"select * from (\n{sql}\n) as described limit 0")
        result = cursor.pgresult
        described = [(d.name, d.type_code, result.fmod(i)) for i, d in enumerate(cursor.description or []) if result]
        facts = self._facts([oid for _, oid, _ in described])
        spelled = self._run(
            "select format_type(oid, modifier)"
            " from unnest($1::oid[], $2::int[]) with ordinality as d (oid, modifier, place) order by place",
            [[oid for _, oid, _ in described], [modifier for _, _, modifier in described]],
        ).fetchall()
        return [
            _column(name, kind, facts.get(oid, UNKNOWN))
            for (name, oid, _), (kind,) in zip(described, spelled, strict=True)
        ]

    def has_unique_index(self, relation_name: str, columns: Sequence[str]) -> bool:
        return any(set(names) <= set(columns) for names in self.unique_keys(relation_name))

    def unique_keys(self, relation_name: str) -> list[tuple[str, ...]]:
        rows = self._run(catalog.UNIQUE, [self._oid(relation_name)]).fetchall()
        return sorted((tuple(names) for names, not_null in rows if not_null), key=lambda names: (len(names), names))

    def comparable(self, expression: str, column: Column) -> str:
        return column.compared.replace("{}", expression)

    def packed(self, expression: str, column: Column) -> str:
        if column.base == "numeric":
            return f"pg_catalog.trim_scale({expression})::text"
        if column.rounded and int(self.one("select current_setting('extra_float_digits')")[0]) < 1:
            raise NotComparable(
                f"{column.name} is one of so many columns that its text is compared, and this database rounds that: "
                "alter role ... set extra_float_digits = 1, or leave it out with meta.reconcile.ignore"
            )
        # the sum of -0 and 0 is 0
        return f"({expression} + 0)::text" if column.base in ("float4", "float8") else f"({expression})::text"

    def volatile_call(self, sql: str, columns: Sequence[str], ignored: frozenset[str]) -> str | None:
        if (clause := sampled(sql)) is not None:
            return clause
        types = self._volatile_types(sql)
        values = run_values(sql, types)
        rendered = [value for value in values if value.function is None and not clock_literals(value.name)]
        plan = self._plan_of(sql, columns)
        call = rendered[0].name if rendered else self._varies(plan, sql)
        if call is None:
            return None
        # Postgres keeps a volatile call although no column needs it, and folds a literal like 'now' before it plans:
        # a stable call in their place stays in the plan only where it is needed
        asked = [v for v in values if v.function in types or (v.function is None and sql[v.start : v.end] not in plan)]
        replaced = with_stand_ins(sql, asked, lambda i, value: _stand_in(i, value, sql, types))
        if replaced == sql:
            return call
        try:
            with self.transaction():
                plan = self._plan_of(replaced, columns)
        except EvaluationFailed as error:
            log.info("the plan of a definition with other values is not known: %s", error)
            return call
        needed = (value.name for i, value in enumerate(asked) if f"'{_RUN_VALUE}{i}'" in plan)
        return next(needed, self._varies(plan, replaced))

    def run_values(self, sql: str) -> list[RunValue]:
        of_users = {name for (name,) in self.rows(catalog.FUNCTIONS_OF_USERS, [sorted(called_names(sql))])}
        return [value for value in run_values(sql, self._volatile_types(sql)) if value.function not in of_users]

    def _volatile_types(self, sql: str) -> dict[str, str]:
        """The volatile functions that ``sql`` may call, each with its type: that without arguments where it has one."""
        return dict(self.rows(catalog.VOLATILE_TYPES, [sorted(called_names(sql))]))

    def _plan_of(self, sql: str, columns: Sequence[str]) -> str:
        # the planner drops what feeds no column that is asked for: what is left in its plan matters
        listed = ", ".join(map(quote, columns))
        lines = self._run(f"explain (verbose, costs off) select {listed} from (\n{sql}\n) as asked").fetchall()
        plan = "\n".join(row[0] for row in lines)
        # what a plan does not print may need any call of the SQL
        return f"{plan}\n{sql}" if computed_bound(sql) or "Values Scan" in plan else plan

    def _varies(self, plan: str, sql: str) -> str | None:
        if (call := why_volatile(plan) or self._volatile_function(plan)) is not None:
            return call
        # 'yesterday' compared with a time is a constant of another text in the plan; compared with a text, it stays
        return next((text for text in clock_literals(sql) if text not in plan), None)

    def _volatile_function(self, text: str) -> str | None:
        """A function called in ``text``, or by the body of such a function, that is volatile or reads the clock."""
        pending, seen = called_names(text), set[str]()
        while pending:
            found = self.rows(catalog.FUNCTIONS_THAT_MAY_VARY, [sorted(pending)])
            seen |= pending
            pending = set()
            for name, volatile, body in found:
                if volatile or why_volatile(body) is not None or clock_literals(body):
                    return f"{name}()"
                pending |= called_names(body) - seen
        return None

    def plan(self, sql: str) -> Estimate | None:
        plan = self.one(f"explain (format json) {sql}")[0][0]["Plan"]
        scanned = sum(node["Plan Rows"] for node in _nodes(plan) if node["Node Type"].endswith("Scan"))
        # below a Gather the rows are those of one worker
        shares = 1 + max((node.get("Workers Planned", 0) for node in _nodes(plan)), default=0)
        sizes = [
            (node["Plan Rows"] * (shares if node.get("Parallel Aware") else 1), node["Plan Width"])
            for node in _nodes(plan)
            if node.get("Join Type") == "Full"
        ] or [(plan["Plan Rows"], plan["Plan Width"])]
        rows, width = max(sizes)
        return Estimate(plan["Total Cost"], rows, width, scanned)

    def prefer_merge(self, sql: str) -> None:
        # a merge of two indexes takes half the CPU of a hash join and no memory (10 M x 10 M rows: 4.4 s, not 7.7), but
        # planners think reading by an index dear; where something has to be sorted for it, they are right
        self._run("set local enable_hashjoin = off")
        plan = self.one(f"explain (format json) {sql}")[0][0]["Plan"]
        if any("Sort" in node["Node Type"] for node in _nodes(plan)):
            self._run("set local enable_hashjoin = on")

    def histogram(self, relation_name: str, column: Column) -> list[str]:
        bounds = self.rows(catalog.HISTOGRAM, [_without_database(relation_name), column.name])
        return [bound for (bound,) in bounds]

    def progress(self) -> float | None:
        return None

    def cancel(self) -> None:
        self._connection.cancel_safe(timeout=5)

    def xid(self) -> int | None:
        return int(self.one("select pg_snapshot_xmin(pg_current_snapshot())::text")[0])

    def server(self) -> str | None:
        return str(self.one("select system_identifier::text from pg_control_system()")[0])

    def snapshot_name(self) -> str:
        return str(self.one("select pg_current_snapshot()::text")[0])

    def before(self, moment: Moment, relation_name: str, loaded_at: str | None) -> str | None:
        if moment.xid is not None and self.writer(relation_name):
            return f"{_ROW_XID} < {moment.xid}"
        return f"({loaded_at}) <= timestamp with time zone '{moment.at}'" if loaded_at else None

    def writer(self, relation_name: str) -> str | None:
        kind = self.rows(
            "select 1 from pg_class where oid = to_regclass($1)::oid and relkind in ('r', 'p', 'm')",
            [_without_database(relation_name)],
        )
        return _ROW_XID if kind else None

    def has_index(self, relation_name: str, columns: Sequence[str]) -> bool | None:
        leading = self.rows(catalog.LEADING, [self._oid(relation_name), len(columns)])
        return any(set(names) == set(columns) for (names,) in leading)

    def about(self) -> str:
        version, database = self.one("select current_setting('server_version'), current_database()")
        return f"Postgres {version.split()[0]}, database {database}, role {self.role()}"

    def role(self) -> str:
        return str(self.one("select current_user")[0])

    def version(self) -> int:
        return self._connection.info.server_version // 10_000

    def pooled(self) -> bool:
        """Whether the connection goes through a pooler: a pooler reports other process ids."""
        return int(self.one("select pg_backend_pid()")[0]) != self._connection.info.backend_pid

    def may_read(self, relation_name: str) -> bool:
        return bool(self.one("select has_table_privilege($1::oid, 'select')", [self._oid(relation_name)])[0])

    def may_journal(self) -> bool:
        return bool(
            self.one(
                "select coalesce((select has_schema_privilege(oid, 'create') from pg_namespace"
                " where nspname = 'reconcile'), has_database_privilege(current_database(), 'create'))"
            )[0]
        )

    def analyzed(self, relation_name: str) -> bool | None:
        found = self.rows(
            "select reltuples >= 0 from pg_class where oid = $1 and relkind = 'r'", [self._oid(relation_name)]
        )
        return bool(found[0][0]) if found else None

    def has_schema(self, name: str) -> bool:
        return bool(self.rows("select 1 from pg_catalog.pg_namespace where nspname = $1", [name]))

    def make_schema(self, name: str) -> None:
        self.execute(f"create schema if not exists {name}")

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        with self.transaction():
            self._connection.execute(_SNAPSHOT, prepare=False)
            yield

    @contextmanager
    def transaction(self) -> Iterator[None]:
        try:
            with self._connection.transaction():
                yield
        except psycopg.Error as error:  # a deferred constraint speaks up at the commit; a connection may be gone
            raise _failure(error) from error

    @contextmanager
    def built_as(self, session: BuildSession) -> Iterator[None]:
        if not session:
            yield
            return
        if self.pooled():
            raise NotSetUp("its hooks or sql_header set up the session, which a connection pooler shares with others")
        self._refuse_settings_of_extensions(session)
        try:
            for statement in session.statements():
                self._run(statement)
            self._built_as = session
            yield
        except Exception:  # after Ctrl-C the connection is closed
            self._end_build(session)
            raise
        self._end_build(session)

    def _refuse_settings_of_extensions(self, session: BuildSession) -> None:
        """Only an extension knows what its settings do; one that no extension defines is a text that SQL may read."""
        known = "select name from pg_catalog.pg_settings where name like '%.%' and lower(name) = any($1::text[])"
        for (name,) in self.rows(known, [list(session.names)]):
            raise NotSetUp(f"its hooks or sql_header set {name}, a setting of an extension, which a check does not set")

    def _end_build(self, session: BuildSession) -> None:
        self._built_as = BuildSession()
        self._reset(session.settings)
        if session.functions:  # no temporary function is ours
            made = "select oid::regprocedure::text from pg_catalog.pg_proc where pronamespace = pg_my_temp_schema()"
            for (function,) in self.rows(made):
                self._run(f"drop function {function}")

    def _reset(self, settings: Settings) -> None:
        for name in dict.fromkeys(name for name, _ in settings):
            self._run(f"reset {name}")

    @contextmanager
    def set_instead(self, settings: Settings) -> Iterator[None]:
        with self.transaction():  # an error ends this part of the snapshot's transaction, and undoes what was set
            self._reset(self._built_as.settings)
            for statement in setting_statements(settings):
                self._run(statement)
            yield
            self._reset(settings)
            for statement in setting_statements(self._built_as.settings):
                self._run(statement)

    @contextmanager
    def pinned(self) -> Iterator[None]:
        names = ", ".join(f"current_setting({text_literal(name)})" for name in _PINNED)
        before = self.one(f"select {names}")
        self._set_locally(_PINNED.items())
        yield
        self._set_locally(zip(_PINNED, before, strict=True))  # after an error the rollback does it

    def _set_locally(self, settings: Iterable[tuple[str, str]]) -> None:
        values = ", ".join(f"set_config({text_literal(name)}, {text_literal(value)}, true)" for name, value in settings)
        self._run(f"select {values}")

    def pinning_sql(self) -> list[str]:
        return [f"set local {name} = {text_literal(value)}" for name, value in _PINNED.items()]

    def table_rules(self, relation_name: str) -> list[tuple[str, str]]:
        return [(name, text) for name, text in self.rows(catalog.RULES, [self._oid(relation_name)])]

    def rewriters(self, relation_name: str) -> list[tuple[str, str]]:
        return [(kind, name) for kind, name in self.rows(catalog.REWRITERS, [self._oid(relation_name)])]

    def lock_table(self, relation_name: str) -> None:
        self._run(
            f"lock table {relation_name} in row exclusive mode"
        )  # which every change of its columns conflicts with

    def row_counts(self, relation_name: str) -> RowCounts | None:
        if self.one("select current_setting('track_counts')")[0] != "on":
            return None
        return RowCounts(*map(int, self.one(catalog.ROW_COUNTS, [self._oid(relation_name)])))

    def one(self, sql: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...]:
        row = _decoded(self._run(sql, parameters).fetchone)
        assert row is not None, "a statement that yields one row yielded none"
        return row

    def stream(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        self._cursors += 1
        idle = self._connection.info.transaction_status is psycopg.pq.TransactionStatus.IDLE
        try:
            # a server-side cursor lives in a transaction; inside one of the caller's it sees what that one sees
            with (
                self._connection.transaction() if idle else nullcontext(),
                self._connection.cursor(name=f"reconcile_{self._cursors}") as cursor,
            ):
                cursor.itersize = _BATCH
                cursor.execute(sql, parameters or None)
                yield from cursor
        except psycopg.Error as error:
            raise _failure(error) from error
        except UnicodeDecodeError as error:
            raise EvaluationFailed(_NOT_UTF8) from error

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return _decoded(self._run(sql, parameters).fetchall)

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        return self._run(sql, parameters).rowcount

    def load(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        try:
            with (
                self._connection.cursor() as cursor,
                cursor.copy(f"copy {table} ({', '.join(columns)}) from stdin") as copy,
            ):
                for row in rows:
                    copy.write_row(row)
        except psycopg.Error as error:
            raise _failure(error) from error

    def copy_out(
        self, table: str, columns: Sequence[Column], files: Sequence[Path], part: str, where: str | None = None
    ) -> int:
        # a numeric without a scale loses the zeros at its end, which its equality does not see
        listed = ", ".join(
            f"trim_scale({quote(column.name)})" if column.type == "numeric" else quote(column.name)
            for column in columns
        )
        query = f"select {part}, {listed} from {table}" + (f" where {where}" if where else "")
        longest = 0
        try:
            with ExitStack() as stack:
                targets = [stack.enter_context(file.open("wb")) for file in files]
                cursor = stack.enter_context(self._connection.cursor())
                rows = stack.enter_context(cursor.copy(f"copy ({query}) to stdout (format csv)"))
                for row in rows:
                    number, _, line = bytes(row).partition(b",")
                    targets[int(number)].write(line)
                    longest = max(longest, len(line))
        except psycopg.Error as error:
            raise _failure(error) from error
        return longest

    def unique_sets(self, relation_name: str) -> list[tuple[str, ...]]:
        return [tuple(names) for names, _ in self.rows(catalog.UNIQUE, [self._oid(relation_name)])]

    def bound_to(self, relation_name: str) -> list[str]:
        return [said for (said,) in self.rows(catalog.BOUND, [self._oid(relation_name)])]

    def references(self, relation_name: str) -> list[Reference]:
        return [
            Reference(child, tuple(columns), tuple(referenced), action)
            for child, columns, referenced, action in self.rows(catalog.REFERENCES, [self._oid(relation_name)])
        ]

    def parents(self, relation_name: str) -> list[str]:
        found = self.rows(
            "select distinct confrelid::regclass::text from pg_constraint where conrelid = $1 and contype = 'f'",
            [self._oid(relation_name)],
        )
        return [name for (name,) in found]

    def same_table(self, relation_name: str) -> str:
        return str(self.one("select $1::oid::regclass::text", [self._oid(relation_name)])[0])

    def lacking(self, relation_name: str, actions: Iterable[str]) -> list[str]:
        asked = ["select", *actions]
        held = self.one(
            f"select {', '.join(f'has_table_privilege($1::oid, {text_literal(action)})' for action in asked)}",
            [self._oid(relation_name)],
        )
        return [action for action, may in zip(asked, held, strict=True) if not may]

    @contextmanager
    def repair_lock(self) -> Iterator[None]:
        # a killed repair's session lives until its statement ends: give it that moment before calling it another one
        deadline = time.monotonic() + _REPAIR_LOCK_SECONDS
        while not self.one("select pg_try_advisory_lock($1)", [_REPAIR_LOCK])[0]:
            if time.monotonic() < deadline:
                time.sleep(0.1)
                continue
            raise Refused("another reconcile repair or undo is at work in this database: try again when it is done")
        try:
            yield
        finally:
            with suppress(EvaluationFailed):  # a lost connection has given it back already
                self._run("select pg_advisory_unlock($1)", [_REPAIR_LOCK])

    def close(self) -> None:
        self._connection.close()

    def _run(self, sql: str, parameters: Sequence[Any] = ()) -> psycopg.Cursor[tuple[Any, ...]]:
        try:
            return self._connection.execute(sql, parameters or None)
        except psycopg.Error as error:
            raise _failure(error) from error


def _failure(error: psycopg.Error) -> EvaluationFailed:
    if isinstance(error, psycopg.errors.InsufficientPrivilege) and "row-level security policy" in str(error):
        return RowsHidden(_said(error))
    return EvaluationFailed(_said(error))


def _decoded(fetch: Callable[[], T]) -> T:
    try:
        return fetch()
    except UnicodeDecodeError as error:
        raise EvaluationFailed(_NOT_UTF8) from error


def _column(
    name: str,
    spelled: str,
    facts: TypeFacts,
    nullable: bool = True,
    generated: bool = False,
    identity_always: bool = False,
    collation: str | None = None,
    nondeterministic: bool = False,
) -> Column:
    collatable = facts.base.lstrip("_") in _COLLATED
    match facts.equality(spelled):
        case Equality.BYTES:
            compared = matched = f"{facts.send}({{}})"
        case Equality.TEXT:
            compared = matched = "({})::pg_catalog.text"
        case Equality.VALUE:
            compared = '{} collate "C"' if collatable else "{}"
            # the collation of a table's column is known, and its index is sorted by it
            by_index = not collatable or (collation is not None and not nondeterministic)
            matched = "{}" if by_index else compared
    return Column(
        name,
        spelled,
        facts.base,
        nullable,
        generated,
        identity_always,
        collation,
        compared=compared,
        matched=matched,
        rounded=facts.rounded,
    )


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from _nodes(child)


def _without_database(relation_name: str) -> str:
    """``"db"."schema"."name"`` as to_regclass takes it: a connection sees one database only."""
    parts = _split(relation_name)
    return ".".join(parts[-2:])


def _split(relation_name: str) -> list[str]:
    parts, quoted, current = [], False, ""
    for character in relation_name:
        if character == "." and not quoted:
            parts.append(current)
            current = ""
            continue
        quoted = quoted != (character == '"')
        current += character
    return [*parts, current]


def _said(error: psycopg.Error) -> str:
    diagnostic = error.diag
    text = diagnostic.message_primary or str(error).strip().splitlines()[0]
    if diagnostic.sqlstate == "55P03":
        return f"{text}: another session (a running build?) holds the table, try again when it is done"
    if diagnostic.sqlstate == "42501":
        return f"{text}: grant it, or use a role that has it"
    return text


def _unreachable(conninfo: str, error: psycopg.Error) -> str:
    parts = psycopg.conninfo.conninfo_to_dict(conninfo)
    where = f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}/{parts.get('dbname', '')}"
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    said = masked(lines[0] if lines else type(error).__name__, conninfo)
    return f"cannot connect to Postgres at {where} as {parts.get('user', '?')}: {said}"
