"""The official and open APIs: X API v2, Bluesky and Mastodon. Many posts a question, no page, nothing to read off.

They differ in the address, in how many ids one question may name, and in what an answer without a post looks like;
asking, walls and what a missing post means are the same.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from typing import Any

import httpx

from extract.answers.refusals import parsed, refusal
from extract.answers.shapes import read_body
from extract.reading.attempt import Attempt, Now, Profile
from extract.reading.post_ids import Network, PostId
from extract.reading.record import WALLS, Reading, Status
from extract.sources.host_policy import Pace
from extract.sources.request import (
    AGENT,
    TIMEOUT,
    ApiAnswer,
    Get,
    NoAnswer,
    Params,
    RequestRefused,
    ask,
    check_reached,
    httpx_get,
)


class BatchSource:
    """A JSON API that takes many ids a question. ``name`` and ``network`` are the network's own."""

    name: str
    network: Network
    ids_a_question: int
    left_out = Status.NO_DATA  # what a post is that the answer says nothing of

    def __init__(self, base_url: str, account: str, now: Now) -> None:
        self.wall: Reading | None = None
        self._base = base_url.rstrip("/")
        self._account = account
        self._now = now
        self._pace = Pace(base_url)

    def question(self, wanted: Sequence[str]) -> tuple[str, Params]:
        """The path and the parameters that ask for these ids."""
        raise NotImplementedError

    def profile(self, body: Any, get: Get) -> Profile | None:
        """The account's own counters: out of an answer with posts, or by a separate request."""
        raise NotImplementedError

    def connect(self) -> AbstractContextManager[Get]:
        return self._over_httpx()

    def collect(self, wanted: Sequence[str]) -> Iterator[Attempt | Profile]:
        with self.connect() as get:
            profile: Profile | None = None
            for start in range(0, len(wanted), self.ids_a_question):
                if self.wall is not None:
                    return
                chunk = wanted[start : start + self.ids_a_question]
                began = time.monotonic()
                try:
                    path, params = self.question(chunk)
                    body, tries = ask(get, self._refusal, self._pace, self._now, path, params)
                except RequestRefused as refused:
                    if refused.reading.status in WALLS:
                        self.wall = refused.reading
                        return
                    if start == 0:
                        check_reached(self._base, refused)
                    yield from (Attempt(i, refused.reading, self._now(), refused.tries) for i in chunk)
                    continue
                took = round((time.monotonic() - began) * 1000)
                readings = read_body(body).readings
                yield from (Attempt(i, r, self._now(), tries, took) for i, r in self._sorted(chunk, readings))
                if profile is None and (profile := self._profile(body, get)) is not None:
                    yield profile

    def reread(self, wanted: Sequence[str]) -> Iterator[Attempt]:
        """One strategy only: the next run asks again."""
        return iter(())

    def _profile(self, body: Any, get: Get) -> Profile | None:
        """The followers if the network publishes them: the posts are what the run is for, but a wall is a wall."""
        try:
            return self.profile(body, get)
        except RequestRefused as refused:
            if refused.reading.status in WALLS:
                self.wall = refused.reading
            return None
        except (AttributeError, KeyError, TypeError):
            return None

    def _sorted(self, chunk: Sequence[str], readings: Sequence[Reading]) -> Iterator[tuple[str, Reading]]:
        """Each wanted id with its reading; where the answer is of no known shape, every one has that for a reading."""
        odd = next((reading for reading in readings if reading.tweet_id is None), None)
        missing = odd or Reading(self.left_out, detail="the answer leaves it out", selector=self.name)
        for tweet_id in chunk:
            wanted = PostId(tweet_id, self.network)
            found = next(
                (r for r in readings if any(wanted.same_post(i) for i in (r.tweet_id, r.canonical_id) if i)), None
            )
            yield tweet_id, found or missing

    def _refusal(self, code: int, text: str, headers: Mapping[str, str], now: datetime) -> Reading | None:
        if code in (401, 403):
            return Reading(Status.LOGIN_REQUIRED, detail=f"HTTP {code}: the token is missing, refused, or may not")
        refused = refusal(code, text, headers, now)
        if refused is None and code >= 400:
            said = parsed(text)
            words = said.get("detail") or said.get("message") or said.get("error") if isinstance(said, dict) else said
            return Reading(Status.UNAVAILABLE, detail=f"HTTP {code}: {words}"[:200])
        return refused

    @contextmanager
    def _over_httpx(self) -> Iterator[Get]:
        with httpx.Client(base_url=self._base, headers={"user-agent": AGENT}, timeout=TIMEOUT) as client:
            yield httpx_get(client)


