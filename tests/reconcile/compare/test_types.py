"""Every type of each engine as value, key, duplicate and NULL key: two values are equal exactly if their bytes are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
import pytest

from reconcile.engines.duckdb import DuckDBEngine
from reconcile.engines.postgres import PostgresEngine
from reconcile.errors import ReconcileError
from reconcile.report.model import Drift
from tests.conftest import Database
from tests.reconcile.conftest import Tables
from tests.support.type_values import DUCKDB_SETUP, POSTGRES_SETUP, TypeCase, duckdb_cases, postgres_cases

# settings that change how values print, and lose digits
ODD_SETTINGS = {
    "DateStyle": "'SQL, DMY'",
    "IntervalStyle": "'sql_standard'",
    "TimeZone": "'Asia/Kathmandu'",
    "extra_float_digits": "-3",
    "bytea_output": "'escape'",
}


def faults(tables: Tables, case: TypeCase) -> Iterator[str]:
    """What a comparison of tables with this type finds that is not so."""
    first, second = case.first, case.second
    columns = f"n integer, v {case.type}"
    tables.make(
        columns,
        [("1", first), ("2", second), ("3", "null"), ("4", first)],
        [("1", second), ("2", second), ("3", "null"), ("4", "null")],
    )
    yield from _differs("value", lambda: tables.judge("n").drift, Drift(changed=2))
    yield from _differs("no key", lambda: tables.judge().drift, Drift(missing=2, extra=2))
    tables.make(
        columns,
        [("1", first), ("2", second), ("5", "null")],
        [("2", second), ("2", second), ("5", "null"), ("5", "null")],
    )
    yield from _differs("key", lambda: tables.judge("v").drift, Drift(missing=1, duplicate=1, null_key=1))
    tables.make(columns, [("1", first), ("2", second)], [("2", second), ("1", first)])
    yield from _differs("level", lambda: tables.judge("v").drift, Drift())


def _differs(place: str, judged: Any, expected: Drift) -> Iterator[str]:
    try:
        found = judged()
    except ReconcileError as error:
        yield f"{place}: {error}"
        return
    if found != expected:
        yield f"{place}: {found}"


@contextmanager
def postgres_tables(database: Database, *setup: str) -> Iterator[Tables]:
    database.run(*setup)
    engine = PostgresEngine(database.conninfo)
    try:
        yield Tables(engine, "postgres")
    finally:
        engine.close()


@pytest.mark.parametrize(
    "odd", [False, pytest.param(True, marks=pytest.mark.long)], ids=["defaults", "odd settings and arrays"]
)
def test_every_postgres_type_is_compared_by_its_bytes(database: Database, odd: bool) -> None:
    name = database.rows("select current_database()")[0][0]
    settings = [f'alter database "{name}" set {key} = {value}' for key, value in ODD_SETTINGS.items() if odd]
    with postgres_tables(database, *POSTGRES_SETUP, *settings) as tables:
        wrong = {c.type: list(faults(tables, c)) for c in postgres_cases(database.rows, arrays=odd)}

    assert {kind: found for kind, found in wrong.items() if found} == {}


def test_every_duckdb_type_is_compared_by_its_bytes() -> None:
    engine = DuckDBEngine(":memory:")
    tables = Tables(engine, "duckdb")
    tables.run(*DUCKDB_SETUP)
    wrong = {c.type: list(faults(tables, c)) for c in duckdb_cases()}

    assert {kind: found for kind, found in wrong.items() if found} == {}


def test_operators_and_functions_of_the_user_are_not_called(database: Database) -> None:
    """A role may define = for varchar, which Postgres itself has not, and functions of any name."""
    setup = [
        "create function always(varchar, varchar) returns boolean language sql immutable as 'select true'",
        "create operator = (function = always, leftarg = varchar, rightarg = varchar)",
        "create aggregate count(varchar) (sfunc = text_larger, stype = text)",
        "create function array_length(text[], integer) returns integer language sql as 'select 0'",
        "create function abs(numeric) returns numeric language sql as 'select 0.0'",
        f'alter database "{database.rows("select current_database()")[0][0]}" set search_path = public, pg_catalog',
    ]
    with postgres_tables(database, *setup) as tables:
        columns = "id varchar, v varchar, n numeric"
        tables.make(columns, [("'a'", "'x'", "1"), ("'b'", "'x'", "1")], [("'a'", "'y'", "1"), ("'c'", "'x'", "1")])
        found = tables.judge("id", tolerance={"n": 0.5})
        assert tables.engine.one("select 'x'::varchar = 'y'::varchar") == (True,)

    assert found.drift == Drift(missing=1, extra=1, changed=1)
    assert found.columns == {"v": 1}


def test_default_collation_of_duckdb_changes_no_verdict() -> None:
    engine = DuckDBEngine(":memory:", settings={"default_collation": "nocase"})
    tables = Tables(engine, "duckdb")
    tables.make("id varchar, v varchar", [("'a'", "'x'"), ("'A'", "'x'")], [("'a'", "'X'"), ("'A'", "'x'")])

    assert duckdb.__version__
    assert tables.judge("id").drift == Drift(changed=1)
