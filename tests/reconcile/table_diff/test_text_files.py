"""csv and json files are texts: a value that a cast would round or cut is different, whatever the other side's type."""

from __future__ import annotations

import gzip
import io
import json
import sys
from collections.abc import Callable
from decimal import Decimal, localcontext
from pathlib import Path

import duckdb
import pyarrow
import pyarrow.parquet
import pytest

from reconcile.errors import ReconcileError
from reconcile.report.model import Cell, Drift, Verdict
from reconcile.table_diff.text_files import Dialect
from tests.conftest import Database
from tests.support.diffs import compared, duck, postgres

# type, value in the table, texts that are exactly this value, texts that a cast would turn into it
VALUES = [
    ("integer", "5", ["5", "05", "5.0", "5e0", " 5"], ["5.4", "4.6", "5.0000000001", "five"]),
    ("bigint", "9007199254740993", ["9007199254740993"], ["9007199254740992", "9007199254740993.2"]),
    ("numeric(12,2)", "1.50", ["1.50", "1.5", "1.500", "15e-1", "+1.5"], ["1.504", "1.496", "1,50"]),
    ("numeric(38,20)", "0.12345678901234567890", ["0.1234567890123456789"], ["0.123456789012345678901"]),
    ("double precision", "0.1", ["0.1", "0.10", "1e-1", "0.10000000000000001"], ["0.100000000000000006", "0.10000001"]),
    ("double precision", "9007199254740992", ["9007199254740992", "9007199254740992.0"], ["9007199254740993"]),
    ("real", "0.1", ["0.1", "0.100000001"], ["0.1000000014"]),
    ("boolean", "true", ["true", "t", "TRUE"], ["2", "truee"]),
    ("date", "2026-07-01", ["2026-07-01", "2026-07-01 00:00:00"], ["2026-07-01 13:45", "2026-07-01 00:00:00+05"]),
    ("date", "0044-03-15 BC", ["0044-03-15 BC", "0044-03-15 (BC)"], ["0044-03-15"]),
    (
        "timestamp",
        "2026-07-01 10:00:00.123456",
        ["2026-07-01 10:00:00.123456", "2026-07-01T10:00:00.123456000"],
        ["2026-07-01 10:00:00.1234561", "2026-07-01 10:00:00.123456+05", "2026-07-01 10:00:00.123456Z"],
    ),
    (
        "timestamp with time zone",
        "2026-07-01 10:00:00+00",
        ["2026-07-01 10:00:00+00", "2026-07-01T15:00:00+05:00", "2026-07-01 10:00:00Z", "2026-07-01 10:00:00 UTC"],
        ["2026-07-01 10:00:00", "2026-07-01 10:00:00.0000001+00", "2026-07-01 10:00:00+05"],
    ),
    ("time", "10:00:00", ["10:00:00", "10:00"], ["10:00:00.0000001", "10:00:00+05"]),
    ("uuid", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", ["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"], ["a0eebc99"]),
    ("varchar", "5", ["5"], ["5.0", "05", " 5", "5 "]),
]


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("engine", ["postgres", "duckdb"])
def test_a_text_equals_only_what_it_is_exactly(engine: str, database: Database, tmp_path: Path) -> None:
    """Every text against every type in one diff: one column per type, one row per text."""
    era = [
        (kind, value, right, wrong) for kind, value, right, wrong in VALUES if engine == "postgres" or "BC" not in value
    ]
    columns = ", ".join(f"c{i} {kind}" for i, (kind, *_) in enumerate(era))
    rows, lines, expected = [], ["id," + ",".join(f"c{i}" for i in range(len(era)))], {}
    for i, (_, value, exact, inexact) in enumerate(era):
        for text in [*exact, *inexact]:
            cells = ["null"] * len(era)
            cells[i] = f"'{value}'"
            rows.append(f"({len(rows)}, {', '.join(cells)})")
            quoted = f'"{text}"' if "," in text else text
            lines.append(",".join([str(len(rows) - 1), *(quoted if j == i else "" for j in range(len(era)))]))
            if text in inexact:
                expected[str(len(rows) - 1)] = (f"c{i}", text)
    make = (f"create table t (id integer, {columns})", f"insert into t values {', '.join(rows)}")
    if engine == "postgres":
        database.run(*make)
        table = postgres(database, "t")
    else:
        table = f"duckdb:{duck(tmp_path / 'd.duckdb', *make)}#t"
    file = write(tmp_path / "t.csv", *lines)

    for pair in ((table, file), (file, table)):
        found = compared(*pair)
        assert {sample.key["id"] for sample in found.samples} == set(expected), [
            (s.key, s.columns) for s in found.samples if s.key["id"] not in expected
        ]
        assert found.drift == Drift(changed=len(expected))
        assert {s.key["id"]: next(iter(s.columns)) for s in found.samples} == {k: c for k, (c, _) in expected.items()}
    records = [dict(zip(lines[0].split(","), line.split(","), strict=False)) for line in lines[1:] if '"' not in line]
    jsonl = write(tmp_path / "t.jsonl", *(json.dumps({k: v for k, v in r.items() if v}) for r in records))
    assert compared(table, jsonl).drift.changed == len(expected) - sum('"' in line for line in lines)


def test_a_differing_value_is_named_with_its_line(database: Database, tmp_path: Path) -> None:
    database.run("create table t (id integer, v integer, s text)", "insert into t values (1, 5, 'a'), (2, 7, 'b')")
    file = write(tmp_path / "t.csv", "id,v,s", '1,5,"a', 'b"', "2,7.4,b", "3,1,c")
    found = compared(postgres(database, "t"), file)

    assert found.drift == Drift(changed=2, extra=1)
    assert found.samples[1].columns == {"v": Cell("7", "7.4")}
    assert found.hints == (
        f"{file} line 2 (id 1): s",
        f"{file} line 4 (id 2): v is '7.4', which is not exactly a value of INTEGER",
        f"{file} line 5 (id 3): extra",
    )
    records = write(tmp_path / "t.jsonl", '{"id": 1, "v": 5, "s": "a"}', '{"id": 2, "v": 7.0000001, "s": "b"}')
    assert compared(postgres(database, "t"), records).hints == (
        f"{records} record 2 (id 2): v is '7.0000001', which is not exactly a value of INTEGER",
    )


def test_keys_are_exact_too(database: Database, tmp_path: Path) -> None:
    database.run("create table t (id integer, v text)", "insert into t values (1, 'a'), (2, 'b')")
    file = write(tmp_path / "t.csv", "id,v", "1.4,a", "2,b", ",c")

    assert compared(postgres(database, "t"), file).drift == Drift(missing=1, extra=1, null_key=1)


def test_no_row_and_no_type_is_guessed_from_values(tmp_path: Path) -> None:
    """Rows that begin with #, and integers for many rows before the first fraction."""
    many = [f"{i},{i}" for i in range(30_000)]
    left = write(tmp_path / "a.csv", "id,v", "#1,x", *many, "x,0.5")
    right = write(tmp_path / "b.csv", "id,v", *many, "x,0.7")
    found = compared(left, right)

    assert (found.drift, found.scope.rows_expected) == (Drift(missing=1, changed=1), 30_002)
    assert compared(left, left).verdict is Verdict.LEVEL


def test_null_empty_and_quoted_texts_differ(tmp_path: Path) -> None:
    table = duck(
        tmp_path / "d.duckdb", "create table t (id int, v text)", "insert into t values (1, null), (2, ''), (3, 'NULL')"
    )
    file = write(tmp_path / "t.csv", "id,v", "1,", '2,""', "3,NULL")
    assert compared(f"duckdb:{table}#t", file).verdict is Verdict.LEVEL
    named = write(tmp_path / "n.csv", "id,v", "1,NULL", "2,", '3,"NULL"')
    assert compared(f"duckdb:{table}#t", named, dialect=Dialect(null_text="NULL")).verdict is Verdict.LEVEL
    assert compared(f"duckdb:{table}#t", named).drift == Drift(changed=2)


@pytest.mark.parametrize(
    ("text", "encoding", "said"),
    [
        ("id;v\n1;a,b\n2;ü\n", "utf-8", "delimiter semicolon, 2 records"),
        ("id\tv\r\n1\ta,b\r\n2\tü\r\n", "utf-8-sig", "byte order mark, encoding utf-8, delimiter tab, 2 records"),
        ('id,v\r1,"a,b"\r2,ü\r', "utf-8", ": 2 records"),
        ('id,v\n1,"a,b"\r\n2,ü', "utf-16", "byte order mark, encoding utf-16, 2 records"),
        ('id,v\n1,"a,b"\n2,ü\n\n\n', "latin-1", "encoding latin-1, 2 records"),
    ],
)
def test_dialects_are_recognised_and_reported(text: str, encoding: str, said: str, tmp_path: Path) -> None:
    plain = write(tmp_path / "plain.csv", "id,v", '1,"a,b"', "2,ü")
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    dialect = Dialect(encoding="latin-1") if encoding == "latin-1" else Dialect()
    left = (
        plain if encoding != "latin-1" else duck(tmp_path / "d.duckdb", f"create table t as from read_csv('{plain}')")
    )
    found = compared(plain if left is plain else f"duckdb:{left}#t", tmp_path / "t.csv", dialect=dialect)

    assert found.verdict is Verdict.LEVEL, found.samples
    assert said in found.scope.reason


def test_line_breaks_inside_values_are_kept(tmp_path: Path) -> None:
    values = ["a\nb", "a\r\nb", "a\rb", 'q"q', "", "\u2028", "a\x00b", " a ", "\ufeff", "x" * 3_000_000]
    table = tmp_path / "d.duckdb"
    with duckdb.connect(str(table)) as connection:
        connection.execute("create table t (id int, v text)")
        connection.executemany("insert into t values ($1, $2)", list(enumerate(values)))
    lines = [f'{i},"{value.replace(chr(34), chr(34) * 2)}"' for i, value in enumerate(values)]
    for ending in ("\n", "\r\n"):
        (tmp_path / "t.csv").write_bytes(ending.join(["id,v", *lines, ""]).encode())
        assert compared(f"duckdb:{table}#t", tmp_path / "t.csv").verdict is Verdict.LEVEL
    write(tmp_path / "t.jsonl", *(json.dumps({"id": i, "v": value}) for i, value in enumerate(values)))
    assert compared(f"duckdb:{table}#t", tmp_path / "t.jsonl").verdict is Verdict.LEVEL


def test_packed_files_patterns_and_stdin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = write(tmp_path / "whole.csv", "id,v", "1,a", "2,b")
    (tmp_path / "g.csv.gz").write_bytes(gzip.compress(whole.read_bytes()))
    write(tmp_path / "part-1.csv", "id,v", "1,a")
    write(tmp_path / "part-2.csv", "id,v", "2,b")
    assert compared(whole, tmp_path / "g.csv.gz").verdict is Verdict.LEVEL
    found = compared(whole, tmp_path / "part-*.csv")
    assert (found.verdict, found.scope.rows_actual) == (Verdict.LEVEL, 2)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(whole.read_bytes())))
    assert compared(whole, "-").verdict is Verdict.LEVEL
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"id": 1, "v": "a"}\n{"id": "2", "v": "b"}')))
    assert compared(whole, "-").verdict is Verdict.LEVEL


