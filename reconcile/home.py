"""The schema in which reconcile is at home in a database: its journal, its verdicts, what capture knows."""

from __future__ import annotations

from reconcile.engines.base import Engine

SCHEMA = "reconcile"


def is_at_home(engine: Engine) -> bool:
    """Whether the schema is there."""
    return bool(engine.rows("select 1 from pg_catalog.pg_namespace where nspname = $1", [SCHEMA]))


def move_in(engine: Engine) -> None:
    """Make the schema where it is not there. Raises EvaluationFailed where we may not.

    "if not exists" alone would ask for the right to make schemas also where there is one.
    """
    if not is_at_home(engine):
        engine.execute(f"create schema if not exists {SCHEMA}")
