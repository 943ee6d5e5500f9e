"""The validator's rules, one by one, and on real series of real counters."""

from __future__ import annotations

import csv
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from extract.reading.attempt import Attempt
from extract.reading.post_ids import snowflake
from extract.reading.record import COUNTERS, Count, Counters, Reading, Status
from extract.validate import Expected, Held, Known, ReadingVerdict, judge

SERIES = Path(__file__).parent / "series"
NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
POSTED = NOW - timedelta(hours=5)
TWEET = snowflake(POSTED)


def reading(
    status: Status = Status.OK, tweet_id: str | None = TWEET, author: str = "me", **values: int | None
) -> Reading:
    defaults = {"likes": 40, "retweets": 8, "replies": 4, "quotes": 2, "bookmarks": 6, "views": 2000}
    counts = {k: None if v is None else Count(v, "test") for k, v in {**defaults, **values}.items()}
    return Reading(status, tweet_id=tweet_id, counters=Counters(**counts), author=author)


def expected(**more: object) -> Expected:
    return Expected(**{"tweet_id": TWEET, "account": "me", "posted_at": POSTED, **more})  # type: ignore[arg-type]


def known(hours_ago: float, **values: int | None) -> Known:
    return Known(NOW - timedelta(hours=hours_ago), reading(**values).counters.values())


def verdict(read: Reading, what: Expected | None = None, at: datetime = NOW) -> tuple[ReadingVerdict, list[str]]:
    found = judge(Attempt(TWEET, read, at), what or expected(), NOW)
    return found.verdict, [reason.split(":")[0] for reason in found.reasons]


def test_a_plain_reading_is_accepted() -> None:
    assert verdict(reading()) == (ReadingVerdict.ACCEPTED, [])


def test_a_post_that_is_gone_is_a_status_and_no_judgement() -> None:
    assert verdict(Reading(Status.DELETED)) == (ReadingVerdict.NONE, [])


@pytest.mark.parametrize(
    ("read", "what", "rules"),
    [
        (reading(tweet_id="1234567890123"), expected(), ["wrong_post"]),
        (reading(author="neighbour"), expected(), ["wrong_author"]),
        (reading(), expected(posted_at=POSTED - timedelta(hours=4)), ["snowflake_clock"]),
        (reading(), expected(posted_at=NOW + timedelta(hours=1)), ["observed_before_posted", "snowflake_clock"]),
        (reading(status=Status.REPOST), expected(), ["repost"]),
    ],
)
def test_rejected(read: Reading, what: Expected, rules: list[str]) -> None:
    assert verdict(read, what) == (ReadingVerdict.REJECTED, rules)


def test_a_reply_that_shows_its_parent_is_rejected() -> None:
    parent = "1999999999999999999"
    found, rules = verdict(reading(tweet_id=parent), expected(target_tweet_id=parent))

    assert (found, rules) == (ReadingVerdict.REJECTED, ["wrong_post", "wrong_post"])


def test_an_observation_from_the_future_is_rejected() -> None:
    assert verdict(reading(), at=NOW + timedelta(minutes=5))[1] == ["observed_in_future"]


@pytest.mark.parametrize(
    ("read", "history", "rule"),
    [
        (reading(replies=0), known(1, replies=37), "false_zero"),
        (reading(views=1000), known(1, views=2000), "views_fell"),
        (reading(likes=30), known(1, likes=40), "likes_fell"),
        (reading(likes=2500), None, "likes_above_views"),
        (reading(views=60_000), known(0.1, views=1000), "views_jumped"),
        (reading(status=Status.FLOOR_ONLY), None, "floor_only"),
    ],
)
def test_suspect(read: Reading, history: Known | None, rule: str) -> None:
    assert verdict(read, expected(history=[history] if history else [])) == (ReadingVerdict.SUSPECT, [rule])


@pytest.mark.parametrize(
    ("read", "history"),
    [
        (reading(likes=37), known(1, likes=40)),  # counters sink a little
        (reading(replies=0), known(1, replies=3)),  # below 5 a zero is plausible
        (reading(likes=10), known(24 * 5, likes=40)),  # long ago
        (reading(views=1800), known(1, views=2000)),  # replicas differ by up to 310
    ],
)
def test_what_real_counters_do_is_accepted(read: Reading, history: Known) -> None:
    assert verdict(read, expected(history=[history])) == (ReadingVerdict.ACCEPTED, [])


