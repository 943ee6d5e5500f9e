"""The law of the core models: an incremental build equals a full refresh, to the byte, whatever came in which order.

Random snapshots (late, shuffled, several a tweet, quarantined and then accepted) and content (late, corrected,
withdrawn, claimed twice) are loaded in random batches with a build after each; then everything is refreshed.
"""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import duckdb
import psycopg
import pytest

from extract.reading.post_ids import snowflake, snowflake_time
from orchestrate.dbt import environment
from reconcile import Verdict, check
from tests.support.warehouse import CORE, START, Warehouse


class World:
    """What a posting account does and what a scraper sees of it, at random."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.posts: dict[str, dict[str, Any]] = {}
        self.serial = 0

    def decision(self) -> dict[str, Any]:
        r = self.random
        self.serial += 1
        posted = START + timedelta(hours=r.uniform(0, 240))
        kind = r.choice(["single", "single", "thread", "reply"])
        root = snowflake(posted, self.serial)
        thread = [root, snowflake(posted + timedelta(seconds=20), self.serial)] if kind == "thread" else None
        status = r.choice(["posted"] * 8 + ["queued", "failed"])
        row = {
            "decision_id": f"d{self.serial:03d}",
            "decision_type": kind,
            "content": r.choice(["5 facts about sleep you missed", "Never skip this", "It's a 'quiet' story", None]),
            "thread_tweet_ids": thread,
            "thread_parts": ["one", "two"] if thread else None,
            "topic_cluster": r.choice(["sleep", "focus", None]),
            "generator_name": r.choice(["a", "b"]),
            "generation_source": r.choice(["real", "synthetic", None]),
            "status": status,
            "tweet_id": root if status == "posted" else r.choice([None, root]),
            "created_at": posted - timedelta(hours=r.uniform(0, 9)),
            "posted_at": posted,
            "updated_at": posted,
        }
        self.posts[row["decision_id"]] = row
        return row

    def correction(self) -> dict[str, Any] | None:
        """A decision told anew: other text, withdrawn, another tweet, or another decision's tweet."""
        if not self.posts:
            return None
        r = self.random
        row = dict(r.choice(list(self.posts.values())))
        what = r.choice(["content", "status", "tweet_id", "claim", "posted_at"])
        if what == "content":
            row["content"] = f"said again {r.random():.3f}"
        elif what == "status":
            row["status"] = "failed" if row["status"] == "posted" else "posted"
        elif what == "tweet_id":
            self.serial += 1
            row["tweet_id"] = snowflake(row["posted_at"], 1000 + self.serial)
        elif what == "claim":
            row["tweet_id"] = r.choice(list(self.posts.values()))["tweet_id"]
        else:
            row["posted_at"] = row["posted_at"] + timedelta(minutes=r.uniform(-5, 5))
        self.posts[row["decision_id"]] = row
        return row

    def tweets(self) -> list[str]:
        ids = [row["tweet_id"] for row in self.posts.values() if row["tweet_id"]]
        return ids + [part for row in self.posts.values() for part in row["thread_tweet_ids"] or []]

    def snapshot(self) -> dict[str, Any] | None:
        tweets = self.tweets()
        if not tweets:
            return None
        r = self.random
        self.serial += 1
        accepted = r.random() < 0.8
        tweet = r.choice(tweets)
        # several at one instant, and late ones: the observation's time says nothing of the load's
        at = START + timedelta(minutes=30 * r.randint(0, 600))
        if r.random() < 0.5:  # near one of the velocity job's checkpoints, on either side of its half hour
            at = snowflake_time(tweet) + timedelta(hours=r.choice([1, 6, 24, 168]), minutes=r.randint(-40, 40))

        def counter(top: int) -> int | None:
            return r.choice([None, 0, r.randint(0, top)]) if r.random() < 0.3 else r.randint(0, top)

        return {
            "snapshot_id": f"s{self.serial:05d}",
            "tweet_id": tweet,
            "collected_at": at,
            "status": "ok" if accepted else "deleted",
            "validation_passed": accepted,
            "likes": counter(90) if accepted else None,
            "retweets": counter(20) if accepted else None,
            "replies": counter(9) if accepted else None,
            "quotes": counter(4) if accepted else None,
            "bookmarks": counter(30) if accepted else None,
            "views": counter(4000) if accepted else None,
            "data_source": "replay",
        }

    def follower_reading(self) -> dict[str, Any]:
        self.serial += 1
        at = START + timedelta(minutes=20 * self.random.randint(0, 900))
        count = self.random.choice([None, 1000 + self.random.randint(0, 50)])
        return {"snapshot_id": f"f{self.serial}", "account_id": "me", "snapshot_at": at, "follower_count": count}


