"""``levelset backfill``: the old tables, copied as they are into schema ``legacy``, to compare the rebuilt ones with.

Nothing is built from their values: a number without a reading behind it is what this project is for to keep out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extract.errors import innermost_line
from extract.interrupts import interrupts_told
from orchestrate.errors import Trouble

TABLES = ("outcomes", "learning_posts", "tweet_metrics")
DATASET = "legacy"


@dataclass(frozen=True)
class Backfilled:
    """Rows copied, a table."""

    rows: dict[str, int]


def backfill(
    destination: Any, pipelines_dir: Path, address: str | None, schema: str | None, tables: tuple[str, ...] = TABLES
) -> Backfilled:
    """Copy ``tables`` of the database at ``address`` (None: dlt's secret ``sources.legacy.credentials``), whole.

    What an earlier copy brought is replaced. Raises Trouble where the database or a table cannot be read, or where
    not as many rows arrive as were read.
    """
    import dlt
    from dlt.pipeline.exceptions import PipelineStepFailed
    from dlt.sources.sql_database import sql_database
    from sqlalchemy import create_engine, inspect
    from sqlalchemy.exc import SQLAlchemyError

    address = address or dlt.secrets.get("sources.legacy.credentials")
    if not address:
        raise Trouble(
            "no database to copy from: name it (levelset backfill postgresql://me@host/db), or set credentials under"
            " [sources.legacy] in .dlt/secrets.toml"
        )
    shown = re.sub(r"(password=)[^&]*", r"\1***", re.sub(r"//([^:/@]*):.*@", r"//\1:***@", address))
    try:
        engine = create_engine(address)
        found = inspect(engine).get_table_names(schema)
    except (SQLAlchemyError, ImportError, ValueError) as error:
        raise Trouble(f"cannot read {shown}: {innermost_line(error)}") from None
    lacking = [name for name in tables if name not in found]
    if lacking:
        where = f"schema {schema} of {shown}" if schema else shown
        raise Trouble(f"no table {lacking[0]} in {where}: name its schema with --schema, or the tables with --table")
    pipeline = dlt.pipeline(DATASET, pipelines_dir=str(pipelines_dir), destination=destination, dataset_name=DATASET)
    source = sql_database(engine, schema=schema, table_names=list(tables), reflection_level="full_with_precision")
    for resource in source.resources.values():
        resource.apply_hints(primary_key=[])  # what occurs twice is copied twice
    try:
        with interrupts_told():
            pipeline.run(source, write_disposition="replace")
    except PipelineStepFailed as error:
        raise Trouble(f"the copy of {shown} failed, nothing was replaced: {innermost_line(error)}") from None
    return Backfilled(_verified(pipeline, tables))


def _verified(pipeline: Any, tables: tuple[str, ...]) -> dict[str, int]:
    """The rows that are in the copies. Raises Trouble where they are not those that were read."""
    normalized = pipeline.last_trace.last_normalize_info.row_counts
    rows = {}
    with pipeline.sql_client() as client:
        for name in tables:
            read = normalized.get(name, 0)
            [[rows[name]]] = client.execute_sql(f"select count(*) from {client.make_qualified_table_name(name)}")
            if rows[name] != read:
                raise Trouble(f"read {read:,} rows of {name} and {rows[name]:,} arrived: copy again")
    return rows
