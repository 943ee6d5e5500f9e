"""Large comparisons are cut into key ranges where the definition can be narrowed, and only there."""

from __future__ import annotations

import pytest

from reconcile.compare import key_ranges as pieces
from reconcile.report.model import Drift
from tests.reconcile.conftest import Tables

KEYS = {
    "bigint": "(n * 7919) - 5000000",
    "text": "'k''' || md5(n::text)",
    "uuid": "md5(n::text)::uuid",
    "varchar(40)": "n::text",
    "numeric(20, 4)": "n / 7.0",
    "timestamptz": "timestamptz '2026-01-01' + n * interval '1 minute'",
}


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "_ROWS", 2_000)


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.usefixtures("small_pieces")
def test_every_kind_of_key_is_cut_and_every_row_is_compared_once(
    pg_tables: Tables, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pieces, "_DEARER", 20.0)  # these keys are in no order on disk: the planner shuns their index
    for name in ("expected", "actual"):
        pg_tables.run(f"create table {name} as select ({KEYS[kind]})::{kind} as id, n from generate_series(1, 20000) n")
        pg_tables.run(f"alter table {name} add primary key (id)")
    pg_tables.run("delete from actual where n % 5000 = 1", "update actual set n = -n where n % 4000 = 2")
    pg_tables.run("delete from expected where n % 10000 = 3", "analyze expected", "analyze actual")
    steps: list[tuple[int, int | None]] = []
    found = pg_tables.judge("id", relation="actual", step=lambda done, whole: steps.append((done, whole)))

    assert found.drift == Drift(missing=4, extra=2, changed=5)
    assert (found.rows_expected, found.rows_actual) == (19_998, 19_996)
    assert len(steps) >= 4
    assert steps[-1][0] == 19_996


@pytest.mark.usefixtures("small_pieces")
def test_a_definition_that_no_key_narrows_is_evaluated_once(pg_tables: Tables) -> None:
    pg_tables.run(
        "create table source as select n as id, n % 7 as v from generate_series(1, 20000) n",
        "create view expected as select id, v, row_number() over (order by v, id) as place from source",
        "create table actual as select * from expected",
        "alter table actual add primary key (id)",
        "analyze source",
        "analyze actual",
    )
    steps: list[int] = []
    found = pg_tables.judge("id", relation="actual", step=lambda done, whole: steps.append(done))

    assert found.drift == Drift()
    assert steps == [20_000]