@pytest.mark.long
@pytest.mark.lake
def test_incremental_builds_equal_a_full_refresh_to_the_byte(warehouse: Warehouse, engine_kind: str) -> None:
    world = World(
        {"postgres": 1, "duckdb": 6, "sail": 6}[engine_kind]
    )  # of the worlds that were tried, those that found most
    key = {"content_metadata": "decision_id", "real_tweet_metrics": "snapshot_id", "follower_snapshots": "snapshot_id"}
    held: list[dict[str, Any]] = []
    for _ in range(6 if engine_kind != "sail" else 3):  # a build there takes five times as long
        content = [world.decision() for _ in range(world.random.randint(1, 7))]
        content += [row for row in (world.correction() for _ in range(world.random.randint(0, 3))) if row]
        snapshots = [row for row in (world.snapshot() for _ in range(world.random.randint(0, 25))) if row]
        world.random.shuffle(snapshots)
        # some rows arrive only with a later load: late ones, and quarantined ones accepted at last
        late, snapshots = snapshots[:3], snapshots[3:]
        snapshots, held = snapshots + held, late
        followers = [world.follower_reading() for _ in range(world.random.randint(0, 4))]
        unique = {row["decision_id"]: row for row in content}
        batch = {
            "content_metadata": [*unique.values()],
            "real_tweet_metrics": snapshots,
            "follower_snapshots": followers,
        }
        warehouse.load(batch, key)
        warehouse.build("-s", "marts.engagement")

    incremental = warehouse.contents()
    assert all(len(rows) > 3 for rows in incremental.values()), {t: len(rows) for t, rows in incremental.items()}
    with environment(warehouse.variables):
        folder = warehouse.project.folder
        report = check(project_dir=folder, profiles_dir=folder)
    assert report.verdict is Verdict.LEVEL, [(t.name, t.drift, t.samples[:3]) for t in report.tables]
    warehouse.build("--full-refresh", "-s", "marts.engagement")

    assert warehouse.contents() == incremental


def test_a_row_is_found_by_when_it_was_loaded_not_by_when_it_was_observed(warehouse: Warehouse) -> None:
    world = World(9)
    row = {**world.decision(), "status": "posted", "decision_type": "single", "thread_tweet_ids": None}
    row["tweet_id"] = snowflake(row["posted_at"], 7)
    key = {"content_metadata": "decision_id", "real_tweet_metrics": "snapshot_id"}
    new = {"snapshot_id": "s1", "tweet_id": row["tweet_id"], "validation_passed": True, "status": "ok", "likes": 9}
    warehouse.load(
        {"content_metadata": [row], "real_tweet_metrics": [{**new, "collected_at": START + timedelta(days=20)}]}, key
    )
    warehouse.build("-s", "marts.engagement")
    early = {**new, "snapshot_id": "s0", "likes": 1, "collected_at": START + timedelta(days=11)}
    warehouse.load({"real_tweet_metrics": [early]}, key)
    warehouse.build("-s", "marts.engagement")

    found = warehouse.project.rows("select likes_count, first_metrics_at, collected_at from analytics.tweet_metrics")
    naive = [START.replace(tzinfo=None) + timedelta(days=days) for days in (11, 20)]
    assert found == [(9, naive[0], naive[1])]


