"""Which posts each job picks, and that age counts from posting."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from extract.due import Candidate, due

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


def post(hours_old: float, *taken: tuple[str, float], last: float | None = None, name: str = "") -> Candidate:
    """A post of that age, with accepted snapshots (phase, hours ago)."""
    snapshots = tuple((phase, NOW - timedelta(hours=ago)) for phase, ago in taken)
    lasts = [at for _, at in snapshots] + ([NOW - timedelta(hours=last)] if last is not None else [])
    posted_at = NOW - timedelta(hours=hours_old)
    return Candidate(name or f"{hours_old:g}", "d", "single", posted_at, None, max(lasts, default=None), snapshots)


def picked(job: str, *posts: Candidate) -> list[tuple[str, str]]:
    return [(item.candidate.tweet_id, item.phase) for item in due(job, posts, NOW)]


def test_scheduled_takes_missing_then_refreshes_then_older_missing_and_twenty_at_most() -> None:
    missing = [post(30 + i) for i in range(18)]
    measured = [post(2 + i, ("scheduled", 1)) for i in range(8)]
    older = [post(24 * 8 + i) for i in range(5)]

    names = [name for name, _ in picked("scheduled", *older, *measured, *missing)]

    assert names[:15] == [f"{30 + i}" for i in range(15)]
    assert names[15:20] == ["2", "3", "4", "5", "6"]
    assert len(names) == 20


def test_scheduled_takes_three_older_ones_where_there_is_room() -> None:
    assert picked("scheduled", *[post(24 * 8 + i) for i in range(5)]) == [(f"{192 + i}", "scheduled") for i in range(3)]


def test_scheduled_leaves_what_was_tried_within_half_an_hour() -> None:
    assert picked("scheduled", post(5, last=0.4)) == []
    assert picked("scheduled", post(5, last=0.6)) == [("5", "scheduled")]


def test_velocity_takes_each_checkpoint_once() -> None:
    found = picked("velocity", post(1.4), post(1.6), post(6, ("checkpoint_6h", 0.2)), post(24.5), post(168))

    assert found == [("1.4", "checkpoint_1h"), ("24.5", "checkpoint_24h"), ("168", "checkpoint_168h")]


def test_comprehensive_makes_two_passes_each_once() -> None:
    second = post(24.5, ("comprehensive", 23))  # its first pass, at 1.5 h
    done = post(24.6, ("comprehensive", 23), ("comprehensive", 0.1), name="done")

    assert picked("comprehensive", post(1.5), post(1.2, ("comprehensive", 0.1)), second, done, post(3)) == [
        ("1.5", "comprehensive"),
        ("24.5", "comprehensive"),
    ]


def test_detailed_takes_a_day_and_fifty_at_most() -> None:
    assert len(picked("detailed", *[post(i / 10) for i in range(80)], post(25))) == 50
    assert picked("detailed", post(25)) == []


def test_a_post_from_the_future_is_never_due() -> None:
    assert picked("backfill", post(-1)) == []


def test_an_unknown_job_is_refused() -> None:
    with pytest.raises(ValueError, match="scheduled, velocity"):
        due("hourly", [], NOW)
