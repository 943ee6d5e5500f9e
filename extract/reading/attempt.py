"""What a source yields: one attempt at one post, or one look at the account's profile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from extract.reading.post_ids import Network
from extract.reading.record import Reading

Now = Callable[[], datetime]


@dataclass(frozen=True)
class Attempt:
    """One post asked for and what came of it. ``observed_at`` is aware, UTC; ``latency_ms`` is the answer's time."""

    wanted: str
    reading: Reading
    observed_at: datetime
    tries: int = 1
    latency_ms: int | None = None


@dataclass(frozen=True)
class Profile:
    """The account's own counters at an instant; None where the profile did not say."""

    account: str
    observed_at: datetime
    followers: int | None
    following: int | None
    tweets: int | None


class PostSource(Protocol):
    """Where readings come from. ``collect`` asks for each wanted id once and may stop early at a wall.

    After a wall ``wall`` says which: the posts behind it were not asked for, and no attempt of theirs is yielded.
    ``reread`` asks for posts again by another strategy than ``collect`` used; a source with one strategy yields none.
    """

    name: str
    network: Network
    wall: Reading | None

    def collect(self, wanted: Sequence[str]) -> Iterator[Attempt | Profile]: ...

    def reread(self, wanted: Sequence[str]) -> Iterator[Attempt]: ...
