"""Copy staging into the lake: dlt reads the warehouse and writes Delta tables."""

from __future__ import annotations

from typing import Any

from extract.errors import ExtractError, innermost_line
from extract.interrupts import interrupts_told
from extract.process_lock import hold
from extract.staging.pipeline import row_counts
from extract.staging.tables import DATASET, TABLES, columns
from orchestrate.errors import Trouble
from orchestrate.servers import lake
from orchestrate.targets import Target, data_folder

_PIPELINE = "lake"
# a decision that is loaded again replaces its row: there is no telling by the load id what it replaces
_REPLACED = ("content_metadata",)


def copy_staging(source: Target) -> dict[str, int]:
    """Bring the lake's staging to what that target's holds: append-only tables by what was loaded since the last copy.

    Rows copied, a table. Raises Trouble where either side cannot be reached, or where another copy runs.
    """
    import dlt
    from dlt.pipeline.exceptions import PipelineStepFailed
    from dlt.sources.sql_database import sql_table
    from sqlalchemy import create_engine

    there = lake.locate(source.project)
    if there.tables is None:
        raise Trouble("where the lake's tables lie is not known: set LEVELSET_LAKE to their folder or bucket")
    lake.start(source.project)
    address = _address(source)
    pipeline = dlt.pipeline(
        _PIPELINE,
        pipelines_dir=str(data_folder(source.project) / "pipelines-lake"),
        destination=dlt.destinations.filesystem(bucket_url=there.tables),
        dataset_name=DATASET,
    )

    def table(name: str) -> Any:
        since: Any = None if name in _REPLACED else dlt.sources.incremental("_dlt_load_id", range_start="open")
        found = sql_table(create_engine(address), table=name, schema=DATASET, incremental=since, backend="pyarrow")
        disposition: Any = "replace" if name in _REPLACED else "append"
        # columns: one that holds nothing yet would else be left out
        found.apply_hints(write_disposition=disposition, table_format="delta", primary_key=[], columns=columns(name))
        return found

    refusal = "another copy into the lake is at work: wait until it ends"
    try:
        with interrupts_told(), hold(there.note.with_name("lake-writer.lock"), "levelset copy", refusal):
            pipeline.run([table(name) for name in TABLES], loader_file_format="parquet")
    except PipelineStepFailed as error:
        raise Trouble(f"the copy into the lake failed: {innermost_line(error)}") from None
    except ExtractError as error:
        raise Trouble(str(error)) from None
    lake.attach(there)
    copied = row_counts(pipeline)
    return {name: copied.get(name, 0) for name in TABLES}


def _address(source: Target) -> str:
    if source.name == "duckdb":
        raise Trouble("staging is copied out of Postgres: name the target embedded or postgres with --from")
    source.destination()  # wakes the embedded server
    return source.dlt_credentials().replace("postgresql://", "postgresql+psycopg2://")