@pytest.mark.parametrize("suffix", ["csv", "parquet", "jsonl"])
def test_a_pattern_that_is_a_file_name_is_that_file(suffix: str, tmp_path: Path) -> None:
    for name, value in (("a[b]", 1), ("ab", 2), ("x*", 1), ("xy", 2), ("q?", 1), ("qq", 2)):
        plain = tmp_path / f"plain.{suffix}"
        kind = {"csv": "header", "parquet": "format parquet", "jsonl": "format json"}[suffix]
        duckdb.execute(f"copy (select 1 as id, {value} as v) to '{plain}' ({kind})")
        plain.rename(tmp_path / f"{name}.{suffix}")
    one = tmp_path / f"a[b].{suffix}"
    assert compared(one, tmp_path / f"x*.{suffix}").verdict is Verdict.LEVEL
    assert compared(one, tmp_path / f"q?.{suffix}").verdict is Verdict.LEVEL
    assert compared(one, tmp_path / f"xy.{suffix}").drift == Drift(changed=1)


def test_json_numbers_keep_every_digit(tmp_path: Path) -> None:
    left = write(tmp_path / "a.jsonl", '{"id": 1, "v": 123456789012345678901234567890, "w": 0.12345678901234567890}')
    right = write(tmp_path / "b.jsonl", '{"id": 1, "v": 123456789012345678901234567891, "w": 0.12345678901234567891}')
    assert list(compared(left, right).columns) == ["v", "w"]
    table = duck(
        tmp_path / "d.duckdb",
        "create table t as select 1 as id, 123456789012345678901234567890::hugeint as v,"
        " 0.1234567890123456789::decimal(38, 20) as w",
    )
    assert compared(f"duckdb:{table}#t", left).verdict is Verdict.LEVEL
    assert compared(f"duckdb:{table}#t", right).drift == Drift(changed=1)


