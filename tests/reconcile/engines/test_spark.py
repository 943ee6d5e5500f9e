"""Real Spark, standalone: a master, two workers of one core each, and a Connect server. `uv run pytest -m spark -n 0`.

Java is needed, and a Spark: that of SPARK_HOME, or pyspark of the client's version, which is fetched (460 MB). No jar
of Delta can be had here, so the tables are Parquet: tried is our SQL on Spark's own engine, not Delta's commits.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.standalone import Cluster, a_cluster
from reconcile.compare.align import prepare
from reconcile.compare.comparison import judge
from reconcile.definition.model import Definition, ModelSettings
from reconcile.engines.spark import SparkEngine
from reconcile.errors import EvaluationFailed
from reconcile.model_check.judge_model import judge_definition
from reconcile.repair.journal import Entry
from reconcile.repair.merge_writer import Merge, StoredPlan
from reconcile.repair.plan_tables import Images
from reconcile.repair.row_writer import Written
from reconcile.report.model import Drift, TableReport
from tests.reconcile.compare.test_property import Row, literal, oracle, random_case
from tests.support.lake import forget_session

pytestmark = pytest.mark.spark
CASES = 12


@pytest.fixture(scope="module")
def spark_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert shutil.which("java"), "Java is not on this machine"
    if "SPARK_HOME" in os.environ:
        return Path(os.environ["SPARK_HOME"])
    import pyspark

    where = tmp_path_factory.mktemp("spark")
    python = where / "bin" / "python"
    subprocess.run(["uv", "venv", "--quiet", where], check=True)
    subprocess.run(
        ["uv", "pip", "install", "--quiet", "--python", python, f"pyspark=={pyspark.__version__}"], check=True
    )
    return next(where.glob("lib/*/site-packages/pyspark"))


@pytest.fixture(scope="module")
def cluster(spark_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with a_cluster(spark_home, tmp_path_factory.mktemp("cluster"), 2) as started:
        try:
            yield started
        finally:
            forget_session()


@pytest.fixture
def engine(cluster: Cluster) -> Iterator[SparkEngine]:
    forget_session()
    made = SparkEngine(cluster.remote)
    yield made
    made.close()


def drift(engine: SparkEngine, expected: str, actual: str, *key: str) -> Drift:
    with engine.snapshot():
        prepared = prepare(
            engine,
            expected_sql=expected,
            expected_columns=engine.query_columns(expected),
            actual_sql=actual,
            actual_columns=engine.query_columns(actual),
            key=key,
        )
        return judge(engine, prepared).drift


def table(engine: SparkEngine, name: str, types: list[str], rows: list[Row]) -> str:
    """A Parquet table of these rows, as a SELECT."""
    casts = ", ".join(f"cast(c{i} as {kind}) as c{i}" for i, kind in enumerate(types))
    values = ", ".join(f"({', '.join(map(literal, row))})" for row in rows) or f"({', '.join(['null'] * len(types))})"
    names = ", ".join(f"c{i}" for i in range(len(types)))
    where = "" if rows else " where 1 = 0"
    engine.execute(f"create table {name} using parquet as select {casts} from (values {values}) as v ({names}){where}")
    return f"select * from {name}"


def test_the_verdict_is_the_oracles_on_random_tables(engine: SparkEngine) -> None:
    for seed in range(CASES):
        types, n_key, expected, actual = random_case(seed)
        sides = [table(engine, f"{n}{seed}", types, rows) for n, rows in (("e", expected), ("a", actual))]

        assert drift(engine, *sides, *(f"c{i}" for i in range(n_key))) == oracle(n_key, expected, actual), (
            f"seed {seed}"
        )


def test_a_worker_that_dies_in_mid_check_changes_no_verdict_and_is_reported(
    engine: SparkEngine, cluster: Cluster
) -> None:
    """What it was to do is done by the other one."""
    rows = "select id, id % 977 as likes, md5(cast(id as string)) as content from range(0, 3000000, 1, 8)"
    held = rows.replace("id % 977", "case when id = 7 then -1 else id % 977 end")
    engine.execute(f"create table posts using parquet as select * from ({held}) where id <> 11")
    split = engine.workers.tasks()
    assert len(split) == 2
    assert all(split.values()), "both workers had their share"

    found: list[TableReport] = []
    model = Definition("model.shop.posts", "posts", "posts", ("id",), rows, {}, ModelSettings(), "models/posts.sql")
    check = threading.Thread(target=lambda: found.append(judge_definition(engine, model)))
    check.start()
    time.sleep(3)
    cluster.kill_a_worker()
    assert check.is_alive(), "the check had ended before the worker died"
    check.join(300)

    [report] = found
    assert (report.drift, report.error) == (Drift(missing=1, changed=1), None)
    assert re.search(
        r"executor \d at .* was lost meanwhile \(worker lost: .*\): others did its share", report.scope.reason
    )


def test_what_a_repair_reads_and_writes_is_sql_that_spark_knows(engine: SparkEngine) -> None:
    """All but the MERGE itself, which Parquet does not have: Spark says so once it has read and bound it."""
    engine.execute(
        "create table repaired using parquet as select * from (values"
        " (1, 'a', timestamp '2026-03-29 01:30:00'), (2, 'b', null), (3, 'c', null), (3, 'c', null), (3, 'c', null))"
        " as v (id, v, at)"
    )
    columns = tuple(engine.table_columns("repaired") or ())
    plan = StoredPlan(engine, Images(columns, ("id", "v", "at"), ("id", "v", "at"), ("id",)))
    told = [
        (
            1,
            "update",
            0,
            {"id": "1", "v": "a", "at": "2026-03-29 01:30:00"},
            {"id": "1", "v": 'a"\n\u0001', "at": None},
        ),
        (2, "update", 0, {"id": "2", "v": "x", "at": None}, {"id": "2", "v": "y", "at": None}),  # by now it is b
        (3, "delete", 2, {"id": "3", "v": "c", "at": None}, None),
        (4, "insert", 0, None, {"id": "4", "v": "d", "at": None}),
        (5, "insert", 3, None, {"id": None, "v": "e", "at": None}),
    ]
    values = ", ".join(
        f"({position}, '{action}', 'why', {copies}, {_json(engine, before)}, {_json(engine, after)})"
        for position, action, copies, before, after in told
    )
    plan.fill_from(f"select * from (values {values}) as v (position, action, reason, copies, row_before, row_after)")
    merge = Merge(engine, Entry("run", "model.shop.repaired", "repaired", ("id",), "plan"), plan)

    assert merge.look() == Written(inserted=4, updated=1, deleted=2, stale=1)
    found = engine.rows(f"{plan.rows_sql()} order by position")
    assert [(*row[:2], row[3], *(text and json.loads(text) for text in row[4:])) for row in found] == told
    with pytest.raises(EvaluationFailed, match="MERGE"):
        engine.execute(merge._merge(plan.source))


def _json(engine: SparkEngine, row: dict[str, str | None] | None) -> str:
    return "cast(null as varchar)" if row is None else engine.literal(json.dumps(row))