def test_a_load_that_becomes_visible_after_a_newer_one_was_built_is_built(warehouse: Warehouse) -> None:
    """Of a loader on another host, or after a clock that was ahead: never by the order of the packages' ids."""
    row: dict[str, Any] = {"decision_type": "single", "status": "posted", "content": "Why?", "posted_at": START}
    ids = {name: snowflake(START, serial) for serial, name in enumerate(("one", "two"), 1)}
    content = {name: {**row, "decision_id": name, "tweet_id": ids[name], "created_at": START} for name in ids}
    key = {"content_metadata": "decision_id", "real_tweet_metrics": "snapshot_id", "follower_snapshots": "snapshot_id"}

    def reading(name: str, serial: int, hours: int) -> dict[str, Any]:
        told = {"snapshot_id": f"s{serial}", "tweet_id": ids[name], "validation_passed": True, "likes": serial}
        return {**told, "collected_at": START + timedelta(hours=hours)}

    def followers(serial: int, hours: int) -> dict[str, Any]:
        at = START + timedelta(hours=hours)
        return {"snapshot_id": f"f{serial}", "account_id": "me", "snapshot_at": at, "follower_count": serial}

    newer = {"real_tweet_metrics": [reading("one", 1, 1)], "follower_snapshots": [followers(1, -1)]}
    warehouse.load(
        {"content_metadata": [content["one"]], **newer}, key, load_id="1999999999.5"
    )  # a clock that is ahead
    warehouse.build("-s", "marts.engagement")
    warehouse.load({"real_tweet_metrics": [reading("one", 2, 24)]}, key, load_id="1785600000.5")
    warehouse.build("-s", "marts.engagement")
    late = {"real_tweet_metrics": [reading("two", 3, 6)], "follower_snapshots": [followers(2, 25)]}
    warehouse.load({"content_metadata": [content["two"]], **late}, key, load_id="1785599999.1234567")
    warehouse.build("-s", "marts.engagement")

    found = warehouse.contents()
    assert {name: len(rows) for name, rows in found.items()} == {
        "tweet_metrics": 2,
        "learning_posts": 2,
        "outcomes": 2,
        "tweet_metrics_history": 3,
        "post_velocity_tracking": 3,
        "follower_growth_attribution": 2,
    }
    warehouse.build("--full-refresh", "-s", "marts.engagement")
    assert warehouse.contents() == found


def test_a_build_on_an_empty_warehouse_is_green_and_the_first_rows_are_not_lost(warehouse: Warehouse) -> None:
    warehouse.build()
    assert warehouse.contents() == {table: [] for table in CORE}

    row = {**World(3).decision(), "status": "posted"}
    row["tweet_id"] = snowflake(row["posted_at"], 5)
    reading = {"snapshot_id": "s", "tweet_id": row["tweet_id"], "validation_passed": True, "collected_at": START}
    key = {"content_metadata": "decision_id", "real_tweet_metrics": "snapshot_id"}
    warehouse.load({"content_metadata": [row], "real_tweet_metrics": [reading]}, key)
    warehouse.build()

    found = {table: len(rows) for table, rows in warehouse.contents().items()}
    assert found == {
        "tweet_metrics": 1,
        "learning_posts": 1,
        "outcomes": 1,
        "tweet_metrics_history": 1,
        "post_velocity_tracking": 0,  # read before it was posted, as the test has it
        "follower_growth_attribution": 0,  # no follower reading
    }


def test_null_is_not_zero_and_rates_do_not_divide_by_it(warehouse: Warehouse) -> None:
    key = {"content_metadata": "decision_id", "real_tweet_metrics": "snapshot_id"}
    posted = START
    cases = [(None, None), (5, None), (5, 0), (5, 1000)]
    content, readings = [], []
    for i, (likes, views) in enumerate(cases):
        tweet_id = snowflake(posted, i + 1)
        row = {"decision_id": f"d{i}", "decision_type": "single", "status": "posted", "tweet_id": tweet_id}
        content.append({**row, "posted_at": posted, "created_at": posted, "updated_at": posted})
        counters = {"likes": likes, "retweets": 1, "replies": 0, "views": views, "quotes": 2}
        reading = {"snapshot_id": f"s{i}", "tweet_id": tweet_id, "validation_passed": True, **counters}
        readings.append({**reading, "collected_at": posted + timedelta(minutes=30)})
    warehouse.load({"content_metadata": content, "real_tweet_metrics": readings}, key)
    warehouse.build()

    found = warehouse.project.rows(
        "select likes, impressions, engagement_rate, first_hour_engagement, virality_coefficient"
        " from analytics.outcomes order by decision_id"
    )
    assert [tuple(None if v is None else float(v) for v in row) for row in found] == [  # type: ignore[arg-type]
        (None, None, None, None, None),
        (5.0, None, None, 6.0, None),
        (5.0, 0.0, None, 6.0, None),
        (5.0, 1000.0, 0.006, 6.0, 0.003),
    ]


def test_a_contract_refuses_what_the_old_tables_took(warehouse: Warehouse) -> None:
    insert = "insert into analytics.learning_posts (tweet_id) values ('1')"
    warehouse.project.run(insert)
    with pytest.raises((psycopg.errors.UniqueViolation, duckdb.ConstraintException)):
        warehouse.project.run(insert)
    with pytest.raises((psycopg.errors.NotNullViolation, duckdb.ConstraintException)):
        warehouse.project.run("insert into analytics.outcomes (decision_id) values (null)")