def test_json_values_compare_by_value(database: Database, tmp_path: Path) -> None:
    table = duck(
        tmp_path / "d.duckdb",
        "create table t as select 1 as id, {'b': 1.50, 'a': [1, 2]} as s, [1, 2] as l,"
        """ '{"x": 1, "y": [ ]}'::json as j""",
    )
    file = write(tmp_path / "t.json", '[{"id": 1, "s": {"a": [1, 2], "b": 1.5}, "l": [1,2], "j": {"y": [], "x": 1.0}}]')
    assert compared(f"duckdb:{table}#t", file).verdict is Verdict.LEVEL
    database.run("create table t (id int, j jsonb)", """insert into t values (1, '{"yy": [], "x": 1}')""")
    other = duck(
        tmp_path / "o.duckdb", "create table t (id int, j json)", """insert into t values (1, '{"x":1,"yy":[]}')"""
    )
    assert compared(postgres(database, "t"), f"duckdb:{other}#t").verdict is Verdict.LEVEL
    database.run("""update t set j = '{"yy": [], "x": 10000000000000001}'""")
    with duckdb.connect(str(other)) as connection:
        connection.execute("""update t set j = '{"x":10000000000000002,"yy":[]}'""")
    assert compared(postgres(database, "t"), f"duckdb:{other}#t").drift == Drift(changed=1)


