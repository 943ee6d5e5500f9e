"""Judge a reading: every rule has a name and its own verdict; nothing is averaged.

The limits are calibrated on 1,582 successive pairs of real readings and 3,006 real posts (docs/architecture.md):
likes fell in 24.8 % of the pairs and views in none, and X itself served false zeros for a day: of 48 falls of a counter
to 0 in those series, 46 came back with the next readings, and 47 were of that day. So a zero is not believed because
it is read twice: another way of reading must show it too, or days must pass.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from extract.reading.attempt import Attempt
from extract.reading.post_ids import Network, PostId
from extract.reading.record import COUNTERS, READ, Reading, Status
from extract.reading.storable import is_bigint, text_problem

CLOCK_TOLERANCE = timedelta(minutes=10)  # genuine own posts agree within it; wrong ones were 4 to 22 h off
FUTURE_TOLERANCE = timedelta(minutes=2)
_CONFIRMED_AFTER = timedelta(minutes=10)
A_ZERO = 5  # a fall to 0 from this many or more is held
FAULTY_AROUND = timedelta(days=1)  # X's false zeros of all posts were of one day
_ZERO_LASTS = timedelta(days=3)  # ours: three times the longest that X is known to have served one
ZERO_LASTS_IF_OTHERS_RISE = timedelta(days=7)
_ZERO_DAYS = 3  # on so many days it must have been read
FALSE_ZERO = "false_zero"


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
    """An earlier reading of the same post that was held as suspect, with the rules that held it.

    ``selector``: how it was read, as ``Reading.selector`` (None: not known).
    """

    observed_at: datetime
    counters: dict[str, int | None]
    reasons: tuple[str, ...]
    selector: str | None = None

    @property
    def rules(self) -> frozenset[str]:
        return rules_of(self.reasons)


def rules_of(reasons: Sequence[str]) -> frozenset[str]:
    """The names of the rules in the reasons of a judgement."""
    return frozenset(reason.split(":")[0] for reason in reasons)


@dataclass(frozen=True)
class Expected:
    """What is known of the post that was asked for. ``history`` and ``held`` are oldest first.

    ``zeros_elsewhere``: when other posts were held for a fall to 0, in order; with one of them within a day the site is
    at fault: a fall to 0 from any number is held, and no other way of reading confirms it.
    """

    tweet_id: str
    account: str
    posted_at: datetime | None
    target_tweet_id: str | None = None
    network: Network = Network.X
    history: Sequence[Known] = ()
    held: Sequence[Held] = ()
    zeros_elsewhere: Sequence[datetime] = ()

    def site_at_fault(self, at: datetime) -> bool:
        first = bisect_left(self.zeros_elsewhere, at - FAULTY_AROUND)
        return first < len(self.zeros_elsewhere) and self.zeros_elsewhere[first] <= at + FAULTY_AROUND


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
    rejected = tuple(_rejected(attempt, expected, now))
    if any(reason.startswith("not_a_count:") for reason in rejected):
        return Judgement(ReadingVerdict.REJECTED, rejected, attempt.reading.warnings)  # nothing to compare
    warnings = attempt.reading.warnings + tuple(_warned(attempt))
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
    return found + _unstorable(reading)


def _unstorable(reading: Reading) -> list[str]:
    """What no count is, or what no warehouse holds. Such a value costs this reading, and not the load of all others."""
    counts = {**reading.counters.values(), "profile_clicks": reading.profile_clicks}
    found = [
        f"not_a_count: {name} is {value}"
        for name, value in counts.items()
        if value is not None and (not is_bigint(value) or (value < 0 and name in COUNTERS))
    ]
    for name in ("tweet_id", "canonical_id", "author", "detail", "selector"):
        problem = text_problem(getattr(reading, name) or "")
        if problem is not None:
            found.append(f"not_a_text: {name} {problem}")
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
    at_fault = expected.site_at_fault(attempt.observed_at)
    for name in COUNTERS:
        value, before = counters.value(name), last.counters[name]
        if value is None:
            continue
        known = _last_known(earlier, name)
        if known is not None and known >= (1 if at_fault else A_ZERO) and _reach(attempt, name) == 0:
            found.append(f"{FALSE_ZERO}: {name} {known} before, 0 now")
        elif before is None:
            continue
        elif name != "views" and age <= timedelta(days=3) and before - _reach(attempt, name) > max(3, 0.1 * before):
            found.append(f"{name}_fell: {before} before, {value} now")
        elif value > 1_000 and value > 50 * max(before, 1) and name == "views" and age <= timedelta(minutes=10):
            found.append(f"views_jumped: {before} before, {value} now, within {age}")
    return found


def _last_known(earlier: Sequence[Known], name: str) -> int | None:
    """A counter's value in the last reading that shows it."""
    return next((k.counters[name] for k in reversed(earlier) if k.counters[name] is not None), None)


