"""One record for every source: what was read of one post at one time, and where each number came from."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """What an attempt came to. Only ``ok``, ``partial``, ``floor_only`` and ``repost`` carry counters."""

    OK = "ok"
    PARTIAL = "partial"  # some counters read, others present but unreadable
    FLOOR_ONLY = "floor_only"  # only abbreviated text ("1.5K") was there: lower bounds
    REPOST = "repost"  # a retweet: its own counters are not the post's
    NO_DATA = "no_data"
    DELETED = "deleted"
    PROTECTED = "protected"
    SUSPENDED = "suspended"
    AGE_RESTRICTED = "age_restricted"
    WITHHELD = "withheld"
    RESTRICTED = "restricted"
    UNAVAILABLE = "unavailable"
    LOGIN_REQUIRED = "login_required"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    BLOCKED = "blocked"
    LAYOUT_CHANGED = "layout_changed"
    TIMEOUT = "timeout"
    WRONG_POST = "wrong_post"


# A run that meets one of these stops: asking on would be rude, and would fail the same way.
WALLS = frozenset({Status.LOGIN_REQUIRED, Status.RATE_LIMITED, Status.BLOCKED})
READ = frozenset({Status.OK, Status.PARTIAL, Status.FLOOR_ONLY, Status.REPOST})


@dataclass(frozen=True)
class Count:
    """A counter as read: the value is at least ``value`` and less than ``value + step`` (step 1: exact)."""

    value: int
    source: str
    step: int = 1


@dataclass(frozen=True)
class Counters:
    """The six counters of a post; None means not read, 0 means read as zero."""

    likes: Count | None = None
    retweets: Count | None = None
    replies: Count | None = None
    quotes: Count | None = None
    bookmarks: Count | None = None
    views: Count | None = None

    def value(self, name: str) -> int | None:
        count: Count | None = getattr(self, name)
        return None if count is None else count.value

    def values(self) -> dict[str, int | None]:
        return {name: self.value(name) for name in COUNTERS}

    def any_read(self) -> bool:
        return any(getattr(self, name) is not None for name in COUNTERS)

    def filled_from(self, other: Counters) -> Counters:
        """These counters, with what they lack taken from ``other`` (a weaker strategy)."""
        return Counters(**{name: getattr(self, name) or getattr(other, name) for name in COUNTERS})


DISAGREEMENT = "disagreement"  # the first word of such a warning: counted, it is the alarm for a changed layout
COUNTERS = tuple(f.name for f in fields(Counters))


@dataclass(frozen=True)
class Reading:
    """One post as one answer shows it.

    ``tweet_id`` is None where the answer does not name a post (an error, an empty result). ``canonical_id`` is the id
    of the post's first version where the post was edited. Times are aware, in UTC. ``warnings`` name what was refused
    and why, one short phrase each.
    """

    status: Status
    tweet_id: str | None = None
    counters: Counters = field(default_factory=Counters)
    author: str | None = None
    posted_at: datetime | None = None
    canonical_id: str | None = None
    detail: str | None = None
    warnings: tuple[str, ...] = ()
    selector: str | None = None  # which strategy gave it: xhr:TweetDetail, ld+json, labels, ...
    profile_clicks: int | None = None  # only the official export tells them
    retry_at: datetime | None = None  # of a rate limit: when the site says to come back

    def names_one_of(self, wanted: Container[str]) -> str | None:
        """The id of ``wanted`` that this is a reading of, by its id or by its first version's; None where none was."""
        named = (self.canonical_id, self.tweet_id)
        return next((i for i in named if i is not None and i in wanted), None) if self.status in READ else None

    def compared_with(self, other: Counters) -> Reading:
        """This reading, with a warning for each counter that another way of reading the same page tells otherwise."""
        found = [
            f"{DISAGREEMENT}: {name}: {mine.source} says {mine.value}, {theirs.source} {theirs.value}"
            for name in COUNTERS
            if (mine := getattr(self.counters, name)) is not None
            and (theirs := getattr(other, name)) is not None
            and not (mine.value < theirs.value + theirs.step and theirs.value < mine.value + mine.step)
        ]
        return replace(self, warnings=self.warnings + tuple(found)) if found else self

    def as_json(self) -> dict[str, Any]:
        """The public record of ``extract read --json``."""
        return {
            "tweet_id": self.tweet_id,
            **self.counters.values(),
            "author": self.author,
            "status": self.status.value,
            "detail": self.detail,
            "warnings": list(self.warnings),
        }
