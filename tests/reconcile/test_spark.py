"""Real Spark, standalone: a master, two workers of one core each, and a Connect server. `uv run pytest -m spark -n 0`.

Java is needed, and a Spark: that of SPARK_HOME, or pyspark of the client's version, which is fetched (460 MB). No jar
of Delta can be had here, so the tables are Parquet: tried is our SQL on Spark's own engine, not Delta's commits.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from reconcile.compare import judge
from reconcile.engines.spark import SparkEngine
from reconcile.prepare import prepare
from reconcile.report import Drift
from tests.lake import forget_session
from tests.reconcile.test_property import Row, literal, oracle, random_case

pytestmark = pytest.mark.spark
CASES = 12
_STARTS_WITHIN = 120  # seconds


@dataclass
class Cluster:
    """A running one; ``processes`` by what they are."""

    remote: str
    folder: Path
    processes: dict[str, subprocess.Popen[bytes]]

    def kill_a_worker(self) -> None:
        """And its executor, as when a machine goes."""
        worker = psutil.Process(self.processes["worker 2"].pid)
        for process in [*worker.children(recursive=True), worker]:
            process.send_signal(signal.SIGKILL)


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


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


@pytest.fixture(scope="module")
def cluster(spark_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    master, connect = free_port(), free_port()
    variables = {**os.environ, "SPARK_HOME": str(spark_home), "SPARK_LOCAL_IP": "127.0.0.1"}
    processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(name: str, *command: str | int | Path) -> None:
        with (folder / f"{name}.log").open("wb") as log:
            processes[name] = subprocess.Popen(
                [spark_home / "bin" / command[0], *map(str, command[1:])],  # type: ignore[operator]
                cwd=folder,
                env=variables,
                stdout=log,
                stderr=log,
            )

    def wait_for(port: int) -> None:
        until = time.monotonic() + _STARTS_WITHIN
        while time.monotonic() < until:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return
            time.sleep(0.2)
        raise AssertionError("\n".join(log.read_text()[-500:] for log in folder.glob("*.log")))

    address = f"spark://127.0.0.1:{master}"
    try:
        start("master", "spark-class", "org.apache.spark.deploy.master.Master", "--host", "127.0.0.1", "--port", master,
              "--webui-port", free_port())  # fmt: skip
        wait_for(master)
        for worker in ("worker 1", "worker 2"):
            start(worker, "spark-class", "org.apache.spark.deploy.worker.Worker", "--host", "127.0.0.1", "--cores", 1,
                  "--memory", "1g", "--webui-port", free_port(), "--work-dir", folder / worker, address)  # fmt: skip
        settings = {
            "spark.connect.grpc.binding.port": connect,
            "spark.connect.grpc.binding.address": "127.0.0.1",
            "spark.sql.session.timeZone": "UTC",
            "spark.sql.warehouse.dir": folder / "warehouse",
            "spark.executor.memory": "600m",
            "spark.sql.shuffle.partitions": 4,
            "spark.driver.host": "127.0.0.1",
            "spark.ui.enabled": "false",
        }
        told = [word for name, value in settings.items() for word in ("--conf", f"{name}={value}")]
        start("connect", "spark-submit", "--master", address, "--class",
              "org.apache.spark.sql.connect.service.SparkConnectServer", *told, "spark-internal")  # fmt: skip
        wait_for(connect)
        yield Cluster(f"sc://127.0.0.1:{connect}", folder, processes)
    finally:
        forget_session()
        for process in reversed(processes.values()):
            with suppress(psutil.NoSuchProcess):
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
            process.kill()
            process.wait(30)


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


def test_a_worker_that_dies_in_mid_check_changes_no_verdict(engine: SparkEngine, cluster: Cluster) -> None:
    """What it was to do is done by the other one."""
    rows = "select id, id % 977 as likes, md5(cast(id as string)) as content from range(0, 3000000, 1, 8)"
    engine.execute(
        "create table posts using parquet as " + rows.replace("id % 977", "case when id = 7 then -1 else id % 977 end")
    )
    found: list[Drift] = []
    check = threading.Thread(
        target=lambda: found.append(drift(engine, rows, "select * from posts where id <> 11", "id"))
    )
    check.start()
    time.sleep(3)
    cluster.kill_a_worker()
    assert check.is_alive(), "the check had ended before the worker died"
    check.join(300)

    assert found == [Drift(missing=1, changed=1)]
    assert "Lost executor" in (cluster.folder / "connect.log").read_text()
