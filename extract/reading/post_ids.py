"""Post ids of each network: their form, and the time of their making, which every one of them carries."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

TWEET_ID = re.compile(r"[0-9]{10,20}")
_SNOWFLAKE_EPOCH_MS = 1_288_834_974_657  # first millisecond a snowflake id can carry (2010-11-04)
_TID_LETTERS = "234567abcdefghijklmnopqrstuvwxyz"  # base32-sortable, as atproto's record keys
_AT_URI = re.compile(rf"at://[\w.:%-]+/app\.bsky\.feed\.post/([{_TID_LETTERS}]{{13}})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Network(StrEnum):
    """Where a post lives: it decides how its id is written."""

    X = "x"
    BLUESKY = "bluesky"
    MASTODON = "mastodon"


@dataclass(frozen=True)
class PostId:
    """An id as content_metadata spells it, on a network."""

    text: str
    network: Network = Network.X

    @property
    def valid(self) -> bool:
        """Whether it has the network's form: 10 to 20 digits, or an at:// URI of a post."""
        pattern = _AT_URI if self.network is Network.BLUESKY else TWEET_ID
        return pattern.fullmatch(self.text) is not None

    def made_at(self) -> datetime:
        """When it was made, aware, UTC. Raises ValueError for an id that is not valid.

        X: milliseconds above 22 bits; Mastodon: milliseconds since 1970 above 16 bits; Bluesky: the record key's
        microseconds since 1970 above 10 bits.
        """
        if not self.valid:
            raise ValueError(f"{self.text!r:.60} is no {self.network.value} post id")
        if self.network is Network.X:
            return snowflake_time(self.text)
        if self.network is Network.MASTODON:
            return _EPOCH + timedelta(milliseconds=int(self.text) >> 16)
        number = 0
        for letter in self.text[-13:]:
            number = number * 32 + _TID_LETTERS.index(letter)
        return _EPOCH + timedelta(microseconds=number >> 10)

    def same_post(self, other: str) -> bool:
        """Whether ``other`` names the same post; on Bluesky one record key may follow a handle or a DID."""
        if self.network is not Network.BLUESKY:
            return self.text == other
        ours, theirs = _AT_URI.fullmatch(self.text), _AT_URI.fullmatch(other)
        return ours is not None and theirs is not None and ours[1] == theirs[1]


def make_id(when: datetime, sequence: int = 0, network: Network = Network.X, author: str = "levelset.test") -> str:
    """An id made at ``when`` (aware), plus ``sequence`` (below 2^10): the inverse of ``made_at``."""
    if network is Network.X:
        return snowflake(when, sequence)
    if network is Network.MASTODON:
        return str(((when - _EPOCH) // timedelta(milliseconds=1) << 16) + sequence)
    number = ((when - _EPOCH) // timedelta(microseconds=1) << 10) + sequence
    key = "".join(_TID_LETTERS[number >> shift & 31] for shift in range(60, -1, -5))
    return f"at://{author}/app.bsky.feed.post/{key}"


def snowflake_time(tweet_id: str) -> datetime:
    """When an id of X was made, in UTC to the millisecond: ids carry their creation time above 22 low bits."""
    return datetime.fromtimestamp(((int(tweet_id) >> 22) + _SNOWFLAKE_EPOCH_MS) / 1000, tz=UTC)


def snowflake(when: datetime, sequence: int = 0) -> str:
    """The smallest id of X made at ``when``, plus ``sequence`` (below 2^22): the inverse of ``snowflake_time``."""
    return str(((round(when.timestamp() * 1000) - _SNOWFLAKE_EPOCH_MS) << 22) + sequence)
