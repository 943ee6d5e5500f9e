"""Repair where each statement is a separate commit: what breaks off in between is finished, or forgotten."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from reconcile.engines.spark import SparkEngine
from reconcile.errors import EvaluationFailed, Refused
from reconcile.repair import journal
from reconcile.repair.guards import Guards
from reconcile.repair.merge_writer import Merge
from reconcile.repair.session import repair_session
from reconcile.repair.sql_script import write_script
from reconcile.repair.undo import undo
from reconcile.report.model import Drift, Verdict
from tests.support.bench import LOOSE, Bench, on_lake, project_on, ten
from tests.support.lake import Lake
from tests.support.zygote import zygote

pytestmark = pytest.mark.scale

MANY = Guards(max_rows=20_000, max_percent=100, allow_delete=True)
_EVERYTHING = "select * from kept order by id nulls last, v, x"


@pytest.fixture
def bench(lake: Lake) -> Bench:
    return Bench(project_on(on_lake(lake)))


def broken(lake: Lake, rows: int) -> None:
    """``rows`` rows to write: a fifth are missing, the others changed."""
    lake.run(
        f"create or replace table truth using delta as select cast(id as int) as id, id as v from range(1, {rows + 1})",
        "create or replace table kept using delta as select id, -v as v from truth where id % 5 <> 0",
    )


def journaled(bench: Bench) -> list[tuple[Any, ...]]:
    """Of each run that the journal knows: rows that it tells of, and that it has."""
    return bench.rows(
        "select h.run_id, h.inserted + h.updated + h.deleted, count(*) from reconcile.repair as h"
        " join reconcile.repair_row as r on r.run_id = h.run_id group by 1, 2"
    )


@pytest.mark.long
def test_a_killed_repair_leaves_all_or_nothing_and_a_rerun_converges(bench: Bench, lake: Lake) -> None:
    rows, chance = 2_000, random.Random(10)
    imports = (
        "from pathlib import Path\nfrom tests.support.lake import Lake\nimport pyspark.sql.connect.session\n"
        "from tests.support.bench import Bench, on_lake, project_on\n"
        "from tests.reconcile.repair.test_repair_lake import MANY\n"
        "from reconcile.definition import nondeterminism"  # before it is forked
    )
    act = "Bench(project_on(on_lake(Lake(sys.argv[2], Path(sys.argv[3]))))).repair(MANY)"
    with zygote(imports, act, lake.remote, str(lake.folder)) as child:
        left = []
        whole = 0.0
        for moment in range(7):
            broken(lake, rows)
            if moment == 0:  # left alone, to know how long a repair takes
                whole = child.act().seconds
            else:
                child.act(killed_after=chance.uniform(0.3, 1) * whole)
            with repair_session(bench.project) as later:
                later.make()
                done = later.apply(MANY)  # stops what still runs there, and finishes the journal of what broke off
            left.append(done.inserted + done.updated)
            assert bench.verdict() == (Verdict.LEVEL, Drift())
            told = journaled(bench)
            assert len(told) == moment + 1
            assert all(there == noted == rows for _, noted, there in told)
            assert bench.rows("select count(*) from reconcile.repair_intent") == [(0,)]
    assert left[0] == 0
    assert set(left) == {0, rows}  # nothing half; and it was hit while it worked, not after


class _Killed(BaseException):
    """As if the process ended here."""


@pytest.mark.parametrize(
    ("place", "name", "written"),
    [
        (journal, "write_rows", False),  # the intent is noted, its rows are not
        (Merge, "_merge", False),  # nothing is written yet
        (Merge, "finish", True),  # the table is written, the journal has no head
    ],
)
def test_what_broke_off_is_finished_or_forgotten_by_the_next_one(
    bench: Bench, lake: Lake, monkeypatch: pytest.MonkeyPatch, place: Any, name: str, written: bool
) -> None:
    def end(*told: object, **named: object) -> None:
        raise _Killed

    ten(bench)
    before = bench.rows(_EVERYTHING)
    with monkeypatch.context() as broken_off:
        broken_off.setattr(place, name, end)
        with pytest.raises(_Killed):
            bench.repair()
    assert (bench.rows(_EVERYTHING) != before) is written
    assert bench.rows("select count(*) from reconcile.repair_intent") == [(1,)]

    run_id = bench.rows("select run_id from reconcile.repair_intent")[0][0]
    if written:
        assert undo(bench.project, run_id, apply=True).deleted == 1
        assert bench.rows(_EVERYTHING) == before
    else:
        with pytest.raises(Refused, match="holds no repair"):
            undo(bench.project, run_id, apply=True)
        bench.repair()
        assert bench.verdict()[0] is Verdict.LEVEL
    assert bench.rows("select count(*) from reconcile.repair_intent") == [(0,)]
    assert lake.rows("show tables in reconcile like 'plan_*'") == []  # nor is a table left of the one that broke off
    told = bench.rows("select sum(inserted + updated + deleted) from reconcile.repair")
    assert told == bench.rows("select sum(greatest(copies, 1)) from reconcile.repair_row")


def test_an_intent_of_a_table_that_is_gone_is_forgotten(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def end(*told: object, **named: object) -> None:
        raise _Killed

    ten(bench)
    with monkeypatch.context() as broken_off:
        broken_off.setattr(Merge, "finish", end)
        with pytest.raises(_Killed):
            bench.repair()
    bench.run("drop table kept")
    with pytest.raises(Refused, match="holds no repair"):
        undo(bench.project, "any", apply=False)
    assert bench.rows("select count(*) from reconcile.repair_row") == [(0,)]


def test_a_row_that_another_writes_between_the_note_and_the_merge_is_stale(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The MERGE looks at each row again; what it left alone is not in the journal."""
    noted = journal.write_rows

    def then_another(*told: Any) -> None:
        noted(*told)
        bench.run("update kept set v = 'mine' where id = 2")

    ten(bench)
    monkeypatch.setattr(journal, "write_rows", then_another)
    done = bench.repair()

    assert (done.inserted, done.updated, done.deleted, done.stale) == (1, 0, 4, 1)
    assert bench.rows("select v from kept where id = 2") == [("mine",)]
    assert bench.rows("select count(*) from reconcile.repair_row where action = 'update'") == [(0,)]


