"""Which posts a job collects, and why. A pure function of the posts, what was read of them, and the time.

The rules are the jobs' own (docs/collecting.md): ages count from posted_at, never from when the post was queued.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

SCHEDULES = ("age", "quota")  # how `scheduled` picks
BUDGET = 20  # posts a run of `scheduled`: one page of a profile's timeline
# a post younger than the first is read every second of the pair: half of a post's retweets come within 5.4 h, 94 %
# within a day (of 15,563); 86 readings in a post's first 30 days
_BANDS = (
    (timedelta(hours=1), timedelta(minutes=10)),
    (timedelta(hours=6), timedelta(minutes=20)),
    (timedelta(hours=24), timedelta(hours=1)),
    (timedelta(days=7), timedelta(hours=6)),
    (timedelta(days=30), timedelta(days=1)),
)
_OLDEST_BAND = timedelta(days=7)
_SLACK = timedelta(minutes=1)  # a job that starts a little early must not wait another turn
_CONFIRM_AFTER, _CONFIRM_UNTIL = timedelta(minutes=10), timedelta(days=1)
_DAILY = timedelta(days=1) - _SLACK  # a zero, and that a post is gone, is confirmed by days and not by minutes
_GONE_AFTER = timedelta(hours=23)  # two ways of reading that agree, a day apart
_GONE_ONE_WAY, _GONE_DAYS = timedelta(days=7) - timedelta(hours=1), 3  # a site can be wrong for a day
JOBS = ("scheduled", "velocity", "comprehensive", "detailed", "backfill")
_RECENTLY = timedelta(minutes=30)
_CHECKPOINTS = (1, 6, 24, 168)  # hours of age, each within half an hour


@dataclass(frozen=True)
class Gone:
    """A post found deleted or protected since it was last read: when first and last, in how many ways of reading, and
    on how many days."""

    first: datetime
    last: datetime
    ways: int = 1
    days: int = 1

    @property
    def certain(self) -> bool:
        """Whether nothing more is to be asked: two ways agree a day apart, or one says so for a week."""
        lasted = self.last - self.first
        return (self.ways > 1 and lasted >= _GONE_AFTER) or (self.days >= _GONE_DAYS and lasted >= _GONE_ONE_WAY)

    @property
    def seen_twice(self) -> bool:
        """Whether it was no single mishap: from then on it is asked daily."""
        return self.last - self.first >= _CONFIRM_AFTER - _SLACK


@dataclass(frozen=True)
class Candidate:
    """A posted tweet. ``last_collected_at`` counts every attempt, ``taken`` the accepted snapshots: (phase, when).

    ``held_at``: the latest reading, where it was held as suspect; ``zero_at``: where that was for a fall to 0.
    ``gone``: where it was found deleted or protected, and nothing was read of it since.
    """

    tweet_id: str
    decision_id: str
    decision_type: str
    posted_at: datetime
    target_tweet_id: str | None = None
    last_collected_at: datetime | None = None
    taken: Sequence[tuple[str, datetime]] = ()
    held_at: datetime | None = None
    zero_at: datetime | None = None
    gone: Gone | None = None

    @property
    def ended(self) -> bool:
        """Whether it is certainly gone: nothing more is asked of it."""
        return self.gone is not None and self.gone.certain

    @property
    def last_reading(self) -> datetime | None:
        return max((at for _, at in self.taken), default=None)

    def has(self, phase: str, since: datetime, until: datetime) -> bool:
        """Whether an accepted snapshot of that phase was observed between the two instants."""
        return any(taken == phase and since <= at <= until for taken, at in self.taken)


@dataclass(frozen=True)
class Due:
    """One post to collect now, in which phase, and the reason in words."""

    candidate: Candidate
    phase: str
    reason: str


def due(
    job: str, candidates: Iterable[Candidate], now: datetime, schedule: str = "age", budget: int = BUDGET
) -> list[Due]:
    """The posts that ``job`` collects at ``now``, in the order in which it asks for them.

    ``scheduled`` takes at most ``budget`` posts: by age (the younger, the more often), most overdue first; or, as the
    old system did, by ``quota``. Raises ValueError for an unknown job or schedule.
    """
    newest_first = sorted(candidates, key=lambda c: (c.posted_at, c.tweet_id), reverse=True)
    known = [c for c in newest_first if c.posted_at <= now and (job == "backfill" or not c.ended)]
    if schedule not in SCHEDULES:
        raise ValueError(f"unknown schedule {schedule!r}: one of {', '.join(SCHEDULES)}")
    if job == "scheduled":
        return (_by_age(known, now) if schedule == "age" else _by_quota(known, now))[:budget]
    if job == "velocity":
        return _velocity(known, now)
    if job == "comprehensive":
        return _comprehensive(known, now)
    if job == "detailed":
        recent = [c for c in known if now - c.posted_at <= timedelta(hours=24) and _rested(c, now)]
        return [Due(c, "detailed", "posted within 24 h") for c in recent[:50]]
    if job == "backfill":
        return [Due(c, "backfill", "every post") for c in known if _rested(c, now)]
    raise ValueError(f"unknown job {job!r}: one of {', '.join(JOBS)}")


def _rested(candidate: Candidate, now: datetime) -> bool:
    return candidate.last_collected_at is None or now - candidate.last_collected_at >= _RECENTLY


def turns_waited(post: Candidate, now: datetime) -> float:
    """How long a post has not been tried, in turns of the schedule by age: 1 is due, 2 one turn late."""
    _, every = _band(now - post.posted_at)
    return (now - (post.last_collected_at or post.posted_at)) / every


def _band(age: timedelta) -> tuple[timedelta | None, timedelta]:
    """The band that an age falls into (None: older than all), and how often a post is read in it."""
    return next(((under, every) for under, every in _BANDS if age < under), (None, _OLDEST_BAND))


def _by_age(known: list[Candidate], now: datetime) -> list[Due]:
    overdue: list[tuple[float, Due]] = []
    for c in known:
        band, every = _band(now - c.posted_at)
        if c.held_at is not None and _CONFIRM_AFTER <= now - c.held_at <= _CONFIRM_UNTIL:
            overdue.append((float("inf"), Due(c, "scheduled", "held as suspect: to be confirmed")))
        elif c.zero_at is not None and now - c.zero_at >= _DAILY:
            overdue.append((float("inf"), Due(c, "scheduled", "held for a fall to 0: read daily")))
        elif c.last_collected_at is None:
            overdue.append((float("inf"), Due(c, "scheduled", "never read")))
        elif c.gone is not None and c.gone.seen_twice:
            if now - c.last_collected_at >= _DAILY:
                overdue.append(
                    (turns_waited(c, now), Due(c, "scheduled", "found gone: asked daily until it is certain"))
                )
        elif now - c.last_collected_at >= every - _SLACK:
            which = f"under {_words(band)} old" if band else f"{_words(_BANDS[-1][0])} old and more"
            overdue.append((turns_waited(c, now), Due(c, "scheduled", f"{which}: every {_words(every)}")))
    overdue.sort(key=lambda pair: -pair[0])  # stable: of two as long overdue, the newer post first
    return [item for _, item in overdue]


def _words(span: timedelta) -> str:
    minutes = round(span.total_seconds() / 60)
    if minutes % 1440 == 0 and minutes > 1440:
        return f"{minutes // 1440} d"
    return f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} min"


def _by_quota(known: list[Candidate], now: datetime) -> list[Due]:
    rested = [c for c in known if _rested(c, now)]
    missing = [c for c in rested if not c.taken]

    def younger(c: Candidate, days: int) -> bool:
        return now - c.posted_at < timedelta(days=days)

    fresh = [Due(c, "scheduled", "no metrics, under 7 days old") for c in missing if younger(c, 7)][:15]
    refresh = [Due(c, "scheduled", "refresh, under 24 h old") for c in rested if c.taken and younger(c, 1)][:5]
    older = [
        Due(c, "scheduled", "no metrics, 7 to 30 days old") for c in missing if not younger(c, 7) and younger(c, 30)
    ][:3]
    return fresh + refresh + older


def _velocity(known: list[Candidate], now: datetime) -> list[Due]:
    found = []
    for hours in _CHECKPOINTS:
        phase = f"checkpoint_{hours}h"
        near = [
            Due(c, phase, f"{hours} h old, within half an hour")
            for c in known
            if abs(now - c.posted_at - timedelta(hours=hours)) <= timedelta(minutes=30)
            and not any(taken == phase for taken, _ in c.taken)
        ]
        found += near[:10]
    return found


def _comprehensive(known: list[Candidate], now: datetime) -> list[Due]:
    found = []
    for number, (low, high) in enumerate(((1, 2), (24, 25)), start=1):
        for c in known:
            since, until = c.posted_at + timedelta(hours=low), c.posted_at + timedelta(hours=high)
            if since <= now <= until and not c.has("comprehensive", since, until):
                found.append(Due(c, "comprehensive", f"pass {number}: {low} to {high} h old"))
    return found
