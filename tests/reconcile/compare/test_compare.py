"""Every kind of difference, and every kind of trap in which other tools say "same" or "different" wrongly."""

from __future__ import annotations

import threading

import psycopg
import pytest

from reconcile.engines.postgres import PostgresEngine
from reconcile.errors import EvaluationFailed, NotComparable
from reconcile.report.model import Cell, Drift
from tests.conftest import Database
from tests.reconcile.conftest import Tables

NULL = "null"
QUOTED = "'{}"
pytestmark = pytest.mark.lake


def test_equal_tables_are_level_and_move_no_rows(tables: Tables) -> None:
    rows = [(1, "'a'"), (2, NULL), (3, "''")]
    tables.make("id integer, v varchar", rows, list(reversed(rows)))
    found = tables.judge("id")

    assert found.drift == Drift()
    assert found.samples == ()
    assert (found.rows_expected, found.rows_actual) == (3, 3)


def test_each_kind_is_counted_by_key_and_column(tables: Tables) -> None:
    tables.make(
        "id integer, v varchar, w integer",
        [(1, "'a'", 1), (2, "'b'", 2), (3, "'c'", 3), (4, "'d'", 4)],
        [(1, "'a'", 1), (2, "'B'", 2), (3, "'C'", 33), (9, "'x'", 9)],
    )
    found = tables.judge("id")

    assert found.drift == Drift(missing=1, extra=1, changed=2)
    assert found.columns == {"v": 2, "w": 1}
    assert [(s.kind, s.key) for s in found.samples] == [
        ("changed", {"id": "2"}),
        ("changed", {"id": "3"}),
        ("missing", {"id": "4"}),
        ("extra", {"id": "9"}),
    ]
    assert found.samples[1].columns == {"v": Cell("c", "C"), "w": Cell("3", "33")}
    assert found.samples[3].columns == {"v": Cell(None, "x"), "w": Cell(None, "9")}


@pytest.mark.parametrize(
    ("kind", "left", "right"),
    [
        ("varchar", "''", NULL),
        ("varchar", "'NULL'", NULL),
        ("varchar", "'a '", "'a'"),
        ("varchar", "'é'", "'e\u0301'"),  # NFC and NFD look the same
        ("varchar", "'A'", "'a'"),
        ("bigint", "9007199254740992", "9007199254740993"),  # 2^53 and its neighbour
        ("numeric(38, 10)", "1234567890123456789012345678.0000000001", "1234567890123456789012345678.0000000002"),
        ("double precision", "0.1::float8 + 0.2::float8", "0.3::float8"),
        ("double precision", "'nan'::float8", NULL),
        ("double precision", "'nan'::float8", "1.0"),
        ("double precision", "'inf'::float8", "'-inf'::float8"),
        ("timestamp", "'2026-01-01 00:00:00.000001'", "'2026-01-01 00:00:00'"),
        ("timestamp", "'infinity'", NULL),
        ("timestamp with time zone", "'2026-01-01 00:00:00+00'", "'2026-01-01 00:00:00+01'"),
        ("interval", "'1 month'", "'30 days'"),  # equal to SQL, different to a reader
        ("boolean", "false", NULL),
        ("date", "'2026-01-01'", "'2026-01-02'"),
        ("uuid", "'00000000-0000-0000-0000-000000000001'", "'00000000-0000-0000-0000-000000000002'"),
        ("integer[]", "'{1,2}'", "'{2,1}'"),
        ("varchar[]", "'{a}'", NULL),
        ("json", """'{"a": 1}'""", """'{"a": 2}'"""),
    ],
)
def test_values_that_look_equal_are_distinguished(tables: Tables, kind: str, left: str, right: str) -> None:
    if tables.kind == "duckdb":
        left, right = left.replace("'{", "'[").replace("}'", "]'"), right.replace("'{", "'[").replace("}'", "]'")
        if kind == "json":
            left, right = left.replace("[", "{").replace("]", "}"), right.replace("[", "{").replace("]", "}")
    if tables.kind == "sail" and (kind in ("interval", "json") or "infinity" in left):
        with pytest.raises(EvaluationFailed):  # Delta has no such type or value
            tables.make(f"id integer, v {kind}", [(1, left)], [(1, right)])
        return
    if tables.kind == "sail" and kind.endswith("[]"):
        of = "'{}'" if kind.startswith("varchar") else "{}"
        left, right = (
            NULL if value == NULL else f"array[{', '.join(of.format(v) for v in value.strip(QUOTED).split(','))}]"
            for value in (left, right)
        )
    tables.make(f"id integer, v {kind}", [(1, left), (2, NULL)], [(1, right), (2, NULL)])
    found = tables.judge("id")

    assert found.drift == Drift(changed=1)
    assert found.columns == {"v": 1}