def test_unbounded_numeric_compares_outside_its_server(database: Database, other: Database, tmp_path: Path) -> None:
    database.run("create table t as select n as id, (n * 1.50)::numeric as v from generate_series(1, 20) n")
    other.run("create table t as select n as id, (n * 1.5)::numeric(20, 6) as v from generate_series(1, 20) n")
    file = write(tmp_path / "t.csv", "id,v", *(f"{i},{i * 1.5:.2f}" for i in range(1, 21)))
    parquet = tmp_path / "t.parquet"
    duckdb.execute(f"copy (select n::int as id, (n * 1.5)::decimal(12, 3) as v from range(1, 21) t(n)) to '{parquet}'")
    for right in (postgres(other, "t"), file, parquet):
        assert compared(postgres(database, "t"), right).verdict is Verdict.LEVEL
        assert compared(right, postgres(database, "t")).verdict is Verdict.LEVEL
    database.run("update t set v = v + 0.00000000000000000000000001 where id = 7")
    for right in (postgres(other, "t"), file, parquet):
        assert compared(postgres(database, "t"), right).drift == Drift(changed=1)


def test_a_cast_compares_keys_of_different_types(database: Database, other: Database, tmp_path: Path) -> None:
    database.run(
        "create table t (id bigint, u uuid)", "insert into t select n, gen_random_uuid() from generate_series(1, 9) n"
    )
    rows = database.rows("select id, u from t order by id")
    other.run("create table t (id text, u text)")
    other.run(*(f"insert into t values ('0{i}', upper('{u}'))" for i, u in rows))
    database.run("create table s as select id::text as id, u::text as u from t")
    left, right = postgres(database, "t"), postgres(other, "t")
    with pytest.raises(ReconcileError, match="key column id is"):
        compared(left, right)
    casts = {"id": "bigint", "u": "uuid"}
    assert compared(left, right, casts=casts).verdict is Verdict.LEVEL
    assert compared(left, postgres(database, "s"), casts=casts).verdict is Verdict.LEVEL
    other.run("update t set id = '1.4' where id = '01'")
    assert compared(left, right, casts=casts).drift == Drift(missing=1, extra=1)
    assert compared(left, right, key="u", columns=("id",), casts=casts).drift == Drift(changed=1)
    with pytest.raises(ReconcileError, match="there is no type 'bigit'"):
        compared(left, right, casts={"id": "bigit"})


def test_dates_before_christ_keep_their_era(database: Database, other: Database) -> None:
    for one, year in ((database, "0044-03-15 BC"), (other, "0044-03-15")):
        one.run(
            "create table t (id int, d date, ts timestamp, tz timestamptz)",
            f"insert into t values (1, '{year}', '{year}', '{year}'), (2, 'infinity', '-infinity', 'infinity')",
        )
    found = compared(postgres(database, "t"), postgres(other, "t"))
    assert (found.drift, set(found.columns)) == (Drift(changed=1), {"d", "ts", "tz"})


def test_tolerance_keeps_large_numbers_exact(tmp_path: Path) -> None:
    left = write(tmp_path / "a.csv", "id,v", "1,9007199254740993", "2,1.0", "3,x")
    right = write(tmp_path / "b.csv", "id,v", "1,9007199254740992", "2,1.4", "3,y")
    assert compared(left, right, tolerance={"v": 0.5}).drift == Drift(changed=2)
    assert compared(left, right, tolerance={"v": 1.0}).drift == Drift(changed=1)


def test_where_keeps_rows_it_cannot_decide(database: Database, tmp_path: Path) -> None:
    database.run("create table t (id int, v int)", "insert into t values (1, 1), (2, 2), (5, 5)")
    file = write(tmp_path / "t.csv", "key,v", "1,1", "2,2.6", "3,3")
    found = compared(postgres(database, "t"), file, renamed={"key": "id"}, where="v < 3")
    assert found.drift == Drift(changed=1)


