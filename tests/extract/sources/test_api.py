"""The official and open APIs, the export and recorded answers: the same record from each, and the same refusals."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from extract.errors import ExtractError
from extract.reading.attempt import Attempt, PostSource, Profile
from extract.reading.post_ids import Network, PostId, make_id
from extract.reading.record import Status
from extract.site.account import HANDLE, Account
from extract.site.faults import Fault
from extract.site.scene import Clock
from extract.site.server import Site
from extract.sources.api import BlueskySource, MastodonSource, XapiSource
from extract.sources.files import ExportSource, ReplaySource
from extract.validate import Expected, ReadingVerdict, judge

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
FIXTURES = Path(__file__).parents[1] / "fixtures"
SERIES = Path(__file__).parents[1] / "series"
# what each network tells at all
TOLD = {
    "xapi": ("likes", "retweets", "replies", "quotes", "bookmarks", "views"),
    "bluesky": ("likes", "retweets", "replies", "quotes", "bookmarks"),
    "mastodon": ("likes", "retweets", "replies", "quotes"),
}
MAKE: dict[str, Callable[[Site], PostSource]] = {
    "xapi": lambda site: XapiSource(site.url, HANDLE, site.clock.now, token="t"),
    "bluesky": lambda site: BlueskySource(site.url, HANDLE, site.clock.now),
    "mastodon": lambda site: MastodonSource(site.url, HANDLE, site.clock.now),
}
A_QUESTION = {"xapi": 100, "bluesky": 25, "mastodon": 1}


@pytest.fixture(params=list(MAKE))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def site(name: str) -> Iterator[Site]:
    network = Network(name) if name != "xapi" else Network.X
    with Site(Account(network=network), Clock(NOW)) as running:
        yield running


def ids(site: Site) -> list[str]:
    return [post.tweet_id for post in site.account.posts(NOW)]


def test_every_reading_equals_the_truth_and_passes_the_judge(name: str, site: Site) -> None:
    posts = {post.tweet_id: post for post in site.account.posts(NOW)}
    source = MAKE[name](site)
    found = [item for item in source.collect(list(posts)) if isinstance(item, Attempt)]

    assert [attempt.wanted for attempt in found] == list(posts)
    for attempt in found:
        truth = site.truth(attempt.wanted)
        post = posts[attempt.wanted]
        expected = Expected(post.tweet_id, HANDLE, post.posted_at, post.target_tweet_id, source.network)
        if truth is None:
            assert attempt.reading.status is Status.DELETED
            continue
        told = {counter: value for counter, value in vars(truth).items() if counter in TOLD[name]}
        assert attempt.reading.counters.values() == {**dict.fromkeys(vars(truth)), **told}
        assert attempt.reading.author == HANDLE
        assert judge(attempt, expected, NOW).verdict is ReadingVerdict.ACCEPTED


def test_as_many_posts_a_question_as_the_network_takes(name: str, site: Site) -> None:
    wanted = ids(site)[:150]
    list(MAKE[name](site).collect(wanted))

    questions = [path for path in site.requests if "getProfile" not in path]
    assert len(questions) == -(-len(wanted) // A_QUESTION[name])


def test_the_followers_come_along(name: str, site: Site) -> None:
    [profile] = [item for item in MAKE[name](site).collect(ids(site)[:3]) if isinstance(item, Profile)]

    assert profile.followers == site.followers(NOW)


def test_a_rate_limit_stops_the_run_and_tells_until_when(name: str, site: Site) -> None:
    site.faults = [Fault("/", "retry_after", nth=2)]
    source = MAKE[name](site)
    wanted = ids(site)[:200]
    found = [item for item in source.collect(wanted) if isinstance(item, Attempt)]

    assert source.wall is not None
    assert (source.wall.status, source.wall.retry_at) == (Status.RATE_LIMITED, NOW + timedelta(seconds=120))
    assert len(found) < len(wanted)


def test_a_busy_api_is_asked_again(name: str, site: Site) -> None:
    site.faults = [Fault("/", "unavailable_503", nth=1)]
    found = [item for item in MAKE[name](site).collect(ids(site)[:1]) if isinstance(item, Attempt)]

    assert [(attempt.reading.status, attempt.tries) for attempt in found] == [(Status.OK, 2)]


def test_a_neighbours_post_is_refused_by_author_and_clock_on_every_network(name: str, site: Site) -> None:
    network = Network(name) if name != "xapi" else Network.X
    source = MAKE[name](site)
    tweet_id = ids(site)[0]
    attempt = next(item for item in source.collect([tweet_id]) if isinstance(item, Attempt))

    by_author = judge(attempt, Expected(tweet_id, "somebody_else", None, None, network), NOW)
    by_clock = judge(attempt, Expected(tweet_id, HANDLE, NOW - timedelta(days=3), None, network), NOW)
    assert [reason.split(":")[0] for reason in by_author.reasons] == ["wrong_author"]
    assert [reason.split(":")[0] for reason in by_clock.reasons] == ["snowflake_clock"]


def test_without_a_token_x_is_a_wall_that_says_so() -> None:
    with Site(clock=Clock(NOW)) as site:
        source = XapiSource(site.url, HANDLE, site.clock.now, token=None)
        assert list(source.collect(ids(site)[:2])) == []

    assert source.wall is not None
    assert source.wall.status is Status.LOGIN_REQUIRED
    assert "token" in (source.wall.detail or "")


def test_the_recorded_answer_of_the_api_is_read_through_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = json.loads((FIXTURES / "xapi_v2_tweets.json").read_text())
    with Site(clock=Clock(NOW)) as site:
        monkeypatch.setattr("extract.site.apis._v2_row", lambda post, truth: recorded["data"][0])
        source = XapiSource(site.url, HANDLE, site.clock.now, token="t")
        found = [i for i in source.collect(["2074974895750951259", ids(site)[0]]) if isinstance(i, Attempt)]

    readings = {attempt.wanted: attempt.reading for attempt in found}
    assert readings["2074974895750951259"].counters.value("views") == 63688


@pytest.mark.parametrize("network", list(Network))
def test_an_id_carries_the_time_of_its_making(network: Network) -> None:
    made = PostId(make_id(NOW, 3, network), network)

    assert made.valid
    assert abs(made.made_at() - NOW) < timedelta(milliseconds=1)
    assert not PostId("posted_17", network).valid


def test_on_bluesky_a_handle_and_a_did_name_one_post() -> None:
    by_handle = PostId("at://me.example.com/app.bsky.feed.post/3lexampl2222a", Network.BLUESKY)

    assert by_handle.same_post("at://did:plc:abc/app.bsky.feed.post/3lexampl2222a")
    assert not by_handle.same_post("at://me.example.com/app.bsky.feed.post/3lexampl2222b")


def written(path: Path, text: str, at: datetime = NOW) -> Path:
    path.write_text(text, encoding="utf-8")
    os.utime(path, (at.timestamp(), at.timestamp()))
    return path


def test_the_official_export_is_read_in_both_headers(tmp_path: Path) -> None:
    for header in ("x_analytics_content_2026.csv", "x_analytics_content_2025_oldheader.csv"):
        rows = list(csv.DictReader((SERIES / header).open()))
        source = ExportSource(SERIES / header)
        found = {
            a.wanted: a.reading for a in source.collect([row["Post id"] for row in rows]) if isinstance(a, Attempt)
        }

        assert len(found) == len(rows)
        for row in rows:
            values = found[row["Post id"]].counters.values()
            assert values["views"] == int(row["Impressions"])
            assert (values["likes"], values["retweets"]) == (int(row["Likes"]), int(row["Reposts"]))
            assert (values["replies"], values["bookmarks"]) == (int(row["Replies"]), int(row["Bookmarks"]))
            assert values["quotes"] is None
            assert found[row["Post id"]].profile_clicks == int(row["Profile visits"])
            assert found[row["Post id"]].author == "example"


def test_the_sites_export_is_observed_when_it_was_written(tmp_path: Path) -> None:
    with Site(clock=Clock(NOW)) as site:
        file = written(tmp_path / "content.csv", httpx.get(f"{site.url}/export/content.csv").text)
        wanted = [post.tweet_id for post in site.account.posts(NOW) if not post.deleted_at]
        found = [item for item in ExportSource(file).collect(wanted) if isinstance(item, Attempt)]

        assert {attempt.wanted for attempt in found} == set(wanted)
        assert {attempt.observed_at for attempt in found} == {NOW}
        assert all(a.reading.counters.value("likes") == vars(site.truth(a.wanted))["likes"] for a in found)


@pytest.mark.parametrize(
    ("text", "said"),
    [("Tweet,Likes\n1,2\n", "no content export"), ("", "no content export"), ("\x00\x01", "content")],
)
def test_a_file_that_is_no_export_is_refused_in_a_sentence(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ExtractError, match=said):
        list(ExportSource(written(tmp_path / "content.csv", text)).collect(["1234567890123"]))
    with pytest.raises(ExtractError, match="does not exist"):
        ExportSource(tmp_path / "absent.csv")


def test_recorded_answers_are_played_again_in_the_order_of_their_instants(tmp_path: Path) -> None:
    with Site(clock=Clock(NOW)) as site:
        tweet_id = next(p.tweet_id for p in site.account.posts(NOW) if p.decision_type == "single" and not p.edited_id)
        truths = []
        for minutes in (0, 30):
            at = NOW + timedelta(minutes=minutes)
            answer = httpx.get(
                f"{site.url}/i/api/graphql/x/TweetDetail", params={"variables": f'{{"tweetId":"{tweet_id}"}}'}
            )
            written(tmp_path / f"{at:%Y-%m-%dT%H-%M-%SZ}_detail.json", answer.text)
            truths.append(vars(site.truth(tweet_id)))
            site.clock.advance(1800)
        found = [item for item in ReplaySource(tmp_path).collect([tweet_id]) if isinstance(item, Attempt)]

    assert [attempt.observed_at for attempt in found] == [NOW, NOW + timedelta(minutes=30)]
    assert [attempt.reading.counters.values() for attempt in found] == truths
