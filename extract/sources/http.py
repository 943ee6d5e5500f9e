"""The reader without a browser: asks the site's JSON endpoints directly. For sites that allow it, as the local one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import stamina

from extract.answers.graphql import UNEXPECTED, focal_reading, read_cursor, read_error, read_graphql
from extract.attempt import Attempt, Now, Profile
from extract.manners import Pace
from extract.record import READ, WALLS, Reading, Status

TRIES = 3
_RETRIED = (500, 502, 503, 504)


class Refused(Exception):
    """An answer that carries no post: its status says why."""

    def __init__(self, reading: Reading) -> None:
        super().__init__(reading.status.value)
        self.reading = reading


def refusal(code: int, body: Any, headers: Any) -> Reading | None:
    """The reading that an HTTP answer without data stands for; None where it carries data."""
    if code == 429:
        reset = headers.get("x-rate-limit-reset")
        return Reading(Status.RATE_LIMITED, detail=f"asked to wait until {reset} (epoch)" if reset else "HTTP 429")
    if code in _RETRIED:
        return Reading(Status.OVERLOADED, detail=f"HTTP {code}")
    if not isinstance(body, dict):
        return Reading(Status.BLOCKED if code < 400 else Status.NO_DATA, detail=f"HTTP {code}, no JSON")
    if body.get("data") in (None, {}) and body.get("errors"):
        return read_error(list(body["errors"]))
    return None if isinstance(body.get("data"), dict) else Reading(Status.LAYOUT_CHANGED, detail=f"HTTP {code}")


def read_profile(body: dict[str, Any], account: str, now: Now) -> Profile | None:
    """The followers of a UserByScreenName answer; None where it shows no user."""
    try:
        legacy = body["data"]["user"]["result"]["legacy"]
        counts = [legacy.get(key) for key in ("followers_count", "friends_count", "statuses_count")]
    except UNEXPECTED:
        return None
    followers, following, tweets = (c if isinstance(c, int) and not isinstance(c, bool) else None for c in counts)
    return Profile(account, now(), followers, following, tweets)


class HttpSource:
    """Timeline pages first (20 posts an answer), then one answer a post for what the timeline did not show."""

    name = "http"

    def __init__(self, base_url: str, account: str, now: Now) -> None:
        self.wall: Reading | None = None
        self._base = base_url.rstrip("/")
        self._account = account
        self._now = now
        self._pace = Pace(base_url)

    def collect(self, wanted: Sequence[str]) -> Iterator[Attempt | Profile]:
        left = dict.fromkeys(wanted)
        headers = {"user-agent": "levelset (reads its own account's posts)"}
        with httpx.Client(base_url=self._base, headers=headers, timeout=20) as client:
            try:
                yield from self._profile(client)
                yield from self._timeline(client, left)
                for tweet_id in list(left):
                    yield self._post(client, tweet_id)
                    if self.wall is not None:
                        return
            except Refused as refused:
                self.wall = refused.reading

    def _ask(self, client: httpx.Client, operation: str, variables: dict[str, Any]) -> tuple[dict[str, Any], int]:
        """The answer's body and how many tries it took. Raises Refused for an answer without data."""
        tries = 0
        for attempt in stamina.retry_context(on=(httpx.TransportError, _Overloaded), attempts=TRIES, wait_initial=0.5):
            with attempt:
                tries += 1
                time.sleep(self._pace.delay())
                path = f"/i/api/graphql/http/{operation}"
                answer = client.get(path, params={"variables": json.dumps(variables)})
                try:
                    body = answer.json()
                except ValueError:
                    body = None
                refused = refusal(answer.status_code, body, answer.headers)
                if refused is not None and refused.status is Status.OVERLOADED:
                    raise _Overloaded(refused)
                if refused is not None:
                    raise Refused(refused)
        return body, tries

    def _profile(self, client: httpx.Client) -> Iterator[Profile]:
        body, _ = self._ask(client, "UserByScreenName", {"screen_name": self._account})
        profile = read_profile(body, self._account, self._now)
        if profile is not None:
            yield profile

    def _timeline(self, client: httpx.Client, left: dict[str, None]) -> Iterator[Attempt]:
        cursor: str | None = None
        seen_before = -1
        while left and len(left) != seen_before:
            seen_before = len(left)
            started = time.monotonic()
            body, tries = self._ask(client, "UserTweets", {"screen_name": self._account, "cursor": cursor})
            took = round((time.monotonic() - started) * 1000)
            for reading in read_graphql(body["data"], "xhr:UserTweets"):
                if reading.tweet_id in left and reading.status in READ:
                    del left[reading.tweet_id]
                    yield Attempt(reading.tweet_id, reading, self._now(), tries, took)
            cursor = read_cursor(body["data"])
            if cursor is None:
                return

    def _post(self, client: httpx.Client, tweet_id: str) -> Attempt:
        started = time.monotonic()
        tries = TRIES
        try:
            body, tries = self._ask(client, "TweetResultByRestId", {"tweetId": tweet_id})
            reading = focal_reading(body["data"], tweet_id, "xhr:TweetResultByRestId")
            reading = reading or Reading(Status.WRONG_POST, detail="the answer shows other posts only")
        except Refused as refused:
            reading = refused.reading
            if reading.status in WALLS:
                self.wall = reading
        except httpx.TransportError as error:
            reading = Reading(Status.TIMEOUT, detail=type(error).__name__)
        took = round((time.monotonic() - started) * 1000)
        return Attempt(tweet_id, reading, self._now(), tries, took)


class _Overloaded(Refused):
    """Worth another try in a moment."""