def test_an_exact_number_within_an_abbreviated_one_is_no_fall() -> None:
    rounded = Counters(**{**vars(reading().counters), "likes": Count(1100, "text", 100)})
    read = Reading(Status.OK, tweet_id=TWEET, counters=rounded, author="me")

    assert verdict(read, expected(history=[known(1, likes=1187)])) == (ReadingVerdict.ACCEPTED, [])
    fallen_views = expected(history=[known(1, likes=1187, views=20000)])
    assert verdict(read, fallen_views) == (ReadingVerdict.SUSPECT, ["views_fell"])


def test_a_suspect_reading_is_accepted_when_it_is_confirmed_ten_minutes_later() -> None:
    held = Held(NOW - timedelta(minutes=11), reading(replies=0).counters.values(), ("false_zero: replies 37 before",))
    early = Held(NOW - timedelta(minutes=9), held.counters, held.reasons)
    history = [known(1, replies=37)]

    assert verdict(reading(replies=0), expected(history=history, held=[early]))[0] is ReadingVerdict.SUSPECT
    assert verdict(reading(replies=0), expected(history=history, held=[held]))[0] is ReadingVerdict.ACCEPTED


def _pairs() -> list[tuple[str, datetime, dict[str, int | None], datetime, dict[str, int | None]]]:
    by_post: dict[str, list[dict[str, str]]] = {}
    for row in csv.DictReader((SERIES / "tweet_counter_history.csv").open()):
        by_post.setdefault(row["tweet_id"], []).append(row)

    def values(row: dict[str, str]) -> dict[str, int | None]:
        return {name: int(row[name]) if row[name] else None for name in COUNTERS}

    def at(row: dict[str, str]) -> datetime:
        return datetime.fromisoformat(row["observed_at"])

    pairs = []
    for tweet_id, rows in by_post.items():
        rows.sort(key=lambda row: row["observed_at"])
        times = list(dict.fromkeys(row["observed_at"] for row in rows))
        last = {time: next(row for row in rows if row["observed_at"] == time) for time in times}
        for before, after in pairwise(times):
            pairs.append((tweet_id, at(last[before]), values(last[before]), at(last[after]), values(last[after])))
    return pairs


def test_a_false_zero_that_a_good_reading_came_after_confirms_no_later_one() -> None:
    """X served false zeros in runs a day long, with good answers between them."""
    held = Held(NOW - timedelta(hours=3), {**known(3).counters, "likes": 0}, ("false_zero: likes 40 before, 0 now",))
    flapping = expected(history=[known(4), known(2)], held=[held])
    lasting = expected(history=[known(4)], held=[held])
    assert verdict(reading(likes=0), flapping) == (ReadingVerdict.SUSPECT, ["false_zero"])
    assert verdict(reading(likes=0), lasting) == (ReadingVerdict.ACCEPTED, [])


def test_on_real_series_every_false_zero_is_held_and_hardly_anything_else() -> None:
    pairs = _pairs()
    verdicts: Counter[ReadingVerdict] = Counter()
    missed = 0
    false_zeros = 0
    others_held = 0
    for tweet_id, before_at, before, after_at, after in pairs:
        counts = {name: None if v is None else Count(v, "series") for name, v in after.items()}
        read = Reading(Status.OK, tweet_id=tweet_id, counters=Counters(**counts))
        what = Expected(tweet_id, "x", None, history=[Known(before_at, before)])
        found = judge(Attempt(tweet_id, read, after_at), what, after_at)
        verdicts[found.verdict] += 1
        zeros = sum((before[n] or 0) >= 5 and after[n] == 0 for n in COUNTERS)
        false_zeros += zeros
        if zeros:
            missed += found.verdict is not ReadingVerdict.SUSPECT
        else:
            others_held += found.verdict is ReadingVerdict.SUSPECT
    assert len(pairs) == 965  # of the file as it is: successive times of the 313 posts read more than once
    assert false_zeros == 22
    assert missed == 0
    assert verdicts[ReadingVerdict.REJECTED] == 0
    assert others_held <= 0.01 * len(pairs)


def test_no_row_of_the_official_export_is_refused() -> None:
    names = {
        "likes": "Likes",
        "retweets": "Reposts",
        "replies": "Replies",
        "bookmarks": "Bookmarks",
        "views": "Impressions",
    }
    for row in csv.DictReader((SERIES / "x_analytics_content_2026.csv").open()):
        counters = Counters(**{name: Count(int(row[column]), "export") for name, column in names.items()})
        read = Reading(Status.OK, tweet_id=row["Post id"], counters=counters)
        found = judge(
            Attempt(row["Post id"], read, NOW + timedelta(days=90)),
            Expected(row["Post id"], "x", None),
            NOW + timedelta(days=90),
        )
        assert found.verdict is ReadingVerdict.ACCEPTED
