"""One meaning on every engine: the same staging, as nasty as it comes, gives the same tables, marts included."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from extract.reading.post_ids import snowflake
from tests.support.dbt_projects import Templates
from tests.support.warehouse import START, Warehouse, empty_warehouse

KEY = {"content_metadata": "decision_id", "real_tweet_metrics": "snapshot_id", "follower_snapshots": "snapshot_id"}
TEXTS = (
    "5 facts\nabout sleep you did not know",
    "Never\r\nskip this\tone",
    "\n You  are tired.\n\nWhy?",
    "It is a quiet story\nwhat now",
    "100 %\nof it",
    "Schöne Grüße\u2028today",
    "",
    None,
    " \n ",
    "What a 'day' it\\n was",
)
IDS = (
    "1753999999.1234565",
    "1753999999.1234575",
    "1754000000.5",
    "1754000001",
    "1999999999.9999999",
    "1754000002.0000005",
)


def nasty() -> list[tuple[str, dict[str, list[dict[str, Any]]]]]:
    """Load packages by their ids: lines, seven decimals, NULL and 0 views, simulated posts, a clock that is ahead."""
    packages = []
    for package, load_id in enumerate(IDS):
        content, readings, followers = [], [], []
        for i in range(24):
            at = START + timedelta(hours=5 * i + package, minutes=7)
            serial, kind = 100 * package + i, ("single", "thread", "reply", "single")[i % 4]
            tweets = [snowflake(at, serial), snowflake(at + timedelta(seconds=9), serial)]
            row: dict[str, Any] = {"decision_id": f"d{serial:03d}", "decision_type": kind, "status": "posted"}
            row |= {"content": TEXTS[(i + package) % len(TEXTS)], "tweet_id": tweets[0]}
            row |= {"thread_tweet_ids": tweets, "thread_parts": ["one\ntwo", None]} if kind == "thread" else {}
            row |= {"generation_source": ("real", "synthetic", None, "real")[(i + package) % 4]}
            row |= {
                "topic_cluster": ("sleep", None)[i % 2],
                "generator_name": "ab"[i % 2],
                "tone": ("dry", "x\ny")[i % 2],
            }
            row |= {"predicted_followers": i % 5, "predicted_engagement": None if i % 3 else 2 * i}
            content.append({**row, "created_at": at - timedelta(hours=1), "posted_at": at, "updated_at": at})
            for n, hours in enumerate((0.5, 1, 24.2)):
                views = (None, 0, 1000 + 37 * i * (n + 1), 40)[(i + n) % 4]
                reading = {"snapshot_id": f"s{serial}-{n}", "tweet_id": tweets[n % 2 if kind == "thread" else 0]}
                reading |= {
                    "collected_at": at + timedelta(hours=hours),
                    "status": "ok",
                    "validation_passed": n < 2 or i % 5 > 0,
                }
                reading |= {"likes": (None, 0, 3 * i)[(i + n) % 3], "retweets": i % 7, "replies": i % 3, "views": views}
                readings.append({**reading, "quotes": None if i % 4 else 1, "bookmarks": i, "profile_clicks": i % 2})
            reading = {"snapshot_id": f"f{serial}", "account_id": "me", "snapshot_at": at + timedelta(hours=2)}
            followers.append({**reading, "follower_count": None if i % 6 == 0 else 1000 + i})
        packages.append(
            (load_id, {"content_metadata": content, "real_tweet_metrics": readings, "follower_snapshots": followers})
        )
    return packages


@pytest.fixture
def both(templates: Templates, tmp_path: Path) -> Iterator[tuple[Warehouse, Warehouse]]:
    with (
        empty_warehouse(templates, "postgres", tmp_path / "postgres") as one,
        empty_warehouse(templates, "duckdb", tmp_path / "duckdb") as other,
    ):
        yield one, other


def plain(value: object) -> object:
    return json.dumps(value) if isinstance(value, list) else value  # DuckDB's driver leaves JSON as the text it is


def tables(warehouse: Warehouse) -> dict[str, list[str]]:
    listed = "select table_name from information_schema.tables where table_schema = 'analytics' order by 1"
    return {
        str(name): sorted(repr([*map(plain, row)]) for row in warehouse.project.rows(f"select * from analytics.{name}"))
        for (name,) in warehouse.project.rows(listed)
    }


def test_postgres_and_duckdb_build_equal_tables_from_the_nastiest_staging(both: tuple[Warehouse, Warehouse]) -> None:
    found = []
    for warehouse in both:
        for load_id, batches in nasty():
            warehouse.load(batches, KEY, load_id)
        warehouse.build()
        found.append(tables(warehouse))
    assert found[0].keys() == found[1].keys()
    apart = {name: (found[0][name], found[1][name]) for name in found[0] if found[0][name] != found[1][name]}
    assert apart == {}
    assert {name for name, rows in found[0].items() if not rows} <= {
        "content_patterns",
        "extraction_days",
        "reconcile_history",
        "stg_engagement__quarantine",
        "stg_reconcile__verdicts",
    }

    types = "select distinct hook_text, hook_type from analytics.outcomes where hook_text is not null"
    assert set(both[0].project.rows(types)) == {
        ("5 facts about sleep you did not", "number_first"),
        ("Never skip this one", "negative_command"),
        ("You are tired. Why?", "question"),
        ("It is a quiet story what now", "urgency"),
        ("100 % of it", "percentage_first"),
        ("Schöne Grüße\u2028today", "statement"),
        ("", None),
        ("What a 'day' it\\n was", "question"),
    }
