"""Random tables and mutations against a slow, obvious oracle in Python; and the same report whatever the order."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from typing import Any

import pytest

from reconcile.compare import key_ranges as pieces
from reconcile.report.model import Drift
from tests.reconcile.conftest import Tables

CASES = 500  # an engine
pytestmark = pytest.mark.lake
Row = tuple[Any, ...]

_VALUES = {
    "integer": [0, 1, 2, -7, 2147483647],
    "bigint": [9007199254740992, 9007199254740993, 0],
    "varchar": ["", "a", "A", "a ", "NULL", "é", "e\u0301", "x|y", "'", '"', "\n"],
    "numeric(20, 6)": ["0.000001", "1.5", "12345678901234.000001"],
    "boolean": [True, False],
    "timestamp": ["2026-01-01 00:00:00", "2026-01-01 00:00:00.000001"],
}


def literal(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else str(value)


def random_case(seed: int) -> tuple[list[str], int, list[Row], list[Row]]:
    """Column types (the first ``n_key`` are the key), expected rows, actual rows."""
    r = random.Random(seed)
    n_key = r.choice([0, 1, 1, 1, 2])
    key_types = [r.choice(["integer", "varchar", "bigint"]) for _ in range(n_key)]
    types = key_types + [r.choice(list(_VALUES)) for _ in range(r.randint(1, 4))]

    def row() -> Row:
        return tuple(None if r.random() < 0.12 else r.choice(_VALUES[kind]) for kind in types)

    expected = [row() for _ in range(r.randint(0, 14))]
    if r.random() < 0.7 and n_key:  # mostly unique keys, as real tables have
        expected = list({one[:n_key]: one for one in expected}.values())
    actual = list(expected)
    for _ in range(r.choice([0, 0, 1, 2, 5])):
        action = r.choice(["delete", "insert", "change", "copy"])
        if action == "insert":
            actual.append(row())
        elif actual and action == "delete":
            actual.pop(r.randrange(len(actual)))
        elif actual and action == "copy":
            actual.append(r.choice(actual))
        elif actual:
            i, j = r.randrange(len(actual)), r.randrange(len(types))
            changed = list(actual[i])
            changed[j] = None if r.random() < 0.2 else r.choice(_VALUES[types[j]])
            actual[i] = tuple(changed)
    r.shuffle(actual)
    return types, n_key, expected, actual


def oracle(n_key: int, expected: list[Row], actual: list[Row]) -> Drift:
    if n_key == 0:
        left, right = Counter(expected), Counter(actual)
        return Drift(missing=sum((left - right).values()), extra=sum((right - left).values()))
    sides: tuple[dict[Row, list[Row]], dict[Row, list[Row]]] = (defaultdict(list), defaultdict(list))
    nulls: tuple[Counter[Row], Counter[Row]] = (Counter(), Counter())
    for side, null, rows in zip(sides, nulls, (expected, actual), strict=True):
        for row in rows:
            if None in row[:n_key]:
                null[row] += 1
            else:
                side[row[:n_key]].append(row)
    counts: Counter[str] = Counter()
    for key in {*sides[0], *sides[1]}:
        left_rows, right_rows = sides[0].get(key, []), sides[1].get(key, [])
        if Counter(left_rows) == Counter(right_rows):
            continue
        if len(left_rows) > 1 or len(right_rows) > 1:
            counts["duplicate"] += 1
        elif not right_rows:
            counts["missing"] += 1
        elif not left_rows:
            counts["extra"] += 1
        else:
            counts["changed"] += 1
    lacking, surplus = nulls[0] - nulls[1], nulls[1] - nulls[0]
    counts["null_key"] = max(sum(lacking.values()), sum(surplus.values()))
    return Drift(**counts)


@pytest.mark.lake(long=True)
def test_the_verdict_is_the_oracles_on_random_tables(tables: Tables) -> None:
    for seed in range(CASES if tables.kind != "sail" else CASES // 5):  # a Delta table takes a while to make
        types, n_key, expected, actual = random_case(seed)
        columns = ", ".join(f"c{i} {kind}" for i, kind in enumerate(types))
        tables.make(columns, *([tuple(map(literal, row)) for row in rows] for rows in (expected, actual)))
        found = tables.judge(*(f"c{i}" for i in range(n_key)))

        wanted = oracle(n_key, expected, actual)
        assert found.drift == wanted, f"seed {seed}: {types} key {n_key}\nexpected {expected}\nactual {actual}"
        assert (found.rows_expected, found.rows_actual) == (len(expected), len(actual))
        assert len(found.samples) == wanted.of_rows() or n_key == 0 or wanted.null_key


def test_pieces_of_a_table_add_up_to_the_whole(pg_tables: Tables, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same random tables cut into ranges of a few keys, each compared by itself."""
    monkeypatch.setattr(pieces, "_ROWS", 2)
    monkeypatch.setattr(pieces, "_FEWEST", 2)
    monkeypatch.setattr(pieces, "_DEARER", float("inf"))
    cut = 0
    for seed in range(CASES // 8):
        types, n_key, expected, actual = random_case(seed)
        columns = ", ".join(f"c{i} {kind}" for i, kind in enumerate(types))
        pg_tables.make(columns, *([tuple(map(literal, row)) for row in rows] for rows in (expected, actual)))
        pg_tables.run("analyze actual", "analyze expected")
        steps: list[int] = []
        found = pg_tables.judge(
            *(f"c{i}" for i in range(n_key)), relation="actual", step=lambda done, _, s=steps: s.append(done)
        )

        assert found.drift == oracle(n_key, expected, actual), f"seed {seed}"
        assert (found.rows_expected, found.rows_actual) == (len(expected), len(actual))
        if n_key:
            assert steps[-1] == len(actual)
        cut += len(steps) > 1
    assert cut > CASES // 40


@pytest.mark.parametrize("seed", range(5))
def test_the_report_does_not_depend_on_the_order_of_rows_or_columns(tables: Tables, seed: int) -> None:
    r = random.Random(seed)
    types, n_key, expected, actual = random_case(1000 + seed)
    names = [f"c{i}" for i in range(len(types))]
    seen = set()
    for _ in range(4):
        order = list(range(len(types)))
        r.shuffle(order)
        columns = ", ".join(f"{names[i]} {types[i]}" for i in order)
        sides = []
        for rows in (expected, actual):
            shuffled = list(rows)
            r.shuffle(shuffled)
            sides.append([tuple(literal(row[i]) for i in order) for row in shuffled])
        tables.make(columns, *sides)
        found = tables.judge(*names[:n_key])
        samples = sorted(
            (s.kind, tuple(sorted(s.key.items())), tuple(sorted(s.columns.items()))) for s in found.samples
        )
        seen.add((found.drift, tuple(sorted(found.columns.items())), repr(samples) if n_key else ""))
    assert len(seen) == 1
