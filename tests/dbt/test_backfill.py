"""Moving from the old tables: copied whole, compared by cause, and no longer read."""

from __future__ import annotations

import re
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import dlt
import psycopg
import pytest

from extract.reading.post_ids import snowflake
from orchestrate.backfill import backfill
from orchestrate.errors import Trouble
from reconcile import diff
from tests.conftest import ROOT, Database
from tests.support.warehouse import START, Warehouse

KEY = {"content_metadata": "decision_id", "real_tweet_metrics": "snapshot_id"}
POSTED = {name: START + timedelta(days=i, hours=9) for i, name in enumerate("abcdef")}
IDS = {name: snowflake(at, 1) for name, at in POSTED.items()}


def load(warehouse: Warehouse) -> None:
    """Six posts, a to f, each read once: 10 likes, 2 retweets, 1 reply, no views told of d."""
    content, readings = [], []
    for name, at in POSTED.items():
        row: dict[str, Any] = {"decision_id": name, "decision_type": "single", "content": name, "status": "posted"}
        content.append({**row, "tweet_id": IDS[name], "created_at": at, "posted_at": at, "updated_at": at})
        reading = {"snapshot_id": name, "tweet_id": IDS[name], "collected_at": at + timedelta(hours=2)}
        counters = {"likes": 10, "retweets": 2, "replies": 1, "views": None if name == "d" else 900}
        readings.append({**reading, "status": "ok", "validation_passed": True, **counters})
    warehouse.load({"content_metadata": content, "real_tweet_metrics": readings}, KEY)
    warehouse.build("-s", "staging", "intermediate", "marts.engagement")


def old_tables(database: Database) -> str:
    """The database of the old system: every row of a is right, the others each went wrong in their own way."""
    wrong = {
        "a": (10, 900, 0, 1),
        "b": (10, 900, 0, 2),  # occurs twice
        "c": (0, 900, 0, 1),  # zero over a number
        "d": (10, 300, 0, 1),  # a number over nothing
        "e": (10, 900, 7, 1),  # seven hours off
        "f": (10, 900, 0, 0),  # lost
        "x": (68_000, 900, 0, 1),  # no post
    }
    ids = {**IDS, "x": snowflake(START, 99)}
    rows = [
        f"('{name}', '{ids[name]}', {likes}, 2, 1, {views},"
        f" timestamptz '{(POSTED.get(name, START) + timedelta(hours=hours)).isoformat()}')"
        for name, (likes, views, hours, copies) in wrong.items()
        for _ in range(copies)
    ]
    columns = "decision_id, tweet_id, {0}, {1}, {2}, {3}, created_at"
    plain = columns.format("likes", "retweets", "replies", "impressions")
    counted = columns.format("likes_count", "retweets_count", "replies_count", "impressions_count")
    database.run(
        f"create table outcomes as select * from (values {', '.join(rows)}) as old ({plain})",
        f"create table learning_posts as select * from (values {', '.join(rows)}) as old ({counted})",
        "create table tweet_metrics as select * from learning_posts",
    )
    return f"postgresql://postgres:secret@localhost/{database.name}?host={database.host}"


@pytest.fixture
def destination(warehouse: Warehouse) -> Any:
    of = warehouse.project
    if of.database is None:
        return dlt.destinations.duckdb(str(of.duckdb_file))
    address = f"postgresql://postgres:none@localhost:5432/{of.database.name}?host={of.database.host}"
    return dlt.destinations.postgres(address)


def url(warehouse: Warehouse, tmp_path: Path) -> str:
    of = warehouse.project
    if of.database is not None:
        return of.database.url
    of.run("checkpoint")  # dbt, in this process, keeps the file itself open
    return f"duckdb:{shutil.copy(of.duckdb_file, tmp_path / 'copy.duckdb')}"


