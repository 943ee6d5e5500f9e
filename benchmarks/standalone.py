"""Spark itself, standalone on this machine: a master, workers of one core each, and a Connect server."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

_STARTS_WITHIN = 120  # seconds
MEMORY = "600m"  # of an executor's heap: what a worker may use


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

    def used(self) -> float:
        """CPU seconds of all its processes so far."""
        spent = 0.0
        for process in self.processes.values():
            with suppress(psutil.NoSuchProcess):
                parent = psutil.Process(process.pid)
                spent += sum(sum(one.cpu_times()[:2]) for one in [parent, *parent.children(recursive=True)])
        return spent


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


@contextmanager
def a_cluster(home: Path, folder: Path, workers: int) -> Iterator[Cluster]:
    """``home`` is Spark's. Raises AssertionError, with the ends of the logs, where it does not start."""
    master, connect = free_port(), free_port()
    variables = {**os.environ, "SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1"}
    processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(name: str, *command: str | int | Path) -> None:
        with (folder / f"{name}.log").open("wb") as log:
            processes[name] = subprocess.Popen(
                [str(home / "bin" / command[0]), *map(str, command[1:])],
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
        for worker in (f"worker {number + 1}" for number in range(workers)):
            start(worker, "spark-class", "org.apache.spark.deploy.worker.Worker", "--host", "127.0.0.1", "--cores", 1,
                  "--memory", "1g", "--webui-port", free_port(), "--work-dir", folder / worker, address)  # fmt: skip
        settings = {
            "spark.connect.grpc.binding.port": connect,
            "spark.connect.grpc.binding.address": "127.0.0.1",
            "spark.sql.session.timeZone": "UTC",
            "spark.sql.warehouse.dir": folder / "warehouse",
            "spark.executor.memory": MEMORY,
            "spark.sql.shuffle.partitions": 4,
            "spark.driver.host": "127.0.0.1",
            "spark.ui.port": free_port(),
        }
        told = [word for name, value in settings.items() for word in ("--conf", f"{name}={value}")]
        start("connect", "spark-submit", "--master", address, "--class",
              "org.apache.spark.sql.connect.service.SparkConnectServer", *told, "spark-internal")  # fmt: skip
        wait_for(connect)
        yield Cluster(f"sc://127.0.0.1:{connect}", folder, processes)
    finally:
        for process in reversed(processes.values()):
            with suppress(psutil.NoSuchProcess):
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
            process.kill()
            process.wait(30)
