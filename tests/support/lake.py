"""A lake for a test: a Sail server a run, and a session of it, with an empty catalog and a folder, for each test."""

from __future__ import annotations

import socket
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrate.dbt import environment
from orchestrate.servers import lake

# pyspark takes a process whose main module has no file, as xdist's workers are, for one that runs its doctests
if not hasattr(sys.modules["__main__"], "__file__"):
    sys.modules["__main__"].__file__ = __file__


@dataclass(frozen=True)
class Lake:
    """Used where tests have a Postgres database: ``run`` and ``rows`` take Spark's own SQL."""

    remote: str
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"SPARK_REMOTE": self.remote, "LEVELSET_LAKE": str(self.folder)}

    @property
    def output(self) -> dict[str, object]:
        """A target of a dbt profile."""
        parameters = {"spark.remote": self.remote, "spark.sql.session.timeZone": "UTC"}
        return {
            "type": "spark",
            "method": "session",
            "host": "NA",
            "schema": "main",
            "server_side_parameters": parameters,
        }

    @property
    def next_session(self) -> str:
        """The address of another session there, which knows no table."""
        return f"{self.remote.partition('/;')[0]}/;user_id=test;session_id={uuid.uuid4()}"

    def run(self, *statements: str) -> None:
        for statement in statements:
            self.session().sql(statement).collect()

    def rows(self, query: str) -> list[tuple[object, ...]]:
        return [tuple(row) for row in self.session().sql(query).collect()]

    def columns(self, relation: str) -> list[str]:
        return list(self.session().table(relation).columns)

    def session(self) -> Any:
        return lake.session(lake.LakeServer(self.folder, self.remote, str(self.folder)))


@contextmanager
def a_server(folder: Path) -> Iterator[str]:
    """The address of a Sail server with two workers, without a session."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"sc://127.0.0.1:{free.getsockname()[1]}"
    with environment({"SPARK_REMOTE": address}):
        try:
            lake.start(folder)
            forget_session()
            yield address
        finally:
            lake.stop(folder)


@contextmanager
def a_lake(address: str, folder: Path) -> Iterator[Lake]:
    made = Lake(f"{address}/;user_id=test;session_id={uuid.uuid4()}", folder)
    with environment(made.environment):
        try:
            made.run(f"create schema main location '{folder}/main'", "use database main")
            yield made
        finally:
            forget_session()


def forget_session() -> None:
    """The process's session ends, and its catalog with it: the next one that is asked for is another."""
    from pyspark.sql import SparkSession

    session = SparkSession.getActiveSession()
    if session is not None:
        session.stop()


def is_installed() -> bool:
    try:
        import pysail  # noqa: F401
        import pyspark  # noqa: F401
    except ImportError:
        return False
    return True
