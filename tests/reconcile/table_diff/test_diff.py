"""reconcile diff between any two tables: in one server, between engines, and files."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import duckdb
import jsonschema
import pytest

from reconcile.errors import ReconcileError
from reconcile.report.model import Cell, Drift, Verdict
from reconcile.table_diff import cross_engine
from tests.conftest import ROOT, Database, command
from tests.reconcile.compare.test_property import literal, oracle, random_case
from tests.support.diffs import compared, duck, postgres

EXPORT = Path(__file__).parents[2] / "extract" / "series" / "x_analytics_content_2026.csv"


# one row of every kind of value that both engines have, and the traps among them
TYPED = """
    (1, 'a', 9007199254740993, 12345678901234.000001, 0.1, true, '2026-01-01', '2026-01-01 00:00:00.000001',
     '2026-01-01 00:00:00+02', '00000000-0000-0000-0000-000000000001', null),
    (2, '', -1, 0, 'nan', false, null, 'infinity', null, null, 'line
break, "quoted" and ünï'),
    (3, null, null, null, null, null, null, null, null, null, '')
"""
COLUMNS = (
    "id integer, s varchar, b bigint, n numeric(20, 6), f double precision, t boolean, d date, ts timestamp,"
    " tz timestamp with time zone, u uuid, x varchar"
)


def test_tables_of_one_server_are_joined_in_it(database: Database) -> None:
    database.run(
        "create table l as select n as id, n as v from generate_series(1, 100) n",
        "create table r as select id, case when id = 7 then 0 else v end as v from l where id <> 8",
    )
    found = compared(postgres(database, "public.l"), postgres(database, "r"))

    assert found.drift == Drift(missing=1, changed=1)
    assert (found.name, found.scope.rows_expected, found.scope.rows_actual) == ("l", 100, 99)
    assert found.samples[0].columns == {"v": Cell("7", "0")}


def test_values_of_postgres_and_duckdb_compare_exactly(database: Database, tmp_path: Path) -> None:
    make = (f"create table t ({COLUMNS})", f"insert into t values {TYPED}")
    database.run(*make)
    file = duck(tmp_path / "d.duckdb", *make)
    left, right = postgres(database, "t"), f"duckdb:{file}#main.t"

    for pair in ((left, right), (right, left)):
        found = compared(*pair)
        assert found.verdict is Verdict.LEVEL, (found.drift, found.columns, found.schema_changes)

    for column, value in (
        ("s", "''"),
        ("b", "9007199254740992"),
        ("n", "12345678901234.000002"),
        ("f", "0.30000000000000004"),
        ("ts", "'2026-01-01 00:00:00.000002'"),
        ("tz", "'2026-01-01 00:00:00+00'"),
    ):
        row = 3 if column == "s" else 1
        before = database.rows(f"select {column}::text from t where id = {row}")[0][0]
        database.run(f"update t set {column} = {value} where id = {row}")
        found = compared(left, right)
        assert (found.drift, list(found.columns)) == (Drift(changed=1), [column])
        restored = "null" if before is None else f"'{before}'"
        database.run(f"update t set {column} = {restored} where id = {row}")
    assert compared(left, right).verdict is Verdict.LEVEL


def test_columns_of_other_types_are_named_and_not_cast(database: Database, tmp_path: Path) -> None:
    database.run("create table t (id integer, v varchar, w integer)", "insert into t values (1, '1', 1)")
    file = duck(
        tmp_path / "d.duckdb", "create table t (id bigint, v integer, w smallint)", "insert into t values (1, 1, 1)"
    )
    found = compared(postgres(database, "t"), f"duckdb:{file}#t")

    assert [(c.column, c.problem) for c in found.schema_changes] == [("v", "type")]
    assert found.verdict is Verdict.DRIFT


def test_files_of_different_formats_compare(tmp_path: Path) -> None:
    duckdb.execute(
        f"copy (select n as id, 'v' || n as v, n / 4.0 as w from range(1, 50) t(n)) to '{tmp_path}/a.parquet'"
    )
    duckdb.execute(
        f"copy (select n as id, 'v' || n as v, n / 4.0 as w from range(1, 50) t(n)) to '{tmp_path}/b.csv' (header)"
    )
    duckdb.execute(f"copy (select * from '{tmp_path}/a.parquet' where id <> 9) to '{tmp_path}/c.jsonl' (format json)")

    assert compared(tmp_path / "a.parquet", tmp_path / "b.csv").verdict is Verdict.LEVEL
    assert compared(tmp_path / "b.csv", tmp_path / "a.parquet").verdict is Verdict.LEVEL
    found = compared(tmp_path / "a.parquet", tmp_path / "c.jsonl", columns=("v",))
    assert found.drift == Drift(missing=1)
    assert found.samples[0].key == {"id": "9"}


def test_scraped_table_against_the_platform_export(database: Database) -> None:
    """What the scraper stored against the platform's export of the same posts."""
    rows = list(csv.DictReader(EXPORT.open()))
    database.run("create table scraped (tweet_id varchar primary key, likes bigint, views bigint)")
    values = ", ".join(f"('{row['Post id']}', {row['Likes']}, {row['Impressions']})" for row in rows)
    database.run(f"insert into scraped values {values}")
    names = {"Post id": "tweet_id", "Likes": "likes", "Impressions": "views"}
    arguments = {"key": "tweet_id", "renamed": names, "columns": ("likes", "views")}
    assert compared(postgres(database, "scraped"), EXPORT, **arguments).verdict is Verdict.LEVEL

    wrong = max(rows, key=lambda row: int(row["Impressions"]))
    database.run(
        f"update scraped set likes = 0 where tweet_id = '{wrong['Post id']}'",
        f"delete from scraped where tweet_id = '{rows[3]['Post id']}'",
    )
    found = compared(postgres(database, "scraped"), EXPORT, **arguments)
    assert found.drift == Drift(changed=1, extra=1)
    assert found.columns == {"likes": 1}
    close = compared(postgres(database, "scraped"), EXPORT, **arguments, tolerance={"likes": 1e9})
    assert close.drift == Drift(extra=1)


@pytest.mark.parametrize("twice", [False, True])
def test_causes_of_a_bad_copy_are_reported(
    twice: bool, engine_kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    right = (
        "(1, 0, '2026-07-01 09:00'), (2, null, '2026-07-01 09:00'), (3, 17000, '2026-07-01 09:00'),"
        " (4, 7, '2026-07-01 13:00'), (5, 8, '2026-07-01 09:00'), (6, 5, '2026-07-01 09:00'),"
        " (7, 0, '2026-07-01 09:00')"
        + (", (8, 1, '2026-07-01 09:00'), (8, 1, '2026-07-01 09:00')" if twice else ", (8, 1, '2026-07-01 09:00')")
    )
    left = (
        "(1, 4, '2026-07-01 09:00'), (2, 4, '2026-07-01 09:00'), (3, 17, '2026-07-01 09:00'),"
        " (4, 7, '2026-07-01 09:00'), (5, 7, '2026-07-01 09:00'), (6, null, '2026-07-01 09:00'),"
        " (7, 9, '2026-07-02 09:00'), (8, 1, '2026-07-01 09:00')"
    )
    statements = []
    for name, rows in (("ours", left), ("legacy", right)):
        statements += [
            f"create table {name} (id integer, likes bigint, seen timestamp)",
            f"insert into {name} values {rows}",
        ]
    if engine_kind == "postgres":
        database: Database = request.getfixturevalue("database")
        database.run(*statements)
        found = compared(postgres(database, "ours"), postgres(database, "legacy"))
    else:
        path = duck(tmp_path / "both.duckdb", *statements)
        found = compared(f"duckdb:{path}#ours", f"duckdb:{path}#legacy")

    causes = {"zeroed": 2, "nulled": 1, "scaled": 1, "time_shifted": 1, "filled": 1, "other": 1}
    assert found.causes == causes | ({"duplicate": 1} if twice else {})
    assert {sample.key["id"]: sample.cause for sample in found.samples} == {
        "1": "zeroed",
        "2": "nulled",
        "3": "scaled",
        "4": "time_shifted",
        "5": "other",
        "6": "filled",
        "7": "zeroed",
    } | ({"8": "duplicate"} if twice else {})


def test_where_applies_to_both_sides(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,v\n1,1\n2,2\n3,3\n")
    (tmp_path / "b.csv").write_text("id,v\n1,1\n2,9\n4,4\n")

    assert (
        compared(tmp_path / "a.csv", tmp_path / "b.csv", where="id < 2", casts={"id": "int"}).verdict is Verdict.LEVEL
    )
    with pytest.raises(ReconcileError, match=r"^--where: .*; a column of a csv or json file is text, unless --cast"):
        compared(tmp_path / "a.csv", tmp_path / "b.csv", where="id < 2")
    assert compared(tmp_path / "a.csv", tmp_path / "b.csv").drift == Drift(missing=1, extra=1, changed=1)


def test_rows_without_a_key_compare_as_a_multiset(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("v\n1\n1\n2\n")
    (tmp_path / "b.csv").write_text("v\n1\n2\n2\n")

    assert compared(tmp_path / "a.csv", tmp_path / "b.csv", key="").drift == Drift(missing=1, extra=1)


def test_two_empty_sides_are_unverified(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("id,v\n")

    assert compared(tmp_path / "a.csv", tmp_path / "b.csv").verdict is Verdict.UNVERIFIED


@pytest.mark.parametrize(
    ("left", "more", "said"),
    [
        ("nowhere", {}, "'nowhere' names no table: give postgresql://"),
        ("missing.csv", {}, "no file missing.csv"),
        ("duckdb:/no/such.duckdb#t", {}, "no DuckDB file /no/such.duckdb"),
        ("postgresql://u:secret@127.0.0.1:1/db", {}, r"u:\*\*\*@127.0.0.1:1/db names a database and no table"),
        ("{tmp}/a.csv", {"key": "nope"}, "no column 'nope' of the key on LEFT"),
        ("{tmp}/a.csv", {"ignore": ("nope",)}, "no column 'nope' on either side"),
        ("{tmp}/a.csv", {"renamed": {"nope": "id"}}, "no column 'nope' to rename"),
        ("{tmp}/broken.csv", {}, "(?i)line|CSV"),
    ],
)
def test_sides_that_cannot_be_compared_give_one_sentence(
    tmp_path: Path, left: str, more: dict[str, Any], said: str
) -> None:
    (tmp_path / "a.csv").write_text("id,v\n1,1\n")
    (tmp_path / "broken.csv").write_text('id,v\n1,1\n2,"never closed\n3,3\n' * 3)
    with pytest.raises(ReconcileError, match=said):
        compared(left.replace("{tmp}", str(tmp_path)), tmp_path / "a.csv", **more)


def test_diff_command_exit_codes_and_json(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,v\n1,1\n2,2\n")
    (tmp_path / "b.csv").write_text("key,v\n1,1\n2,3\n")
    schema = json.loads((ROOT / "reconcile" / "schemas" / "report.schema.json").read_text())
    arguments = ["reconcile", "diff", "a.csv", "b.csv", "--key", "id", "--rename", "key=id"]
    found = command(*arguments, "--output", "json", cwd=tmp_path)
    body = json.loads(found.stdout)

    jsonschema.validate(body, schema)
    assert (found.returncode, body["command"], body["totals"]["changed"]) == (1, "diff", 1)
    assert not (tmp_path / "target").exists()  # outside a dbt project nothing is left behind
    close = command(*arguments, "--tolerance", "v=1", cwd=tmp_path)
    assert (close.returncode, "level" in close.stdout) == (0, True)
    wrong = command(*arguments, "--tolerance", "v", cwd=tmp_path)
    assert (wrong.returncode, wrong.stderr) == (2, "Error: --tolerance v: give NAME=VALUE\n")


MANY = """
    select n as id, md5(cast(n as varchar)) as s, cast(n as double precision) / 10 as f,
        cast(n * 1.5 as numeric(12, 2)) as d,
        cast(case when n % 5 = 0 then null else n % 2 = 0 end as boolean) as b,
        timestamp '2026-01-01' + n * interval '1 second' as at
    from generate_series(1, 30000) as g(n)
"""
BROKEN = (
    "delete from t where id in (7, 20007)",
    "update t set s = s || ' ' where id = 11",
    "update t set d = d + 0.01, b = null where id = 29999",
    "insert into t select * from t where id = 500",
    "insert into t (id, s) values (-4, 'x'), (null, 'y')",
)


@pytest.mark.parametrize("pair", ["postgres and duckdb", "postgres and parquet", "two servers"])
def test_only_rows_of_unequal_buckets_are_copied(
    database: Database, other: Database, tmp_path: Path, pair: str
) -> None:
    database.run(f"create table t as {MANY}", *BROKEN, "analyze t")
    left: str | Path = f"duckdb:{duck(tmp_path / 'l.duckdb', f'create table t as {MANY}')}#t"
    if pair == "two servers":
        other.run(f"create table t as {MANY}", "analyze t")
        left = postgres(other, "t")
    elif pair == "postgres and parquet":
        left = tmp_path / "l.parquet"
        duck(tmp_path / "x.duckdb", f"copy ({MANY}) to '{left}' (format parquet)")
    found = compared(left, postgres(database, "t"))

    assert found.drift == Drift(missing=2, extra=1, changed=2, duplicate=1, null_key=1)
    assert found.columns == {"s": 1, "d": 1, "b": 1}
    assert (found.scope.rows_expected, found.scope.rows_actual) == (30_000, 30_001)
    assert "checksums of 468 key buckets were compared, and by value the rows of the 7 unequal ones" in (
        found.scope.reason
    )


def test_checksums_find_differences_that_casts_hide(database: Database, other: Database) -> None:
    """Blanks that a cast would cut, and the last bit of a double where the database prints fifteen digits."""
    other.run(f"alter database {other.name} set extra_float_digits = 0")
    for one, blank, number in ((database, "'ab'::char(4)", "0.1::float8 + 0.2::float8"), (other, "'ab'", "0.3")):
        kind = "char(4)" if one is database else "text"
        one.run(
            f"create table t (id integer, c {kind}, f float8)",
            "insert into t select n, 'abcd', n from generate_series(1, 20000) n",
            f"insert into t values (30000, {blank}, 1), (30001, 'abcd', {number})",
            "analyze t",
        )
    found = compared(postgres(database, "t"), postgres(other, "t"))

    assert "checksums of" in found.scope.reason
    assert (found.drift, found.columns) == (Drift(changed=2), {"c": 1, "f": 1})


def test_checksums_and_values_agree_with_the_oracle(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random tables on Postgres and DuckDB, with a few buckets however small they are."""
    monkeypatch.setattr(cross_engine, "_WORTH_BUCKETS", 0)
    monkeypatch.setattr(cross_engine, "_TOO_MANY", 2.0)
    monkeypatch.setattr(cross_engine, "how_many", lambda rows: 3)
    monkeypatch.setattr(cross_engine, "_PART", 5)  # rows that travel are compared in parts
    bucketed = 0
    for seed in range(60):
        types, n_key, expected, actual = random_case(5000 + seed)
        columns = ", ".join(f"c{i} {kind}" for i, kind in enumerate(types))
        statements = {}
        for name, rows in (("expected", expected), ("actual", actual)):
            values = ", ".join("(" + ", ".join(str(literal(value)) for value in row) + ")" for row in rows)
            insert = [f"insert into t values {values}"] if rows else []
            statements[name] = ["drop table if exists t", f"create table t ({columns})", *insert]
        file = duck(tmp_path / "e.duckdb", *statements["expected"])
        database.run(*statements["actual"])
        found = compared(f"duckdb:{file}#t", postgres(database, "t"), key=",".join(f"c{i}" for i in range(n_key)))

        assert found.drift == oracle(n_key, expected, actual), f"seed {seed}"
        assert (found.scope.rows_expected, found.scope.rows_actual) == (len(expected), len(actual))
        bucketed += "checksums" in found.scope.reason
    assert bucketed > 30


def test_whole_tables_are_compared_in_parts(
    database: Database, other: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cross_engine, "_PART", 8_000)
    for one in (database, other):
        one.run(f"create table t as {MANY}", "analyze t")
    database.run("update t set s = s || '!' where id > 3", "delete from t where id = 2")
    found = compared(postgres(other, "t"), postgres(database, "t"))

    assert found.drift == Drift(missing=1, changed=29_997)
    assert found.columns == {"s": 29_997}
    assert (found.scope.rows_expected, found.scope.rows_actual, found.scope.settled) == (30_000, 29_999, 0)
    assert found.scope.reason.startswith("every row of both sides was compared")
    assert len(found.samples) == 100


def test_change_in_flight_between_databases_is_no_drift(database: Database, other: Database) -> None:
    for one in (database, other):
        one.run("create table t as select n as id, n as v from generate_series(1, 12000) n", "analyze t")
    database.run("update t set v = -1 where id in (5, 6, 7)", "insert into t values (13000, 1)")
    other.run("update t set v = -9 where id = 8")

    def catch_up() -> None:
        other.run("update t set v = -1 where id in (5, 6, 7)", "insert into t values (13000, 1)")
        database.run("update t set v = 0 where id = 9")  # a new change on its way: it did not differ before

    found = compared(postgres(database, "t"), postgres(other, "t"), wait=catch_up)
    assert found.drift == Drift(changed=1)
    assert [sample.key for sample in found.samples] == [{"id": "8"}]
    assert found.scope.settled == 4
    assert "rows that differed were compared again, 4 settled" in found.scope.reason

    other.run("update t set v = id where id = 8", "update t set v = 0 where id = 9")
    assert compared(postgres(database, "t"), postgres(other, "t")).scope.settled is None