@pytest.mark.parametrize(
    ("kind", "left", "right"),
    [
        ("numeric", "1.0", "1.00"),
        ("double precision", "'nan'::float8", "'nan'::float8"),
        ("double precision", "0.0", "-0.0"),  # equal values, as the engine's own = has it
        ("timestamp with time zone", "'2026-01-01 00:00:00+00'", "'2026-01-01 01:00:00+01'"),
    ],
)
def test_equal_values_in_other_spellings_are_level(tables: Tables, kind: str, left: str, right: str) -> None:
    tables.make(f"id integer, v {kind}", [(1, left)], [(1, right)])

    assert tables.judge("id").drift == Drift()


def test_bytes_and_long_values_are_compared_whole(tables: Tables) -> None:
    long_one = "repeat('x', 2000000) || '{}'"
    blob = "'\\x00ff'::bytea" if tables.kind == "postgres" else "'\\x00\\xFF'::blob"
    tables.make(
        f"id integer, v varchar, b {'bytea' if tables.kind == 'postgres' else 'blob'}",
        [(1, long_one.format("a"), blob)],
        [(1, long_one.format("b"), blob)],
    )
    found = tables.judge("id")

    assert found.columns == {"v": 1}
    assert len(found.samples[0].columns["v"].expected or "") == 2_000_001


def test_separators_in_composite_keys_do_not_collide(tables: Tables) -> None:
    tables.make("a varchar, b varchar, v integer", [("'x|y'", "'z'", 1)], [("'x'", "'y|z'", 1)])

    assert tables.judge("a", "b").drift == Drift(missing=1, extra=1)


def test_a_duplicated_row_is_found_though_its_copies_are_equal(tables: Tables) -> None:
    tables.make("id integer, v integer", [(1, 1), (2, 2)], [(1, 1), (2, 2), (2, 2)])
    found = tables.judge("id")

    assert found.drift == Drift(duplicate=1)
    assert (found.rows_expected, found.rows_actual) == (2, 3)
    assert [(s.kind, s.key) for s in found.samples] == [("duplicate", {"id": "2"})]


def test_a_pair_of_duplicates_does_not_cancel(tables: Tables) -> None:
    tables.make("id integer, v integer", [(1, 1), (2, 2)], [(1, 1), (2, 2), (3, 3), (3, 3)])

    assert tables.judge("id").drift == Drift(duplicate=1)


def test_a_key_that_the_definition_itself_yields_twice_is_found(tables: Tables) -> None:
    tables.make("id integer, v integer", [(1, 1), (1, 2), (5, 5), (5, 6)], [(1, 1)])
    found = tables.judge("id")

    assert found.drift == Drift(duplicate=2)
    assert (found.rows_expected, found.rows_actual) == (4, 1)


def test_equal_duplicates_on_both_sides_are_level(tables: Tables) -> None:
    rows = [(1, 1), (1, 2), (1, 2)]
    tables.make("id integer, v integer", rows, rows[::-1])

    assert tables.judge("id").drift == Drift()


def test_duplicates_do_not_hide_other_differences(tables: Tables) -> None:
    tables.make("id integer, v integer", [(1, 1), (2, 2), (3, 3)], [(1, 1), (1, 9), (2, 22), (4, 4)])
    found = tables.judge("id")

    assert found.drift == Drift(duplicate=1, changed=1, missing=1, extra=1)
    assert found.columns == {"v": 1}


def test_null_keys_are_compared_as_rows(tables: Tables) -> None:
    tables.make("id integer, v integer", [(NULL, 1), (NULL, 2), (1, 1)], [(NULL, 1), (NULL, 3), (1, 1)])
    assert tables.judge("id").drift == Drift(null_key=1)

    tables.make("id integer, v integer", [(NULL, 1), (1, 1)], [(NULL, 1), (1, 1)])
    assert tables.judge("id").drift == Drift()


def test_a_null_part_of_a_composite_key_is_a_null_key(tables: Tables) -> None:
    tables.make("a integer, b integer, v integer", [(1, NULL, 1)], [(1, NULL, 2)])

    assert tables.judge("a", "b").drift == Drift(null_key=1)


