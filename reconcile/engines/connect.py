"""Open the engine of a dbt target, after whoever looks after that target has had its chance to start it."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path

from reconcile.engines.base import Engine
from reconcile.errors import ProjectError
from reconcile.project import Connection

ADAPTERS = ("postgres", "duckdb", "spark")


def before_connect(target: str, project_dir: Path) -> None:
    """Call every ``reconcile.before_connect`` entry point: (target's name, project folder)."""
    for hook in entry_points(group="reconcile.before_connect"):
        hook.load()(target, project_dir)


def open_engine(connection: Connection) -> Engine:
    """A session of its own. Raises ProjectError for an adapter that is not supported, ConnectionFailed otherwise."""
    if connection.adapter == "postgres":
        from reconcile.engines.postgres import PostgresEngine

        return PostgresEngine.from_dbt(connection.credentials, f"{connection.lock_timeout:g}s")
    if connection.adapter == "duckdb":
        from reconcile.engines.duckdb import DuckDBEngine

        return DuckDBEngine.from_dbt(connection.credentials)
    if connection.adapter == "spark":
        from reconcile.engines.spark import SparkEngine

        return SparkEngine.from_dbt(connection.credentials)
    raise ProjectError(f"the adapter {connection.adapter} is not supported: one of {', '.join(ADAPTERS)}")
