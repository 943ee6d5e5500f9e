"""What the local site shows at a moment: its account, its clock, and the counters of its posts."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from extract.site.account import Account, Post
from extract.site.counters import Truth, counters


class Clock:
    """The site's time: real time, or frozen at ``now``, or running ``speed`` times as fast from there."""

    def __init__(self, now: datetime | None = None, speed: float | None = None) -> None:
        self._base = now or datetime.now(UTC)
        self._speed = speed if speed is not None else (0.0 if now else 1.0)
        self._started = time.monotonic()
        self._offset = timedelta()

    def now(self) -> datetime:
        running = timedelta(seconds=(time.monotonic() - self._started) * self._speed)
        return self._base + running + self._offset

    def advance(self, seconds: float) -> None:
        self._offset += timedelta(seconds=seconds)


class Scene:
    """The account and the clock of a site; what it shows follows from both."""

    def __init__(self, account: Account | None = None, clock: Clock | None = None) -> None:
        self.account = account or Account()
        self.clock = clock or Clock()

    def truth(self, tweet_id: str, at: datetime | None = None) -> Truth | None:
        """The counters of a post at ``at`` (default: now); None where it was deleted or never was."""
        at = at or self.clock.now()
        post = self.account.find(tweet_id, self.clock.now())
        if post is None or (post.deleted_at is not None and post.deleted_at <= at):
            return None
        return counters(self.account.seed, post, at)

    def shown(self, post_id: str) -> tuple[Post | None, Truth | None]:
        """A post and its counters now; either is None where there is none, or it was deleted."""
        return self.account.find(post_id, self.clock.now()), self.truth(post_id)

    def followers(self, at: datetime) -> int:
        """The account's followers: a slow, steady growth from a fixed day."""
        return 1_200 + int((at - datetime(2026, 1, 1, tzinfo=UTC)) / timedelta(hours=3))
