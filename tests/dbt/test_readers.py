"""What each learning system reads, on an account of 33 posts whose answers were worked out by hand."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from extract.reading.post_ids import snowflake
from tests.conftest import ROOT
from tests.support.warehouse import START, Warehouse

KEY = {
    "content_metadata": "decision_id",
    "real_tweet_metrics": "snapshot_id",
    "follower_snapshots": "snapshot_id",
}
ALPHA = {"generator_name": "alpha", "tone": "bold", "visual_format": "chart"}
BETA = {"generator_name": "beta", "tone": "calm", "visual_format": "photo"}


class Account:
    """Posts, each with one reading 30 hours later, and the account's followers at 08:00 of five days."""

    def __init__(self) -> None:
        self.content: list[dict[str, Any]] = []
        self.readings: list[dict[str, Any]] = []
        for day in (1, 2, 3, 4):  # engagement of a day: 40 + 30 + 10 + 4 + 20 = 104
            self.post(day, 9, "7 facts about sleep", (30, 5, 5, 1000), **ALPHA, topic_cluster="sleep")
            self.post(day, 10, "Why do you wake at night", (20, 5, 5, 1000), **ALPHA)
            self.post(day, 14, "Never skip breakfast again", (8, 1, 1, 1000), **ALPHA)
            self.post(day, 18, "A quiet line about focus", (3, 1, 0, 1000), **ALPHA)
            self.post(day, 22, "Sleep is a skill", (15, 3, 2, 4000), **BETA)
        for minute in range(11):  # a busy day that brings next to nothing
            self.post(5, 20, "Read this now", (1, 0, 0, 500), minute=minute, **ALPHA)
        # a reply, which would win every mart that counts it, and a thread, whose second part is no post
        self.post(1, 9, "Thanks", (9000, 10, 10, 10_000), minute=5, decision_type="reply")
        self.post(4, 11, "Two parts of one story", (8, 1, 1, 1000), part=(1, 0, 0, 300), decision_type="thread")
        self.followers = [
            {
                "snapshot_id": f"f{day}",
                "account_id": "me",
                "snapshot_at": START + timedelta(days=day - 1, hours=8),
                "follower_count": count,
            }
            for day, count in ((1, 1000), (2, 1010), (3, 1013), (4, 1013), (5, 1013))
        ]

    def post(
        self,
        day: int,
        hour: int,
        content: str,
        counters: tuple[int, int, int, int],
        minute: int = 0,
        part: tuple[int, int, int, int] | None = None,
        **more: Any,
    ) -> None:
        at = START + timedelta(days=day - 1, hours=hour, minutes=minute)
        serial = len(self.content) + 1
        tweets = [snowflake(at, serial)] + ([snowflake(at + timedelta(seconds=9), serial)] if part else [])
        self.content.append(
            {
                "decision_id": f"d{serial:02d}",
                "decision_type": "single",
                "content": content,
                "thread_tweet_ids": tweets if part else None,
                "thread_parts": [content, "and the second"] if part else None,
                "generation_source": "real",
                "status": "posted",
                "tweet_id": tweets[0],
                "created_at": at,
                "posted_at": at,
                "updated_at": at,
                **more,
            }
        )
        for tweet, (likes, retweets, replies, views) in zip(tweets, [counters, *([part] if part else [])], strict=True):
            self.readings.append(
                {
                    "snapshot_id": f"s{len(self.readings):02d}",
                    "tweet_id": tweet,
                    "collected_at": at + timedelta(hours=30),
                    "status": "ok",
                    "validation_passed": True,
                    "likes": likes,
                    "retweets": retweets,
                    "replies": replies,
                    "views": views,
                    "data_source": "replay",
                }
            )


@pytest.fixture
def read(warehouse: Warehouse) -> Warehouse:
    account = Account()
    warehouse.load(
        {
            "content_metadata": account.content,
            "real_tweet_metrics": account.readings,
            "follower_snapshots": account.followers,
        },
        KEY,
    )
    warehouse.build()
    return warehouse


def plain(value: object) -> object:
    return float(value) if isinstance(value, Decimal) else value


def ask(warehouse: Warehouse, query: str) -> list[tuple[object, ...]]:
    return [tuple(plain(value) for value in row) for row in warehouse.project.rows(query)]


def query_of(reader: str) -> str:
    """The query that docs/reference/readers.md says the reader runs."""
    page = (ROOT / "docs" / "reference" / "readers.md").read_text()
    found = re.search(rf"^## {reader}\n.+?```sql\n(.+?)\n```", page, flags=re.DOTALL | re.MULTILINE)
    assert found, reader
    return found[1]


