"""Open the engine of a dbt target, after whoever looks after that target has had its chance to start it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconcile.engines.base import Engine
from reconcile.errors import ProjectError

if TYPE_CHECKING:
    from reconcile.engines.duckdb import DuckDBEngine
    from reconcile.engines.postgres import PostgresEngine
    from reconcile.engines.spark import SparkEngine

ADAPTERS = ("postgres", "duckdb", "spark")


@dataclass(frozen=True)
class Connection:
    """How the chosen target is reached. ``credentials`` is dbt's object: never printed, it holds the password."""

    adapter: str
    target: str
    threads: int
    credentials: Any
    lock_timeout: float = 10.0  # seconds to wait for a table that another session holds

    @property
    def identity(self) -> str:
        """Which database this is, without user or password: what a plan is bound to."""
        return f"{self.adapter}:{engine_of(self.adapter).address(self.credentials)}"


def before_connect(target: str, project_dir: Path) -> None:
    """Call every ``reconcile.before_connect`` entry point: (target's name, project folder)."""
    for hook in entry_points(group="reconcile.before_connect"):
        hook.load()(target, project_dir)


def open_engine(connection: Connection) -> Engine:
    """A separate session. Raises ProjectError for an adapter that is not supported, ConnectionFailed otherwise."""
    return engine_of(connection.adapter).from_dbt(connection.credentials, connection.lock_timeout)


def engine_of(adapter: str) -> type[PostgresEngine] | type[DuckDBEngine] | type[SparkEngine]:
    """The engine behind a dbt adapter. Raises ProjectError for one that is not supported."""
    # each is imported only where it is needed: that takes time, or what is not installed
    if adapter == "postgres":
        from reconcile.engines.postgres import PostgresEngine

        return PostgresEngine
    if adapter == "duckdb":
        from reconcile.engines.duckdb import DuckDBEngine

        return DuckDBEngine
    if adapter == "spark":
        from reconcile.engines.spark import SparkEngine

        return SparkEngine
    raise ProjectError(f"the adapter {adapter} is not supported: one of {', '.join(ADAPTERS)}")