def _reach(attempt: Attempt, name: str) -> int:
    """The largest value that a counter as read can mean: "1.2K" may be 1,299, so a later 1,187 is no fall."""
    count = getattr(attempt.reading.counters, name)
    return int(count.value + count.step - 1)


def _confirmed(attempt: Attempt, expected: Expected, suspect: tuple[str, ...]) -> bool:
    """Whether earlier readings, which were held too, show that a suspect one is right.

    One that an accepted reading came after is refuted by it: X serves false zeros again and again, a day long.
    """
    rules = rules_of(suspect)
    earlier = [k for k in expected.history if k.observed_at < attempt.observed_at]
    accepted = max((k.observed_at for k in earlier), default=None)
    held = [
        h for h in expected.held if h.observed_at <= attempt.observed_at and (not accepted or h.observed_at > accepted)
    ]
    zeros = [reason.split()[1] for reason in suspect if reason.startswith(f"{FALSE_ZERO}:")]
    others = rules - {FALSE_ZERO}
    if zeros and not _zeros_stand(attempt, expected, zeros, held, earlier):
        return False
    return not others or any(
        attempt.observed_at - h.observed_at >= _CONFIRMED_AFTER
        and h.rules - {FALSE_ZERO} == others
        and all(_close(h.counters[name], attempt.reading.counters.value(name)) for name in COUNTERS)
        for h in held
    )


def _zeros_stand(
    attempt: Attempt, expected: Expected, zeros: list[str], held: list[Held], earlier: list[Known]
) -> bool:
    """Whether counters that fell to 0 are believed: another way of reading agrees, or days have passed.

    The other way counts only while no other post is at zero: what X serves wrong is wrong on the page, too. The days
    count only without a held reading between that shows such a counter above 0; they are more while another counter
    rises, since a post that people go on to like hardly lost all its replies.
    """
    same: list[Held] = []
    for h in held:
        if any(h.counters[name] for name in zeros):
            same = []
        elif all(h.counters[name] == 0 for name in zeros):
            same.append(h)
    way = way_of_reading(attempt.reading.selector)
    times = [*(h.observed_at for h in same), attempt.observed_at]
    at_fault = any(expected.site_at_fault(at) for at in times)
    if not at_fault and way is not None and any(way_of_reading(h.selector) not in (None, way) for h in same):
        return True
    if len({at.date() for at in times}) < _ZERO_DAYS:
        return False
    values = attempt.reading.counters.values()
    rise = any(
        (values[name] or 0) > (_last_known(earlier, name) or 0)
        for name in COUNTERS
        if name != "views"  # views never fall
    )
    lasts = ZERO_LASTS_IF_OTHERS_RISE if rise else _ZERO_LASTS
    return times[-1] - times[0] >= lasts


def way_of_reading(selector: str | None) -> str | None:
    """What a selector's readings are made of: two ways that agree are more than one asked twice. None: not known."""
    if selector is None or selector == "parquet":  # a file of readings does not say how they were made
        return None
    if selector.startswith("xhr:"):
        return "answer"
    return {"labels": "page", "ld+json": "page"}.get(selector, selector)


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
