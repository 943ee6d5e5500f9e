"""A history of a million snapshots from Parquet, validation included, against a bare insert of the same rows.

    uv run --with pyarrow --with adbc-driver-postgresql benchmarks/bulk.py [--rows 1000000] [--runs 3] [--odd 0.001]

Into Postgres the peer is ADBC's ingest of the rows as an Arrow table, into DuckDB an insert from that Arrow table; both
into a bare table of the same columns, nothing judged. Ours begins at the Parquet file and ends with the commit.
``--odd`` is the share of the rows that are false zeros, and are judged one by one. Compare the ratios.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import adbc_driver_postgresql.dbapi as adbc
import dlt
import duckdb
import psycopg
import pyarrow as pa

from extract.reading.attempt import Attempt, Profile
from extract.reading.post_ids import Network, snowflake
from extract.reading.record import Reading, Status
from extract.staging.pipeline import make_pipeline, run, run_bulk
from extract.summary import Summary
from orchestrate.servers import postgres as warehouse
from orchestrate.servers.location import PORT, USER, Server

EACH = 100  # snapshots a post
NOW = datetime(2026, 7, 1, tzinfo=UTC)
LIMIT = 2.0


def make_history(folder: Path, rows: int, odd: float) -> list[dict[str, Any]]:
    """Write history.parquet; the posts' content rows."""
    posts = rows // EACH
    instants = [NOW - timedelta(days=400) + timedelta(minutes=30 * number) for number in range(posts)]
    ids = [snowflake(at) for at in instants]
    with duckdb.connect() as connection:
        connection.execute("create table posts (tweet_id varchar, made timestamptz, p bigint)")
        connection.execute("insert into posts select unnest(?), unnest(?), unnest(range(?))", [ids, instants, posts])
        connection.execute(f"""
            copy (
                select
                    tweet_id, made + to_minutes(20 + n * n * 3) as collected_at,
                    if(n > 0 and hash(p, n) % 100000 < {odd * 100_000}, 0, 20 + p % 50 + n * (1 + p % 7) // 2) as likes,
                    5 + n // 10 as retweets, 3 + n // 20 as replies, n // 30 as quotes, n // 12 as bookmarks,
                    1000 + p % 900 + n * (50 + p % 13) as views
                from posts, range({EACH}) as steps(n)
            ) to '{folder}/history.parquet'
        """)
    return [
        {
            "decision_id": f"d{number}",
            "decision_type": "single",
            "status": "posted",
            "tweet_id": tweet_id,
            "created_at": at.isoformat(),
            "posted_at": at.isoformat(),
            "updated_at": at.isoformat(),
        }
        for number, (tweet_id, at) in enumerate(zip(ids, instants, strict=True))
    ]


def timed(work: Callable[[], Any]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def stored_rows(pipeline: dlt.Pipeline, engine: str, folder: Path) -> pa.Table:
    """What was loaded, as an Arrow table: every column, jsonb as text."""
    if engine == "duckdb":
        with duckdb.connect(str(folder / "w.duckdb"), read_only=True) as connection:
            return connection.sql("select * from staging.real_tweet_metrics").to_arrow_table()
    with pipeline.sql_client() as client, (folder / "rows.csv").open("wb") as file:
        copy = "copy (select * from staging.real_tweet_metrics) to stdout (format csv, header)"
        client.native_connection.cursor().copy_expert(copy, file)
    with duckdb.connect() as connection:
        return connection.read_csv(str(folder / "rows.csv")).to_arrow_table()


def bare_postgres(address: str, table: pa.Table) -> None:
    with adbc.connect(address) as connection, connection.cursor() as cursor:
        cursor.adbc_ingest("bare", table, mode="create")
        connection.commit()


def bare_duckdb(path: Path, table: pa.Table) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.register("told", table)
        connection.execute("create table bare as select * from told")


def compare(engine: str, server: Server, rows: int, odd: float) -> tuple[float, float]:
    """Seconds of ours, and of the bare insert of the rows that ours loaded."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        content = make_history(folder, rows, odd)
        if engine == "postgres":
            database = f"bulk_{time.monotonic_ns()}"
            with psycopg.connect(server.conninfo, autocommit=True) as connection:
                connection.execute(f"create database {database}")
            address = f"postgresql://{USER}:x@localhost:{PORT}/{database}?host={server.socket}"
            destination: Any = dlt.destinations.postgres(address, create_indexes=False, destination_name="warehouse")
        else:
            destination = dlt.destinations.duckdb(str(folder / "w.duckdb"), destination_name="warehouse")
        pipeline = make_pipeline(destination, folder / "pipelines")
        told = [(line, str(line), row) for line, row in enumerate(content)]
        run(pipeline, Nothing(), job="scheduled", account="me", now=lambda: NOW, content=lambda since: iter(told))

        summaries: list[Summary] = []

        def load() -> None:
            summaries.append(run_bulk(pipeline, folder / "history.parquet", account="me", now=lambda: NOW))

        ours = timed(load)
        assert sum(summaries[0].loaded.values()) == rows, summaries
        table = stored_rows(pipeline, engine, folder)
        if engine == "postgres":
            bare = timed(lambda: bare_postgres(f"postgresql://{USER}@/{database}?host={server.socket}", table))
            with psycopg.connect(server.conninfo, autocommit=True) as connection:
                connection.execute(f"drop database {database} with (force)")
        else:
            bare = timed(lambda: bare_duckdb(folder / "bare.duckdb", table))
        return ours, bare


class Nothing:
    """A source that reads nothing: the run before the history, which brings the posts."""

    name = "nothing"
    network = Network.X
    wall = Reading(Status.BLOCKED)

    def collect(self, wanted: Sequence[str]) -> Iterator[Attempt | Profile]:
        return iter(())

    def reread(self, wanted: Sequence[str]) -> Iterator[Attempt]:
        return iter(())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--odd", type=float, default=0.001)
    asked = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    with tempfile.TemporaryDirectory() as project:
        server = warehouse.start(Path(project))
        try:
            for engine in ("postgres", "duckdb"):
                found = []
                for _ in range(asked.runs):
                    ours, bare = compare(engine, server, asked.rows, asked.odd)
                    found.append(ours / bare)
                    print(f"{engine:<9} ours {ours:6.2f} s   bare {bare:6.2f} s   ratio {ours / bare:.2f}", flush=True)
                print(f"{engine:<9} median ratio {median(found):.2f} (limit {LIMIT:.0f})")
        finally:
            warehouse.stop(Path(project))


if __name__ == "__main__":
    main()