def cut(path: Path, data: bytes) -> Path:
    path.write_bytes(data[: len(data) * 2 // 3])
    return path


BAD: list[tuple[str, Callable[[Path], object], str]] = [
    ("empty.csv", lambda p: p.write_text(""), "has no header line"),
    ("open.csv", lambda p: p.write_text('id,v\n1,"a\n2,b\n'), "line 2: a double quote is never closed"),
    ("inner.csv", lambda p: p.write_text('id,v\n1,a\n2,b"c"\n'), "line 3: a double quote inside a field"),
    ("space.csv", lambda p: p.write_text('id,v\n1, "a"\n'), "line 2: a double quote inside a field"),
    ("short.csv", lambda p: p.write_text("id,v\n1\n"), "line 2 has 1 field, and the header has 2"),
    ("long.csv", lambda p: p.write_text('id,v\n1,"a",c\n'), "line 2 has 3 fields, and the header has 2"),
    ("blank.csv", lambda p: p.write_text("id,v\n\n1,a\n"), "line 2 is empty"),
    ("twice.csv", lambda p: p.write_text("id,v,V\n1,a,b\n"), "has the columns 'v' and 'V'"),
    ("latin.csv", lambda p: p.write_bytes("id,v\n1,ü\n".encode("latin-1")), "is not UTF-8 .*give its encoding"),
    ("half.csv.gz", lambda p: cut(p, gzip.compress(b"id,v\n" + bytes(range(48, 57)) * 999)), "is cut off or no gzip"),
    ("plain.csv.gz", lambda p: p.write_text("id,v\n"), "is cut off or no gzip file"),
    ("half.jsonl", lambda p: p.write_text('{"id": 1, "v": 2}\n{"id": 2, "v'), "record 2: not valid JSON"),
    ("half.json", lambda p: p.write_text('[{"id": 1, "v": 2},'), "record 1: the array is cut off"),
    ("list.jsonl", lambda p: p.write_text("[1]\n"), "record 1: not an object"),
    ("twice.jsonl", lambda p: p.write_text('{"id": 1, "id": 2}'), "record 1: a name occurs twice"),
    ("half.parquet", lambda p: p.write_bytes(b"PAR1abcd"), "cannot read .*half.parquet"),
    ("folder.csv", lambda p: p.mkdir(), "is a folder: name its files"),
    ("none*.csv", lambda p: None, "no file .*none"),
    ("no.duckdb#t", lambda p: None, "names no table"),
]


@pytest.mark.parametrize(("name", "make", "said"), BAD, ids=[name for name, *_ in BAD])
def test_a_bad_file_gives_one_sentence(name: str, make: Callable[[Path], object], said: str, tmp_path: Path) -> None:
    good = write(tmp_path / "good.csv", "id,v", "1,a")
    make(tmp_path / name)
    with pytest.raises(ReconcileError, match=said) as refused:
        compared(good, tmp_path / name)
    assert "\n" not in str(refused.value)


def test_unknown_columns_and_encodings_give_one_sentence(tmp_path: Path) -> None:
    good = write(tmp_path / "good.csv", "tweet_id,likes", "1,a")
    for more, said in (
        ({"key": "twet_id"}, "no column 'twet_id' of the key on LEFT .did you mean 'tweet_id'"),
        ({"ignore": ("Likes",)}, "did you mean 'likes'"),
        ({"casts": {"like": "int"}}, "no column 'like' to cast .did you mean 'likes'"),
        ({"dialect": Dialect(encoding="klingon")}, "--encoding klingon: unknown"),
        ({"dialect": Dialect(encoding="base64")}, "--encoding base64: unknown"),
    ):
        with pytest.raises(ReconcileError, match=said):
            compared(good, good, **{"key": "tweet_id", **more})  # type: ignore[arg-type]


def test_wide_parquet_decimals_are_refused_unless_ignored(tmp_path: Path) -> None:
    with localcontext() as context:
        context.prec = 80
        wide = pyarrow.array([Decimal("1234567890123456789012345678901234567890.1")], pyarrow.decimal256(60, 1))
    pyarrow.parquet.write_table(pyarrow.table({"id": [1], "d": wide}), tmp_path / "w.parquet")
    with pytest.raises(ReconcileError, match=r"column d holds decimals of more than 38 digits.*--ignore d"):
        compared(tmp_path / "w.parquet", tmp_path / "w.parquet")
    assert compared(tmp_path / "w.parquet", tmp_path / "w.parquet", ignore=("d",)).verdict is Verdict.LEVEL