def test_without_a_key_rows_are_compared_as_a_multiset(tables: Tables) -> None:
    tables.make("v integer, w varchar", [(1, NULL), (1, NULL), (2, "'b'")], [(1, NULL), (3, "'c'"), (3, "'c'")])
    found = tables.judge()

    assert found.drift == Drift(missing=2, extra=2)
    assert (found.rows_expected, found.rows_actual) == (3, 3)


def test_columns_on_one_side_and_types_that_do_not_match_are_named(tables: Tables) -> None:
    tables.run(
        "create table expected (id integer, a integer, b integer, c integer)",
        "create table actual (c bigint, id integer, a integer, d integer)",
        "insert into expected values (1, 1, 1, 1)",
        "insert into actual values (1, 1, 1, 1)",
    )
    found = tables.judge("id")

    assert found.drift == Drift(schema=3)
    assert [(c.column, c.problem) for c in found.schema_changes] == [("b", "missing"), ("c", "type"), ("d", "extra")]


def test_another_order_of_columns_is_no_difference(tables: Tables) -> None:
    tables.run(
        "create table expected as select 1 as id, 2 as a, 3 as b",
        "create table actual as select 3 as b, 1 as id, 2 as a",
    )
    assert tables.judge("id").drift == Drift()


def test_odd_names_are_quoted(tables: Tables) -> None:
    columns = '"select" integer, "Mixed Case" integer, "a""b" integer, "größe;--" integer'
    tables.make(columns, [(1, 2, 3, 4)], [(1, 2, 3, 5)])
    found = tables.judge("select")

    assert found.columns == {"größe;--": 1}
    assert found.samples[0].key == {"select": "1"}


def test_a_key_that_is_not_there_is_an_error_with_the_columns_that_are(tables: Tables) -> None:
    tables.make("id integer, v integer", [(1, 1)], [(1, 1)])

    with pytest.raises(NotComparable, match="'nope' is not in the definition: its columns are id, v"):
        tables.judge("nope")


def test_tolerance_and_ignored_columns(tables: Tables) -> None:
    tables.make(
        "id integer, x double precision, y double precision, z integer",
        # Sail 0.7 reads a NaN as 1.0 where a file's other values all are 1.0
        [(1, 1.0, 1.0, 1), (2, 1.5, NULL, 1), (3, "'nan'::float8", 1.0, 1)],
        [(1, 1.05, 1.0, 2), (2, 1.7, 0.0, 3), (3, 1.0, 1.0, 4)],
    )
    found = tables.judge("id", tolerance={"x": 0.1, "y": 0.1}, ignore=frozenset({"z"}))

    assert found.columns == {"x": 2, "y": 1}  # a NULL or a NaN is within no tolerance


def test_counts_are_exact_and_samples_are_capped(tables: Tables) -> None:
    tables.make("id integer, v integer", [(n, n) for n in range(1, 5001)], [(n, n + 1) for n in range(1, 5001)])
    found = tables.judge("id", samples=7)

    assert found.drift == Drift(changed=5000)
    assert len(found.samples) == 7
    assert found.truncated


def test_an_empty_table_lacks_every_row(tables: Tables) -> None:
    tables.make("id integer, v integer", [(i, i) for i in range(1, 8)], [])

    assert tables.judge("id").drift == Drift(missing=7)


def test_a_wide_table_is_compared_column_by_column(tables: Tables) -> None:
    names = [f"c{i}" for i in range(300)]
    columns = ", ".join(["id integer", *(f"{name} integer" for name in names)])
    row = [1, *range(300)]
    tables.make(columns, [tuple(row)], [tuple([*row[:-1], 999])])

    assert tables.judge("id").columns == {"c299": 1}


def test_a_writer_that_commits_all_along_causes_no_false_drift(database: Database) -> None:
    """Both sides are read in one snapshot: what is written to both in one transaction is never seen in one only."""
    database.run(
        "create table expected as select n as id, 0 as v from generate_series(1, 2000) n",
        "create table actual as select * from expected",
    )
    stop = threading.Event()
    commits = 0

    def write() -> None:
        nonlocal commits
        with psycopg.connect(database.conninfo) as connection:
            while not stop.is_set():
                for name in ("expected", "actual"):
                    connection.execute(f"update {name} set v = v + 1 where id % 97 = {commits % 97}")
                connection.commit()
                commits += 1

    writer = threading.Thread(target=write)
    writer.start()
    engine = PostgresEngine(database.conninfo)
    try:
        found = [Tables(engine, "postgres").judge("id").drift for _ in range(100)]
    finally:
        stop.set()
        writer.join()
        engine.close()

    assert set(found) == {Drift()}
    assert commits > 20  # it did write beside us, busy machine or not
