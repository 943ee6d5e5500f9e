"""The reader without a browser: asks the site's JSON endpoints directly. For sites that allow it, as the local one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any

import httpx

from extract.answers.graphql import UNEXPECTED, focal_reading, read_cursor, read_graphql
from extract.answers.refusals import graphql_refusal
from extract.reading.attempt import Attempt, Now, Profile
from extract.reading.post_ids import Network
from extract.reading.record import WALLS, Reading, Status
from extract.sources.host_policy import Pace
from extract.sources.request import AGENT, TIMEOUT, RequestRefused, ask, check_reached, httpx_get


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
    network = Network.X

    def __init__(self, base_url: str, account: str, now: Now, timeout: float = TIMEOUT) -> None:
        self.wall: Reading | None = None
        self._base = base_url.rstrip("/")
        self._account = account
        self._now = now
        self._timeout = timeout
        self._pace = Pace(base_url)

    def collect(self, wanted: Sequence[str]) -> Iterator[Attempt | Profile]:
        left = dict.fromkeys(wanted)
        with self._client() as client:
            try:
                profile = self._profile(client)
            except RequestRefused as refused:
                check_reached(self._base, refused)
                profile = None
                self._note_wall(refused)
            if profile is not None:
                yield profile
            try:
                if self.wall is None:
                    yield from self._timeline(client, left)
            except RequestRefused as refused:
                self._note_wall(refused)
            for tweet_id in left:
                if self.wall is not None:
                    return
                yield self._post(client, tweet_id, "TweetResultByRestId")

    def reread(self, wanted: Sequence[str]) -> Iterator[Attempt]:
        """Ask another operation for each post: the conversation's own page, which no timeline answer is made of."""
        with self._client() as client:
            for tweet_id in wanted:
                if self.wall is None:
                    yield self._post(client, tweet_id, "TweetDetail")

    def _client(self) -> httpx.Client:
        return httpx.Client(base_url=self._base, headers={"user-agent": AGENT}, timeout=self._timeout)

    def _ask(self, client: httpx.Client, operation: str, variables: dict[str, Any]) -> tuple[dict[str, Any], int]:
        path = f"/i/api/graphql/http/{operation}"
        return ask(
            httpx_get(client), graphql_refusal, self._pace, self._now, path, {"variables": json.dumps(variables)}
        )

    def _note_wall(self, refused: RequestRefused) -> None:
        if refused.reading.status in WALLS:
            self.wall = refused.reading

    def _profile(self, client: httpx.Client) -> Profile | None:
        body, _ = self._ask(client, "UserByScreenName", {"screen_name": self._account})
        return read_profile(body, self._account, self._now)

    def _timeline(self, client: httpx.Client, left: dict[str, None]) -> Iterator[Attempt]:
        cursor: str | None = None
        seen_before = -1
        while left and len(left) != seen_before:
            seen_before = len(left)
            started = time.monotonic()
            body, tries = self._ask(client, "UserTweets", {"screen_name": self._account, "cursor": cursor})
            took = round((time.monotonic() - started) * 1000)
            for reading in read_graphql(body["data"], "xhr:UserTweets"):
                if (wanted := reading.names_one_of(left)) is not None:
                    del left[wanted]
                    yield Attempt(wanted, reading, self._now(), tries, took)
            cursor = read_cursor(body["data"])
            if cursor is None:
                return

    def _post(self, client: httpx.Client, tweet_id: str, operation: str) -> Attempt:
        started = time.monotonic()
        source = f"xhr:{operation}"
        variables = {"focalTweetId" if operation == "TweetDetail" else "tweetId": tweet_id}
        try:
            body, tries = self._ask(client, operation, variables)
            reading = focal_reading(body["data"], tweet_id, source)
            reading = reading or Reading(Status.WRONG_POST, detail="the answer shows other posts only", selector=source)
        except RequestRefused as refused:
            reading, tries = refused.reading, refused.tries
            self._note_wall(refused)
        took = round((time.monotonic() - started) * 1000)
        return Attempt(tweet_id, reading, self._now(), tries, took)
