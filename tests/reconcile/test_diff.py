"""reconcile diff between any two tables: in one server, between engines, and files."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import duckdb
import jsonschema
import pytest

from reconcile.diff import Asked, diff
from reconcile.errors import ReconcileError
from reconcile.project import Options
from reconcile.report import Cell, Drift, TableReport, Verdict
from tests.conftest import ROOT, Database, command

EXPORT = Path(__file__).parent.parent / "extract" / "series" / "x_analytics_content_2026.csv"


def compared(left: str | Path, right: str | Path, key: str = "id", **more: Any) -> TableReport:
    asked = Asked(str(left), str(right), tuple(filter(None, key.split(","))), **more)
    return diff(asked, Options()).tables[0]


def postgres(database: Database, table: str) -> str:
    return f"postgresql://postgres@/{database.name}?host={database.host}&port=5432#{table}"


def duck(path: Path, *statements: str) -> Path:
    with duckdb.connect(str(path)) as connection:
        for statement in statements:
            connection.execute(statement)
    return path


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


def test_in_one_server_the_tables_are_joined_there(database: Database) -> None:
    database.run(
        "create table l as select n as id, n as v from generate_series(1, 100) n",
        "create table r as select id, case when id = 7 then 0 else v end as v from l where id <> 8",
    )
    found = compared(postgres(database, "public.l"), postgres(database, "r"))

    assert found.drift == Drift(missing=1, changed=1)
    assert (found.name, found.scope.rows_expected, found.scope.rows_actual) == ("l", 100, 99)
    assert found.samples[0].columns == {"v": Cell("7", "0")}


def test_between_postgres_and_duckdb_every_value_keeps_itself(database: Database, tmp_path: Path) -> None:
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


def test_types_that_do_not_match_are_named_and_not_cast(database: Database, tmp_path: Path) -> None:
    database.run("create table t (id integer, v varchar, w integer)", "insert into t values (1, '1', 1)")
    file = duck(
        tmp_path / "d.duckdb", "create table t (id bigint, v integer, w smallint)", "insert into t values (1, 1, 1)"
    )
    found = compared(postgres(database, "t"), f"duckdb:{file}#t")

    assert [(c.column, c.problem) for c in found.schema_changes] == [("v", "type")]
    assert found.verdict is Verdict.DRIFT


def test_files_of_any_pair_of_kinds(tmp_path: Path) -> None:
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


def test_a_scraped_table_against_the_official_export(database: Database) -> None:
    """The first real use: what the scraper stored against what the platform says, by its own export."""
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


def test_where_narrows_both_sides(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,v\n1,1\n2,2\n3,3\n")
    (tmp_path / "b.csv").write_text("id,v\n1,1\n2,9\n4,4\n")

    assert compared(tmp_path / "a.csv", tmp_path / "b.csv", where="id < 2").verdict is Verdict.LEVEL
    assert compared(tmp_path / "a.csv", tmp_path / "b.csv").drift == Drift(missing=1, extra=1, changed=1)


def test_without_a_key_rows_are_a_multiset(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("v\n1\n1\n2\n")
    (tmp_path / "b.csv").write_text("v\n1\n2\n2\n")

    assert compared(tmp_path / "a.csv", tmp_path / "b.csv", key="").drift == Drift(missing=1, extra=1)


def test_two_empty_sides_are_not_level(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("id,v\n")

    assert compared(tmp_path / "a.csv", tmp_path / "b.csv").verdict is Verdict.UNVERIFIED


@pytest.mark.parametrize(
    ("left", "more", "said"),
    [
        ("nowhere", {}, "'nowhere' names no table: give a URL"),
        ("missing.csv", {}, "no file missing.csv"),
        ("duckdb:/no/such.duckdb#t", {}, "no DuckDB file /no/such.duckdb"),
        ("postgresql://u:secret@127.0.0.1:1/db", {}, r"u:\*\*\*@127.0.0.1:1/db names a database and no table"),
        ("{tmp}/a.csv", {"key": "nope"}, "key column 'nope' is not in the definition"),
        ("{tmp}/a.csv", {"ignore": ("nope",)}, "no column 'nope' on either side"),
        ("{tmp}/a.csv", {"renamed": {"nope": "id"}}, "no column 'nope' to rename"),
        ("{tmp}/broken.csv", {}, "(?i)line|CSV"),
    ],
)
def test_what_cannot_be_compared_is_a_sentence(tmp_path: Path, left: str, more: dict[str, Any], said: str) -> None:
    (tmp_path / "a.csv").write_text("id,v\n1,1\n")
    (tmp_path / "broken.csv").write_text('id,v\n1,1\n2,"never closed\n3,3\n' * 3)
    with pytest.raises(ReconcileError, match=said):
        compared(left.replace("{tmp}", str(tmp_path)), tmp_path / "a.csv", **more)


def test_on_the_command_line(tmp_path: Path) -> None:
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