def test_the_old_tables_are_copied_and_every_difference_has_its_cause(
    warehouse: Warehouse, destination: Any, other: Database, tmp_path: Path
) -> None:
    load(warehouse)
    address = old_tables(other)
    for _ in range(2):  # doing it again replaces the copies
        copied = backfill(destination, tmp_path / "pipelines", address, None)
        assert copied.rows == {"outcomes": 7, "learning_posts": 7, "tweet_metrics": 7}

    warehouse.build("-s", "legacy_differences", "--vars", "{legacy: [outcomes, learning_posts, tweet_metrics]}")
    found = warehouse.project.rows("select table_name, row_key, cause, legacy_rows from analytics.legacy_differences")
    causes = {
        "b": ("counted twice", 2),
        "c": ("zero over a number", 1),
        "d": ("number over nothing", 1),
        "e": ("wrong hour", 1),
        "f": ("lost", 0),
        "x": ("nothing behind it", 1),
    }
    ids = {**IDS, "x": snowflake(START, 99)}
    assert sorted(found) == sorted(
        (table, name if table == "outcomes" else ids[name], *told)
        for table in ("outcomes", "learning_posts", "tweet_metrics")
        for name, told in causes.items()
    )

    where = url(warehouse, tmp_path)
    sides = (f"{where}#analytics.outcomes", f"{where}#legacy.outcomes")
    table = diff(*sides, key="decision_id", columns=("likes", "impressions", "created_at")).tables[0]
    assert (table.drift.missing, table.drift.extra, table.drift.duplicate) == (1, 1, 1)
    assert table.causes == {"zeroed": 1, "filled": 1, "duplicate": 1}
    # naive UTC and a time with a zone are two types: named, not cast
    assert [change.column for change in table.schema_changes] == ["created_at"]


def test_what_cannot_be_copied_is_a_sentence_without_the_password(database: Database, tmp_path: Path) -> None:
    destination = dlt.destinations.duckdb(str(tmp_path / "warehouse.duckdb"))
    address = f"postgresql://postgres:secret@localhost/{database.name}?host={database.host}"
    for given, said in (
        (None, "no database to copy from: name it"),
        (address, r"no table outcomes in postgresql://postgres:\*\*\*@localhost/"),
        (
            address.replace(database.name, "nowhere"),
            r"cannot read postgresql://postgres:\*\*\*@.+ does not exist",
        ),
        ("mysql://me:secret@db/x", r"cannot read mysql://me:\*\*\*@db/x: "),
        ("mysql://me:a@secret@db/x?password=secret@", r"cannot read mysql://me:\*\*\*@"),
        ("nonsense", "cannot read nonsense: "),
    ):
        with pytest.raises(Trouble, match=said) as refused:
            backfill(destination, tmp_path / "pipelines", given, None)
        assert "secret@" not in str(refused.value)


def test_the_documented_cut_over_lets_old_readers_read_but_not_write(pg_warehouse: Warehouse) -> None:
    warehouse, database = pg_warehouse, pg_warehouse.database
    load(warehouse)
    old_tables(database)
    bot = f"bot_{database.name}"
    statements = re.search(r"```sql\n +(grant usage.+?)```", (ROOT / "docs/how-to/migrate.md").read_text(), re.DOTALL)
    assert statements
    owned = "outcomes, learning_posts, tweet_metrics"
    database.run(f"create role {bot} login", f"grant select, insert, update, delete on {owned} to {bot}")
    database.run(*(s for s in re.sub(r"\bbot\b", bot, statements[1]).split(";") if s.strip()))
    try:
        with psycopg.connect(database.conninfo, user=bot, autocommit=True) as reader:
            assert reader.execute("select count(*), max(likes) from outcomes").fetchone() == (6, 10)
            for table in ("outcomes", "public.outcomes"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    reader.execute(f"delete from {table}")
        warehouse.build("--full-refresh", "-s", "outcomes")
        with psycopg.connect(database.conninfo, user=bot) as reader:
            assert reader.execute("select count(*) from outcomes").fetchone() == (6,)
    finally:
        database.run(f"drop owned by {bot}", f"drop role {bot}")
