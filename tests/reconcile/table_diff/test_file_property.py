"""Random tables in Postgres or DuckDB against files in random dialects, judged by an oracle over the values' texts."""

from __future__ import annotations

import gzip
import json
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from reconcile.report.model import Drift
from reconcile.table_diff import cross_engine
from reconcile.table_diff.text_files import Dialect
from tests.conftest import Database
from tests.support.diffs import compared, duck, postgres

Row = dict[str, str | None]

# type -> a value's plain text, and other spellings of the same value
KINDS: dict[str, list[list[str]]] = {
    "integer": [["5", "5.0", "05"], ["-7", "-7e0"], ["0", "-0", "0.00"], ["2147483647"]],
    "numeric(14, 3)": [["1.5", "1.500", "15e-1"], ["-0.001"], ["12345678901.999"]],
    "double precision": [["0.1", "0.10000000000000001", "1e-1"], ["1e300", "1E+300"], ["0.30000000000000004"]],
    "boolean": [["true", "t", "TRUE"], ["false", "f"]],
    "date": [["2026-07-01", "2026-07-01 00:00:00"], ["0001-01-01"]],
    "timestamp": [["2026-07-01 10:00:00.5", "2026-07-01T10:00:00.500000"], ["1969-12-31 23:59:59"]],
    "text": [[""], ["NULL"], ["a,b"], ['q"q'], ["line\nbreak"], ["ü"], ["#x"], [" 5 "], [";\t|"], ["5"], ["5.0"]],
}
NEAR = {"integer": "5.4", "numeric(14, 3)": "1.5004", "double precision": "0.1000000000000000001", "boolean": "2"}
NEAR |= {"date": "2026-07-01 13:45", "timestamp": "2026-07-01 10:00:00.5000001", "text": "5.00"}


def value_of(kind: str, text: str | None) -> object:
    """The value that a text denotes: equal values, and no others, are equal."""
    if text is None:
        return None
    if text == NEAR[kind]:
        return ("inexact", text)
    if kind in ("integer", "numeric(14, 3)", "double precision"):
        value = float(text) if kind == "double precision" else Decimal(text)
        return value + 0
    return next((spelled[0] for spelled in KINDS[kind] if text in spelled), text) if kind != "text" else text


def expected(kinds: dict[str, str], left: list[Row], right: list[Row]) -> Drift:
    """The drift between rows with unique keys."""
    by_key = [{row["id"]: row for row in rows} for rows in (left, right)]
    changed = sum(
        any(
            value_of(kind, by_key[0][key][name]) != value_of(kind, by_key[1][key][name]) for name, kind in kinds.items()
        )
        for key in by_key[0].keys() & by_key[1].keys()
    )
    missing, extra = (len(one.keys() - other.keys()) for one, other in (by_key, by_key[::-1]))
    return Drift(missing=missing, extra=extra, changed=changed)


def write_file(random_: random.Random, path: Path, names: list[str], rows: list[Row]) -> tuple[Path, Dialect]:
    """The rows in a random format and dialect."""
    if random_.random() < 0.3:
        records: list[Any] = [
            {name: row[name] for name in names if i == 0 or row[name] is not None or random_.random() < 0.5}
            for i, row in enumerate(rows)  # a name that no record has is no column: the first has all
        ]
        lines = [json.dumps(record, ensure_ascii=random_.random() < 0.5) for record in records]
        array = random_.random() < 0.5 and records
        body = f"[{','.join(lines)}]" if array else "\n".join(lines) + "\n"
        file = path.with_suffix(".json" if array else ".jsonl")
        file.write_text(body, encoding="utf-8")
        return file, Dialect()
    delimiter, null = random_.choice(",;\t|"), random_.choice(["", "", "NULL", r"\N"])
    ending, encoding = random_.choice(["\n", "\r\n"]), random_.choice(["utf-8", "utf-8-sig", "utf-16", "cp1252"])

    def field(text: str | None) -> str:
        if text is None:
            return null
        plain = text not in ("", null) and not set(text) & {delimiter, '"', "\n", "\r"} and random_.random() < 0.5
        return text if plain else '"' + text.replace('"', '""') + '"'

    lines = [delimiter.join(field(row[name]) for name in names) for row in rows]
    body = ending.join([delimiter.join(names), *lines]) + random_.choice(["", ending])
    file = path.with_suffix(random_.choice([".csv", ".csv.gz"]))
    data = body.encode(encoding)
    file.write_bytes(gzip.compress(data) if file.suffix == ".gz" else data)
    given = encoding if encoding == "cp1252" or random_.random() < 0.3 else None
    return file, Dialect(random_.choice([delimiter, None]), given, null)


def random_sides(random_: random.Random) -> tuple[dict[str, str], list[Row], list[Row]]:
    kinds = {f"c{i}": random_.choice(list(KINDS)) for i in range(random_.randint(1, 5))}
    table: list[Row] = []
    for key in range(random_.randint(0, 12)):
        row: Row = {"id": str(key)}
        for name, kind in kinds.items():
            row[name] = None if random_.random() < 0.15 else random_.choice(KINDS[kind])[0]
        table.append(row)
    file = [dict(row) for row in table if random_.random() < 0.9]
    for row in file:
        for name, kind in kinds.items():
            text = row[name]
            if random_.random() < 0.1:
                row[name] = random_.choice([None, NEAR[kind], random_.choice(KINDS[kind])[0]])
            elif text is not None:
                row[name] = random_.choice(next(spelled for spelled in KINDS[kind] if spelled[0] == text))
    if random_.random() < 0.5:
        file.append({"id": "99", **{name: random_.choice(KINDS[kind])[0] for name, kind in kinds.items()}})
    return kinds, table, file


def literal(text: str | None) -> str:
    return "null" if text is None else "'" + text.replace("'", "''") + "'"


@pytest.mark.parametrize("engine", ["postgres", "duckdb"])
def test_files_agree_with_the_oracle(
    engine: str, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cross_engine, "_PART", 4)
    drifted = 0
    for seed in range(40):
        random_ = random.Random(seed)
        kinds, table, rows = random_sides(random_)
        columns = ", ".join(f"{name} {kind}" for name, kind in kinds.items())
        statements = ["drop table if exists t", f"create table t (id integer, {columns})"]
        if table:
            values = ", ".join(f"({', '.join(literal(row[n]) for n in ('id', *kinds))})" for row in table)
            statements.append(f"insert into t values {values}")
        if engine == "postgres":
            database.run(*statements)
            left = postgres(database, "t")
        else:
            left = f"duckdb:{duck(tmp_path / 'd.duckdb', *statements)}#t"
        random_.shuffle(rows)
        names = random_.sample(["id", *kinds], len(kinds) + 1)
        file, dialect = write_file(random_, tmp_path / f"f{seed}", names, rows)
        if not rows and file.suffix.startswith(".json"):
            continue  # a file without records has no columns
        found = compared(left, file, dialect=dialect)
        assert found.drift == expected(kinds, table, rows), (seed, file, dialect, found.samples)
        assert (found.scope.rows_expected, found.scope.rows_actual) == (len(table), len(rows))
        drifted += found.drift.any()
    assert 10 < drifted < 40