def test_a_second_repair_at_once_leaves_with_a_sentence(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    ten(bench)
    monkeypatch.setattr("reconcile.engines.spark._WAITS", 0.1)
    with repair_session(bench.project) as first:
        first.make()
        with first.engine.repair_lock(), pytest.raises(Refused, match="another reconcile repair"):
            bench.repair(LOOSE)
        assert first.apply(LOOSE).stale == 0


def test_times_are_written_in_utc_only(bench: Bench, lake: Lake) -> None:
    ten(bench)
    lake.session().conf.set("spark.sql.session.timeZone", "Europe/Berlin")
    with pytest.raises(Refused, match=r"zone is Europe/Berlin: set `spark\.sql\.session\.timeZone: UTC`"):
        bench.repair()


def test_a_type_that_no_journal_brings_back_is_refused(bench: Bench) -> None:
    for name, value in (("truth", 1), ("kept", 2)):
        bench.run(f"create table {name} as select 1 as id, array[{value}, 3] as v")
    with pytest.raises(Refused, match=r"^kept: its column v is of type array<int>.*full-refresh"):
        bench.repair()


def test_every_type_of_a_lake_comes_back_with_an_undo(bench: Bench, lake: Lake) -> None:
    lake.run(
        """create table kept using delta as select id, cast(id as tinyint) as t, cast(id as smallint) as s,
        cast(id as int) as i, cast(id / 3 as float) as f, id / 3.0D as d, cast('Infinity' as double) as inf,
        cast(id as decimal(38, 10)) / 7 as n, id % 2 = 0 as b, date_add(date '2026-03-28', cast(id as int)) as day,
        timestamp_micros(1774749600000001 + id * 1800000000) as at, cast(timestamp_micros(id) as timestamp_ntz) as wall,
        concat('it''s "', id, '", \\\\ ', char(10), char(1), ' é😀') as text, '' as empty,
        cast(null as string) as nothing from range(9)""",
        "create table truth using delta as select * from kept where id < 5 union all"
        " select id + 100, t, s, i, f, d, inf, n, b, day, at, wall, text, empty, nothing from kept where id >= 5",
    )
    before = lake.rows("select * from main.kept order by id")
    done = bench.repair()
    assert bench.verdict() == (Verdict.LEVEL, Drift())
    undo(bench.project, done.run_id, apply=True)

    assert lake.rows("select * from main.kept order by id") == before


def test_statements_for_review_are_refused(bench: Bench, tmp_path: Path) -> None:
    ten(bench)
    with repair_session(bench.project) as session:
        session.make()
        with pytest.raises(Refused, match="review the plan"):
            write_script(session, tmp_path / "never.sql")
    assert not (tmp_path / "never.sql").exists()


def test_a_table_that_is_no_longer_whole_is_reported(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sail 0.7.2 has been seen to commit that rows go, of a MERGE that it refuses."""

    def half(self: SparkEngine, sql: str, parameters: Any = ()) -> int:
        if sql.startswith("merge into"):
            execute(self, "delete from kept where id > 3")
            raise EvaluationFailed("refused in the middle")
        return execute(self, sql, parameters)

    execute = SparkEngine.execute
    ten(bench)
    monkeypatch.setattr(SparkEngine, "execute", half)
    with pytest.raises(EvaluationFailed, match=r"refused in the middle; .* \(13 rows before, 4 now\): build it anew"):
        bench.repair()
    assert bench.rows("select count(*) from reconcile.repair_row") == [(0,)]
