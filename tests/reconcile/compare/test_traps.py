"""Shapes and keys that comparisons stumble over: collations, partitions, views, widths, time zones, odd keys."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import duckdb
import psycopg
import pytest

from reconcile.errors import NotComparable
from reconcile.report.model import Cell, Drift, Verdict
from tests.conftest import Database
from tests.reconcile.conftest import Tables
from tests.support.diffs import compared, duck, postgres

pytestmark = pytest.mark.lake(long=True)
KEYS = {
    "uuid": ["00000000-0000-0000-0000-000000000001", "ffffffff-ffff-ffff-ffff-ffffffffffff"],
    "bigint": ["-9223372036854775808", "9223372036854775807", "0", "-1"],
    "numeric(38, 0)": ["99999999999999999999999999999999999999", "-1"],
    "date": ["0001-01-01", "9999-12-31"],
    "timestamp with time zone": ["2026-03-29 01:30:00+01", "2026-10-25 02:30:00+02", "2026-10-25 02:30:00+01"],
    "varchar": ["", " ", "a", "A", "é", "e\u0301", "ß", "ss", "-a", "NULL"],
}


@pytest.mark.parametrize("kind", KEYS)
def test_keys_of_every_kind_pair_with_themselves_only(tables: Tables, kind: str) -> None:
    rows = [(f"'{value}'", i) for i, value in enumerate(KEYS[kind])]
    tables.make(f"id {kind}, v integer", rows, [(key, -1 if v == 1 else v) for key, v in reversed(rows)])
    found = tables.judge("id")

    assert found.drift == Drift(changed=1)
    assert found.columns == {"v": 1}


@pytest.mark.parametrize("kind", KEYS)
def test_keys_of_every_kind_between_the_engines(database: Database, tmp_path: Path, kind: str) -> None:
    values = ", ".join(f"('{value}', {i})" for i, value in enumerate(KEYS[kind]))
    make = [f"create table t (id {kind}, v integer)", f"insert into t values {values}"]
    database.run(*make, "update t set v = -1 where v = 1")
    found = compared(f"duckdb:{duck(tmp_path / 'd.duckdb', *make)}#t", postgres(database, "t"))

    assert found.drift == Drift(changed=1), found.schema_changes


def test_text_keys_under_another_collation(database: Database, pg_tables: Tables) -> None:
    """Postgres refuses to compare two columns of different collations; rows pair by their bytes all the same."""
    pg_tables.run(
        'create table expected (id text collate "C", v integer)',
        'create table actual (id text collate "pg_unicode_fast", v integer)',
        "insert into expected select chr(n), n from generate_series(33, 600) n where n not between 127 and 160",
        "insert into actual select id, case when v = 100 then 0 else v end from expected where v <> 200",
    )
    with pytest.raises(psycopg.errors.IndeterminateCollation):
        database.rows("select 1 from expected e join actual a on e.id = a.id")
    found = pg_tables.judge("id")

    assert found.drift == Drift(missing=1, changed=1)


def test_partitioned_tables_and_views(pg_tables: Tables) -> None:
    pg_tables.run(
        "create table source as select n as id, n % 3 as v from generate_series(1, 300) n",
        "create view expected as select * from source",
        "create table actual (id integer, v integer) partition by hash (id)",
        "create table part0 partition of actual for values with (modulus 2, remainder 0)",
        "create table part1 partition of actual for values with (modulus 2, remainder 1)",
        "insert into actual select * from source where id <> 7",
        "insert into part0 select * from part0 order by id limit 1",
    )
    found = pg_tables.judge("id", relation="actual")

    assert found.drift == Drift(missing=1, duplicate=1)


@pytest.mark.long
def test_1600_columns(pg_tables: Tables) -> None:
    """As many as Postgres takes in a table, and more than a SELECT could list on both sides."""
    columns = ", ".join(["id integer", *(f"c{i} smallint" for i in range(1599))])
    for name in ("expected", "actual"):
        pg_tables.run(f"create table {name} ({columns})", f"insert into {name} (id) select generate_series(1, 20)")
    pg_tables.run(
        "alter table expected alter c1500 type double precision, alter c1501 type numeric, alter c1502 type text",
        "alter table actual alter c1500 type double precision, alter c1501 type numeric, alter c1502 type text",
        "update expected set c1500 = '-0.0', c1501 = 1.0, c1502 = 'ä' where id = 5",
        "update actual set c1500 = 0.0, c1501 = 1.00, c1502 = 'ä' where id = 5",
        "update actual set c1598 = 1 where id = 3",
        "insert into actual (id) values (4)",
    )
    found = pg_tables.judge("id", relation="actual")
    assert found.drift == Drift(changed=1, duplicate=1)
    assert found.columns == {"c1598": 1}
    pg_tables.run("set extra_float_digits = 0")
    with pytest.raises(NotComparable, match="c1500 is one of so many columns that its text is compared"):
        pg_tables.judge("id")
    pg_tables.run("reset extra_float_digits")
    changed = next(sample for sample in found.samples if sample.kind == "changed")
    assert changed.columns == {"c1598": Cell(None, "1")}
    assert pg_tables.judge().drift == Drift(missing=1, extra=2)


def test_the_sessions_time_zone_changes_no_verdict(database: Database, tmp_path: Path) -> None:
    make = [
        "create table t (id integer, seen timestamp with time zone, local timestamp)",
        "insert into t values (1, '2026-07-01 12:00:00+00', '2026-07-01 12:00:00')",
    ]
    database.run(*make, f"alter database {database.name} set timezone = 'Asia/Kathmandu'")
    file = duck(tmp_path / "d.duckdb", *make)
    (tmp_path / "t.csv").write_text("id,seen,local\n1,2026-07-01 12:00:00+00,2026-07-01 12:00:00\n")

    for left in (f"duckdb:{file}#t", tmp_path / "t.csv"):
        assert compared(left, postgres(database, "t")).verdict is Verdict.LEVEL


def test_types_that_only_one_engine_has_are_named_or_compared_as_text(database: Database, tmp_path: Path) -> None:
    database.run(
        "create type mood as enum ('fine', 'bad')",
        "create table t (id integer, m mood, a integer[], b bytea, j jsonb, p point, c char(4))",
        "insert into t values (1, 'fine', '{1,2}', '\\x00ff', '{\"a\": [1]}', '(1,2)', 'ab')",
    )
    file = duck(
        tmp_path / "d.duckdb",
        "create table t (id integer, m varchar, a integer[], b blob, j json, p varchar, c varchar)",
        "insert into t values (1, 'fine', [1, 2], '\\x00\\xFF', '{\"a\": [1]}', '(1,2)', 'ab  ')",
    )
    found = compared(f"duckdb:{file}#t", postgres(database, "t"))

    assert {change.column for change in found.schema_changes} == {"a", "b"}
    assert found.drift == Drift(schema=2), found.columns


def test_a_broken_pipe_is_no_traceback(tmp_path: Path) -> None:
    for name in ("l", "r"):
        duckdb.execute(f"copy (select n as id, n as v from range(5000) t(n)) to '{tmp_path}/{name}.parquet'")
    program = Path(sys.executable).parent / "reconcile"
    run = subprocess.run(
        ["bash", "-c", f"{program} diff l.parquet r.parquet --key id --output json -q | true; echo ${{PIPESTATUS[0]}}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.stdout, run.stderr) == ("0\n", "")  # the verdict's exit code