def test_each_reader_gets_the_answer_that_was_worked_out_by_hand(read: Warehouse) -> None:
    def answer(reader: str) -> list[tuple[object, ...]]:
        return ask(read, query_of(reader))

    # a day later there were 13, 3 and 0 followers more than before the posts of days 1 to 3; what came of day 4 is not
    # known: its posts are counted, and in no mean
    loop = answer("real-time-learning-loop")
    third = (pytest.approx(16 / 3, abs=1e-6), pytest.approx(1 / 3, abs=1e-6))
    assert loop[0] == ("reply statement", "reply", "statement", 1, 1, 13.0, 1.0)
    assert sorted(loop[1:]) == [
        ("single negative_command", "single", "negative_command", 4, 3, *third),
        ("single number_first", "single", "number_first", 4, 3, *third),
        ("single question", "single", "question", 4, 3, *third),
        ("single statement", "single", "statement", 8, 6, *third),
    ]

    # rates: 9 h 0.04, 10 h 0.03, 14 h 0.01, 22 h 0.005, 18 h 0.004, 20 h 0.002; the thread's hour has one post
    assert answer("dynamic-timing-optimizer") == [(9,), (10,), (14,)]
    # 21 posts on four days: 5; the busy day scores 0.6 x 11 + 0.4 x 1 = 7, the others 0.6 x 106.5 + 0.4 x 20.35 = 72.04
    assert answer("quantity-optimizer") == [(5, 288)]
    # all classes gained the same; likes + 2 retweets: 40 for numbers, 30 for questions
    assert answer("hook-analysis") == [("number_first",)]
    # peers of the "7 facts": each 40, times 2 (the strongest hook), against 40; followers: 26 for 3, and 16 for 0
    assert sorted(answer("predictive-viral-scoring")) == [("engagement", 40.0), ("followers", 19.5)]
    assert answer("few-shot-provider") == (
        [("7 facts about sleep", 0.04)] * 4
        + [("Why do you wake at night", 0.03)] * 4
        + [("Sleep is a skill", 0.005)] * 2
    )
    # 4,000 against 38,500 / 32 views; confidence is the mean of 4 posts of 10 and of no spread at all
    lift = pytest.approx(4000 / 1203.125, abs=1e-6)
    assert answer("content-pattern-learning") == [
        ("beta x calm", lift, 0.7),
        ("beta x photo", lift, 0.7),
        ("beta x calm x photo", lift, 0.7),
        ("calm x photo", lift, 0.7),
    ]

    # what those first queries return besides
    assert ask(read, "select start_hour, end_hour, hours, mean_engagement_rate from analytics.peak_windows") == [
        (9, 10, 2, 0.035)
    ]
    worst = "select post_hour from analytics.posting_hours where is_worst order by post_hour"
    assert ask(read, worst) == [(18,), (20,)]
    days = "select post_date, posts, engagement, band from analytics.posting_days order by post_date"
    assert ask(read, days) == [
        (date(2026, 7, 1), 5, 104, "up to 10"),
        (date(2026, 7, 2), 5, 104, "up to 10"),
        (date(2026, 7, 3), 5, 104, "up to 10"),
        (date(2026, 7, 4), 6, 114, "up to 10"),
        (date(2026, 7, 5), 11, 11, "11 to 20"),
    ]
    bands = "select band, score, is_recommended from analytics.posting_bands order by score desc"
    assert ask(read, bands) == [("up to 10", 72.04, True), ("11 to 20", 7.0, False)]
    hooks = "select hook_text, posts, mean_engagement from analytics.top_hooks order by hook_rank limit 2"
    assert ask(read, hooks) == [("7 facts about sleep", 4, 40.0), ("Why do you wake at night", 4, 30.0)]


def test_the_seeds_two_questions_are_answered(read: Warehouse, tmp_path: Path) -> None:
    compiled = tmp_path / "project" / "target" / "compiled" / "levelset" / "dbt_project" / "analyses"
    read.compile("recent_posts", "last_seven_days")

    recent = ask(read, (compiled / "recent_posts.sql").read_text())
    # the newest reading is of 02:10 on the 7th; those of the busy day and one more came within the 24 hours before
    assert len(recent) == 12
    assert recent[0][1:4] == (1, 0, 500)
    assert recent[-1][1:] == (15, 3, 4000, datetime(2026, 7, 6, 4))  # noqa: DTZ001  UTC, as the column is
    # every tweet once: 31 single posts, one reply, a thread of two
    total, likes, views = ask(read, (compiled / "last_seven_days.sql").read_text())[0]
    assert (total, likes, views) == (34, pytest.approx(9324 / 34), pytest.approx((38_500 + 10_000 + 300) / 34))