class XapiSource(BatchSource):
    """X API v2 with a bearer token of the user's, through dlt's REST client: 100 posts a question, $0.005 a post."""

    name = "xapi"
    network = Network.X
    ids_a_question = 100

    def __init__(self, base_url: str, account: str, now: Now, token: str | None) -> None:
        super().__init__(base_url, account, now)
        self._token = token

    def question(self, wanted: Sequence[str]) -> tuple[str, Params]:
        return "/2/tweets", {
            "ids": ",".join(wanted),
            "tweet.fields": "public_metrics,created_at,referenced_tweets,edit_history_tweet_ids,author_id",
            "expansions": "author_id",
            "user.fields": "username,public_metrics",
        }

    def profile(self, body: Any, get: Get) -> Profile | None:
        for user in body["includes"]["users"]:
            if user["username"].lower() == self._account.lower():
                counts = user["public_metrics"]
                names = ("followers_count", "following_count", "tweet_count")
                return Profile(self._account, self._now(), *map(counts.get, names))
        return None

    @contextmanager
    def connect(self) -> Iterator[Get]:
        from dlt.sources.helpers.rest_client.auth import BearerTokenAuth
        from dlt.sources.helpers.rest_client.client import RESTClient
        from requests import RequestException, Session

        with Session() as session:
            auth = BearerTokenAuth(token=self._token) if self._token else None
            client = RESTClient(self._base, headers={"user-agent": AGENT}, auth=auth, session=session)

            def get(path: str, params: Params) -> ApiAnswer:
                try:
                    answer = client.get(path, params=dict(params), timeout=TIMEOUT)
                except RequestException as error:
                    raise NoAnswer(f"no whole answer ({type(error).__name__})") from error
                return ApiAnswer(answer.status_code, answer.text, answer.headers)

            yield get


class BlueskySource(BatchSource):
    """Bluesky's public API: 25 posts a question, no token. Posts that are gone are left out of the answer."""

    name = "bluesky"
    network = Network.BLUESKY
    ids_a_question = 25
    left_out = Status.DELETED

    def question(self, wanted: Sequence[str]) -> tuple[str, Params]:
        return "/xrpc/app.bsky.feed.getPosts", {"uris": list(wanted)}

    def profile(self, body: Any, get: Get) -> Profile | None:
        path, params = "/xrpc/app.bsky.actor.getProfile", {"actor": self._account}
        found, _ = ask(get, self._refusal, self._pace, self._now, path, params)
        names = ("followersCount", "followsCount", "postsCount")
        return Profile(self._account, self._now(), *map(found.get, names))


class MastodonSource(BatchSource):
    """A Mastodon server's public API: one status a question."""

    name = "mastodon"
    network = Network.MASTODON
    ids_a_question = 1

    def question(self, wanted: Sequence[str]) -> tuple[str, Params]:
        return f"/api/v1/statuses/{wanted[0]}", {}

    def profile(self, body: Any, get: Get) -> Profile | None:
        account = body["account"]
        if account["acct"].lower() != self._account.lower():
            return None
        names = ("followers_count", "following_count", "statuses_count")
        return Profile(self._account, self._now(), *map(account.get, names))

    def _refusal(self, code: int, text: str, headers: Mapping[str, str], now: datetime) -> Reading | None:
        if code in (404, 410) and isinstance(parsed(text), dict):
            return Reading(Status.DELETED, detail=f"HTTP {code}")
        return super()._refusal(code, text, headers, now)
