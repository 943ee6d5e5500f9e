"""Judge a reading: every rule has a name and its own verdict; nothing is averaged.

The limits are calibrated on 1,582 successive pairs of real readings and 3,006 real posts (docs/architecture.md):
likes fell in 24.8 % of the pairs and views in none, and X itself served 36 false zeros in one day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from extract.reading.attempt import Attempt
from extract.reading.post_ids import Network, PostId
from extract.reading.record import COUNTERS, READ, Status

CLOCK_TOLERANCE = timedelta(minutes=10)  # genuine own posts agree within it; wrong ones were 4 to 22 h off
FUTURE_TOLERANCE = timedelta(minutes=2)
_CONFIRMED_AFTER = timedelta(minutes=10)


class ReadingVerdict(StrEnum):
    ACCEPTED = "accepted"
    SUSPECT = "suspect"
    REJECTED = "rejected"
    NONE = "none"  # the attempt read no counters: a status, and nothing to judge


@dataclass(frozen=True)
class Known:
    """An earlier accepted reading of the same post: counters by name (None: not read), and when it was observed."""

    observed_at: datetime
    counters: dict[str, int | None]


@dataclass(frozen=True)
class Held:
    """An earlier reading of the same post that was held as suspect, with the rules that held it."""

    observed_at: datetime
    counters: dict[str, int | None]
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Expected:
    """What is known of the post that was asked for. ``history`` and ``held`` are oldest first."""

    tweet_id: str
    account: str
    posted_at: datetime | None
    target_tweet_id: str | None = None
    network: Network = Network.X
    history: Sequence[Known] = ()
    held: Sequence[Held] = ()


@dataclass(frozen=True)
class Judgement:
    """The verdict, the rules that led to it (name: what was found), and warnings that led to nothing."""

    verdict: ReadingVerdict
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def judge(attempt: Attempt, expected: Expected, now: datetime) -> Judgement:
    """Accept, hold or refuse one attempt. ``now`` is aware, UTC: nothing may be observed after it."""
    if attempt.reading.status not in READ:
        return Judgement(ReadingVerdict.NONE)
    warnings = attempt.reading.warnings + tuple(_warned(attempt))
    rejected = tuple(_rejected(attempt, expected, now))
    if rejected:
        return Judgement(ReadingVerdict.REJECTED, rejected, warnings)
    suspect = tuple(_suspect(attempt, expected))
    if suspect and not _confirmed(attempt, expected, suspect):
        return Judgement(ReadingVerdict.SUSPECT, suspect, warnings)
    if suspect:
        warnings += tuple(f"confirmed: {reason}" for reason in suspect)
    return Judgement(ReadingVerdict.ACCEPTED, (), warnings)


def _rejected(attempt: Attempt, expected: Expected, now: datetime) -> list[str]:
    reading = attempt.reading
    found = []
    wanted = PostId(expected.tweet_id, expected.network)
    ids = [shown for shown in (reading.tweet_id, reading.canonical_id) if shown is not None]
    if not any(wanted.same_post(shown) for shown in ids):
        found.append(f"wrong_post: asked for {expected.tweet_id}, read {reading.tweet_id}")
    if expected.target_tweet_id is not None and expected.target_tweet_id in ids:
        found.append(f"wrong_post: read the post that {expected.tweet_id} replies to")
    if reading.status is Status.REPOST:
        found.append("repost: a retweet's counters are not those of an own post")
    if not wanted.valid:
        found.append(f"bad_id: {expected.tweet_id!r:.40} is no post id of network {expected.network.value}")
    if reading.author is not None and reading.author.lower() != expected.account.lower():
        found.append(f"wrong_author: the post is by {reading.author}, the account is {expected.account}")
    if attempt.observed_at > now + FUTURE_TOLERANCE:
        found.append(f"observed_in_future: {attempt.observed_at.isoformat()}")
    posted_at = expected.posted_at or reading.posted_at
    if posted_at is not None and attempt.observed_at < posted_at:
        found.append(f"observed_before_posted: posted {posted_at.isoformat()}")
    if posted_at is not None and wanted.valid:
        off = abs(wanted.made_at() - posted_at)
        if off > CLOCK_TOLERANCE:
            found.append(f"snowflake_clock: the id was made {off} away from posted_at {posted_at.isoformat()}")
    for name in COUNTERS:
        value = reading.counters.value(name)
        if value is not None and value < 0:
            found.append(f"not_a_count: {name} is {value}")
    return found


def _suspect(attempt: Attempt, expected: Expected) -> list[str]:
    counters = attempt.reading.counters
    found = []
    if attempt.reading.status is Status.FLOOR_ONLY:
        found.append("floor_only: only abbreviated text was there, which is a lower bound and no count")
    likes, views = counters.value("likes"), counters.value("views")
    if likes is not None and counters.views is not None and likes >= counters.views.value + counters.views.step:
        found.append(f"likes_above_views: {likes} likes, {views} views")
    earlier = [known for known in expected.history if known.observed_at < attempt.observed_at]
    if not earlier:
        return found
    top_views = max((k.counters["views"] for k in earlier if k.counters["views"] is not None), default=None)
    if (
        views is not None
        and top_views is not None
        and top_views - _reach(attempt, "views") > max(310, 0.001 * top_views)
    ):
        found.append(f"views_fell: {top_views} before, {views} now")
    last = earlier[-1]
    age = attempt.observed_at - last.observed_at
    for name in COUNTERS:
        before, value = last.counters[name], counters.value(name)
        if before is None or value is None:
            continue
        if before >= 5 and _reach(attempt, name) == 0:
            found.append(f"false_zero: {name} {before} before, 0 now")
        elif name != "views" and age <= timedelta(days=3) and before - _reach(attempt, name) > max(3, 0.1 * before):
            found.append(f"{name}_fell: {before} before, {value} now")
        elif value > 1_000 and value > 50 * max(before, 1) and name == "views" and age <= timedelta(minutes=10):
            found.append(f"views_jumped: {before} before, {value} now, within {age}")
    return found


def _reach(attempt: Attempt, name: str) -> int:
    """The largest value that a counter as read can mean: "1.2K" may be 1,299, so a later 1,187 is no fall."""
    count = getattr(attempt.reading.counters, name)
    return int(count.value + count.step - 1)


def _confirmed(attempt: Attempt, expected: Expected, suspect: tuple[str, ...]) -> bool:
    """Whether an earlier reading, at least 10 minutes older, was held for the same rules with about the same values.

    One that an accepted reading came after is refuted by it: X serves false zeros again and again, a day long.
    """
    rules = {reason.split(":")[0] for reason in suspect}
    accepted = max((k.observed_at for k in expected.history if k.observed_at < attempt.observed_at), default=None)
    for held in expected.held:
        if attempt.observed_at - held.observed_at < _CONFIRMED_AFTER:
            continue
        if accepted is not None and accepted > held.observed_at:
            continue
        same_rules = {reason.split(":")[0] for reason in held.reasons} == rules
        if same_rules and all(_close(held.counters[name], attempt.reading.counters.value(name)) for name in COUNTERS):
            return True
    return False


def _close(held: int | None, now: int | None) -> bool:
    if held is None or now is None:
        return held is now
    return abs(now - held) <= max(3, 0.1 * held)


def _warned(attempt: Attempt) -> list[str]:
    counters = attempt.reading.counters.values()
    likes, views = counters["likes"], counters["views"]
    retweets, replies, quotes = counters["retweets"], counters["replies"], counters["quotes"]
    found = []
    if likes is not None and views and likes > 0.2 * views:
        found.append(f"like_rate_high: {likes} of {views} views")
    if quotes is not None and retweets is not None and quotes > 3 * retweets:
        found.append(f"quotes_high: {quotes} quotes, {retweets} retweets")
    if likes is not None and replies is not None and likes > 100 and replies > 0.5 * likes:
        found.append(f"replies_high: {replies} replies, {likes} likes")
    return found
