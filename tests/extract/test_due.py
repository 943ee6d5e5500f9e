"""Which posts each job picks, and that age counts from posting."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from extract.due import Candidate, Gone, due

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


def post(hours_old: float, *taken: tuple[str, float], last: float | None = None, name: str = "") -> Candidate:
    """A post of that age, with accepted snapshots (phase, hours ago)."""
    snapshots = tuple((phase, NOW - timedelta(hours=ago)) for phase, ago in taken)
    lasts = [at for _, at in snapshots] + ([NOW - timedelta(hours=last)] if last is not None else [])
    posted_at = NOW - timedelta(hours=hours_old)
    return Candidate(name or f"{hours_old:g}", "d", "single", posted_at, None, max(lasts, default=None), snapshots)


def picked(job: str, *posts: Candidate, schedule: str = "age", budget: int = 20) -> list[tuple[str, str]]:
    return [(item.candidate.tweet_id, item.phase) for item in due(job, posts, NOW, schedule, budget)]


def scheduled(*posts: Candidate, budget: int = 20) -> list[str]:
    return [name for name, _ in picked("scheduled", *posts, budget=budget)]


@pytest.mark.parametrize(
    ("hours_old", "minutes"),
    [(0.9, 10), (5.9, 20), (23.9, 60), (24 * 6.9, 6 * 60), (24 * 29.9, 24 * 60), (24 * 31, 7 * 24 * 60)],
)
def test_the_younger_a_post_the_more_often_it_is_read(hours_old: float, minutes: int) -> None:
    assert scheduled(post(hours_old, ("scheduled", (minutes - 2) / 60))) == []
    assert scheduled(post(hours_old, ("scheduled", minutes / 60))) != []


def test_a_post_is_read_86_times_in_its_first_thirty_days() -> None:
    minute, readings, last = 0, 0, None
    while minute <= 30 * 24 * 60:
        if scheduled(post(minute / 60, *[] if last is None else [("scheduled", (minute - last) / 60)])):
            readings, last = readings + 1, minute
        minute += 10

    assert readings == pytest.approx(86, abs=2)


def test_what_was_never_read_and_what_is_longest_overdue_goes_first() -> None:
    overdue = post(24 * 3, ("scheduled", 30), name="five times its turn")
    fresh = post(0.5, ("scheduled", 0.34), name="twice its turn")
    never = post(24 * 10, name="never read")

    assert scheduled(fresh, overdue, never) == ["never read", "five times its turn", "twice its turn"]
    assert scheduled(fresh, overdue, never, budget=2) == ["never read", "five times its turn"]


def test_a_suspect_reading_is_due_for_confirmation_ten_minutes_later() -> None:
    held = post(48, ("scheduled", 3), last=0.2, name="held")

    assert scheduled(held) == []
    assert scheduled(replace(held, held_at=NOW - timedelta(minutes=12))) == ["held"]
    assert scheduled(replace(held, held_at=NOW - timedelta(minutes=8))) == []
    assert scheduled(replace(held, held_at=NOW - timedelta(hours=30))) == []


def test_a_fall_to_zero_is_read_again_daily() -> None:
    held = post(24 * 40, ("scheduled", 30), last=25, name="held")

    assert scheduled(held) == []
    assert scheduled(replace(held, zero_at=NOW - timedelta(hours=25))) == ["held"]
    assert scheduled(replace(held, zero_at=NOW - timedelta(hours=23))) == []


def gone(hours: float, ways: int, days: int, until: float = 0) -> Gone:
    """Found gone for so many hours, the last time ``until`` hours ago."""
    return Gone(NOW - timedelta(hours=hours + until), NOW - timedelta(hours=until), ways, days)


@pytest.mark.parametrize("job", ["scheduled", "velocity", "comprehensive", "detailed"])
@pytest.mark.parametrize(
    ("found", "ended"),
    [
        (gone(24, ways=2, days=2), True),
        (gone(2, ways=2, days=2), False),
        (gone(24 * 7, ways=1, days=3), True),
        (gone(24 * 6, ways=1, days=6), False),  # one way of reading can be wrong for days
        (gone(24 * 8, ways=1, days=2), False),
    ],
)
def test_a_post_is_asked_for_no_more_once_it_is_certainly_gone(job: str, found: Gone, ended: bool) -> None:
    there = post(24.2)

    assert replace(there, gone=found).ended is ended
    assert not ended or picked(job, replace(there, gone=found)) == []
    assert picked("backfill", replace(there, gone=found)) == [("24.2", "backfill")]


def test_a_post_found_gone_once_keeps_its_turn_and_is_then_asked_daily() -> None:
    young = post(0.5, ("scheduled", 0.4), last=0.2, name="young")

    assert scheduled(replace(young, gone=gone(0, 1, 1, until=0.2))) == ["young"]
    assert scheduled(replace(young, gone=gone(0.2, 1, 1, until=0.2))) == []
    day_old = post(26, last=24, name="day old")
    assert scheduled(replace(day_old, gone=gone(0.2, 1, 1, until=24))) == ["day old"]


def test_an_unknown_schedule_is_refused() -> None:
    with pytest.raises(ValueError, match="age, quota"):
        due("scheduled", [], NOW, "often")


def test_by_quota_scheduled_takes_missing_then_refreshes_then_older() -> None:
    missing = [post(30 + i) for i in range(18)]
    measured = [post(2 + i, ("scheduled", 1)) for i in range(8)]
    older = [post(24 * 8 + i) for i in range(5)]

    names = [name for name, _ in picked("scheduled", *older, *measured, *missing, schedule="quota")]

    assert names[:15] == [f"{30 + i}" for i in range(15)]
    assert names[15:20] == ["2", "3", "4", "5", "6"]
    assert len(names) == 20


def test_by_quota_scheduled_takes_three_older_ones_where_there_is_room() -> None:
    assert picked("scheduled", *[post(24 * 8 + i) for i in range(5)], schedule="quota") == [
        (f"{192 + i}", "scheduled") for i in range(3)
    ]


def test_by_quota_scheduled_leaves_what_was_tried_within_half_an_hour() -> None:
    assert picked("scheduled", post(5, last=0.4), schedule="quota") == []
    assert picked("scheduled", post(5, last=0.6), schedule="quota") == [("5", "scheduled")]


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
