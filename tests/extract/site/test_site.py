"""The local site: a closed form of seed and clock, with the truth beside it."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from extract.answers import read_answer
from extract.reading.post_ids import snowflake_time
from extract.reading.record import Status
from extract.site.account import HANDLE, Account
from extract.site.counters import counters
from extract.site.scene import Clock
from extract.site.server import Site

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)


def test_an_account_of_forty_days_has_at_least_two_hundred_posts_of_every_kind() -> None:
    posts = Account().posts(NOW)

    assert len(posts) >= 200
    assert {post.decision_type for post in posts} == {"single", "thread", "reply"}
    assert any(post.deleted_at for post in posts)
    assert len({post.tweet_id for post in posts}) == len(posts)
    assert all(abs(snowflake_time(post.tweet_id) - post.posted_at) < timedelta(seconds=1) for post in posts)


def test_the_same_seed_shows_the_same_post_whenever_it_is_asked_for() -> None:
    later = NOW + timedelta(days=3)
    today = {post.tweet_id: post for post in Account().posts(NOW)}

    assert all(today.get(p.tweet_id, p) == p for p in Account().posts(later))
    assert all(Account().find(tweet_id, later) == post for tweet_id, post in today.items())
    assert Account(seed=8).find(next(iter(today)), NOW) is None


def test_views_never_fall_and_likes_sink_a_little_as_real_ones_do() -> None:
    falls: Counter[str] = Counter()
    pairs = 0
    for post in Account().posts(NOW)[:60]:
        before = None
        for step in range(80):
            truth = counters(7, post, post.posted_at + timedelta(minutes=37 * step))
            assert 0 <= truth.likes <= truth.views
            if before is not None:
                pairs += 1
                for name in ("views", "likes"):
                    falls[name] += getattr(truth, name) < getattr(before, name)
            before = truth
    assert falls["views"] == 0
    assert 0 < falls["likes"] < 0.1 * pairs


@pytest.mark.parametrize("generation", ["a", "b", "c"])
def test_every_answer_equals_the_truth(generation: str) -> None:
    with Site(clock=Clock(NOW), generation=generation) as site:
        variables = f'{{"screen_name": "{HANDLE}", "cursor": null}}'
        answer = httpx.get(f"{site.url}/i/api/graphql/b1/UserTweets", params={"variables": variables})
        readings = [reading for reading in read_answer(answer.text) if reading.status is not Status.REPOST]

        assert len(readings) == 20
        for reading in readings:
            assert reading.tweet_id is not None
            assert reading.counters.values() == vars(site.truth(reading.tweet_id))
            assert httpx.get(f"{site.url}/oracle/{reading.tweet_id}").json() == reading.counters.values()


def test_the_clock_can_be_frozen_and_moved() -> None:
    with Site(clock=Clock(NOW)) as site:
        assert httpx.get(f"{site.url}/__clock").json() == {"now": NOW.isoformat()}
        moved = httpx.post(f"{site.url}/__clock", json={"advance": 600}).json()

    assert moved == {"now": (NOW + timedelta(minutes=10)).isoformat()}


def test_a_deleted_post_is_a_tombstone_and_has_no_truth() -> None:
    gone = next(post for post in Account().posts(NOW) if post.deleted_at and post.deleted_at < NOW)
    with Site(clock=Clock(NOW)) as site:
        variables = f'{{"tweetId": "{gone.tweet_id}"}}'
        answer = httpx.get(f"{site.url}/i/api/graphql/b1/TweetResultByRestId", params={"variables": variables})
        truth = httpx.get(f"{site.url}/oracle/{gone.tweet_id}")

    assert [reading.status.value for reading in read_answer(answer.text)] == ["deleted"]
    assert truth.status_code == 404


def test_faults_are_set_over_http_and_an_unknown_one_is_refused() -> None:
    with Site(clock=Clock(NOW)) as site:
        wrong = httpx.post(f"{site.url}/__faults", json=[{"match": "/", "fault": "earthquake"}])
        right = httpx.post(f"{site.url}/__faults", json=[{"match": HANDLE, "fault": "rate_limited", "nth": 2}])
        codes = [httpx.get(f"{site.url}/{HANDLE}").status_code for _ in range(3)]

    assert (wrong.status_code, right.json()) == (400, {"faults": 1})
    assert "rate_limited, retry_after, login_wall, login_redirect, deleted" in wrong.text
    assert codes == [200, 429, 200]


def test_a_port_that_is_taken_is_an_error_at_once() -> None:
    with Site(clock=Clock(NOW)) as site, pytest.raises(OSError, match="in use"):
        Site(port=int(site.url.rsplit(":", 1)[1]))
