"""Which posts a job collects, and why. A pure function of the posts, what was read of them, and the time.

The rules are the jobs' own (docs/architecture.md): ages count from posted_at, never from when the post was queued.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

JOBS = ("scheduled", "velocity", "comprehensive", "detailed", "backfill")
_RECENTLY = timedelta(minutes=30)
_CHECKPOINTS = (1, 6, 24, 168)  # hours of age, each within half an hour


@dataclass(frozen=True)
class Candidate:
    """A posted tweet. ``last_collected_at`` counts every attempt, ``taken`` the accepted snapshots: (phase, when)."""

    tweet_id: str
    decision_id: str
    decision_type: str
    posted_at: datetime
    target_tweet_id: str | None = None
    last_collected_at: datetime | None = None
    taken: Sequence[tuple[str, datetime]] = ()

    def has(self, phase: str, since: datetime, until: datetime) -> bool:
        """Whether an accepted snapshot of that phase was observed between the two instants."""
        return any(taken == phase and since <= at <= until for taken, at in self.taken)


@dataclass(frozen=True)
class Due:
    """One post to collect now, in which phase, and the reason in words."""

    candidate: Candidate
    phase: str
    reason: str


def due(job: str, candidates: Iterable[Candidate], now: datetime) -> list[Due]:
    """The posts that ``job`` collects at ``now``, in the order in which it asks for them.

    Raises ValueError for an unknown job.
    """
    newest_first = sorted(candidates, key=lambda c: (c.posted_at, c.tweet_id), reverse=True)
    known = [c for c in newest_first if c.posted_at <= now]
    if job == "scheduled":
        return _scheduled(known, now)
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


def _scheduled(known: list[Candidate], now: datetime) -> list[Due]:
    rested = [c for c in known if _rested(c, now)]
    missing = [c for c in rested if not c.taken]

    def younger(c: Candidate, days: int) -> bool:
        return now - c.posted_at < timedelta(days=days)

    fresh = [Due(c, "scheduled", "no metrics, under 7 days old") for c in missing if younger(c, 7)][:15]
    refresh = [Due(c, "scheduled", "refresh, under 24 h old") for c in rested if c.taken and younger(c, 1)][:5]
    older = [
        Due(c, "scheduled", "no metrics, 7 to 30 days old") for c in missing if not younger(c, 7) and younger(c, 30)
    ][:3]
    return (fresh + refresh + older)[:20]


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
