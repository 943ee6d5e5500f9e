"""The browser and the HTTP source against the local site: the same posts, the same truth, the same manners."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from extract.errors import ExtractError
from extract.reading.attempt import Attempt, PostSource, Profile
from extract.reading.record import Status
from extract.site.account import HANDLE
from extract.site.faults import Fault
from extract.site.scene import Clock
from extract.site.server import Site
from extract.sources.browser import BrowserSource, Patience
from extract.sources.chromium import Chromium
from extract.sources.host_policy import Pace, check_host
from extract.sources.http import HttpSource

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
Make = Callable[[Site], PostSource]


@pytest.fixture(params=["browser", "http"])
def make(request: pytest.FixtureRequest) -> Make:
    if request.param == "http":
        return lambda site: HttpSource(site.url, HANDLE, site.clock.now)
    chromium: Chromium = request.getfixturevalue("chromium")
    return lambda site: BrowserSource(site.url, HANDLE, site.clock.now, chromium)


def wanted(site: Site, singles: int, replies: int) -> list[str]:
    """Some posts of the timeline, some replies (which only their own page shows), and the deleted ones."""
    posts = site.account.posts(site.clock.now())
    timeline = [p.tweet_id for p in posts if p.decision_type != "reply" and not p.deleted_at][:singles]
    pages = [p.tweet_id for p in posts if p.decision_type == "reply" and not p.deleted_at][:replies]
    return timeline + pages + [p.tweet_id for p in posts if p.deleted_at and p.deleted_at < site.clock.now()]


def attempts(source: PostSource, ids: list[str]) -> dict[str, Attempt]:
    return {item.wanted: item for item in source.collect(ids) if isinstance(item, Attempt)}


def test_every_reading_equals_the_sites_truth(make: Make) -> None:
    with Site(clock=Clock(NOW)) as site:
        ids = wanted(site, 50, 6)
        found = attempts(make(site), ids)

        assert set(found) == set(ids)
        for tweet_id, attempt in found.items():
            truth = site.truth(tweet_id)
            if truth is None:
                assert attempt.reading.status is Status.DELETED
                assert not attempt.reading.counters.any_read()
            else:
                assert attempt.reading.counters.values() == vars(truth)
                assert attempt.reading.author == HANDLE


def test_the_profile_gives_the_followers(make: Make) -> None:
    with Site(clock=Clock(NOW)) as site:
        [profile] = [item for item in make(site).collect(wanted(site, 1, 0)[:1]) if isinstance(item, Profile)]

        assert profile.followers == site.followers(NOW)


def test_a_rate_limit_stops_the_run_and_keeps_what_was_read(make: Make) -> None:
    with Site(clock=Clock(NOW)) as site:
        site.faults = [Fault("TweetResultByRestId", "rate_limited"), Fault("TweetDetail", "rate_limited")]
        source = make(site)
        found = attempts(source, wanted(site, 20, 12))
        asked = sum("TweetResultByRestId" in path or "TweetDetail" in path for path in site.requests)

    assert source.wall is not None
    assert source.wall.status is Status.RATE_LIMITED
    assert source.wall.retry_at == NOW + timedelta(seconds=900)
    assert sum(a.reading.status is Status.OK for a in found.values()) == 20
    assert asked <= 4  # no more than the pages that were already open


def test_a_login_wall_stops_the_run_at_once(make: Make) -> None:
    with Site(clock=Clock(NOW)) as site:
        site.faults = [Fault("", "login_wall")]
        source = make(site)
        found = attempts(source, wanted(site, 5, 5))

    assert found == {}
    assert source.wall is not None
    assert source.wall.status is Status.LOGIN_REQUIRED


def test_a_busy_server_is_asked_again(make: Make) -> None:
    with Site(clock=Clock(NOW)) as site:
        reply = wanted(site, 0, 1)[0]
        site.faults = [Fault("%22" + reply, "unavailable_503", nth=1)]
        found = attempts(make(site), [reply])

    assert found[reply].reading.status is Status.OK
    assert found[reply].tries == 2


@pytest.mark.parametrize("generation", ["b", "c", "ld"])
def test_the_browser_reads_every_generation(generation: str, chromium: Chromium) -> None:
    with Site(clock=Clock(NOW), generation=generation) as site:
        # a signed-out page of an edited post names its new id only, which proves nothing
        edited = {p.tweet_id for p in site.account.posts(NOW) if p.edited_id}
        ids = [i for i in wanted(site, 5, 4) if i not in edited or generation != "ld"][:7]
        found = attempts(BrowserSource(site.url, HANDLE, site.clock.now, chromium, patience=Patience(answer=2.0)), ids)

        for tweet_id, attempt in found.items():
            read = attempt.reading.counters.values()
            truth = vars(site.truth(tweet_id))
            names = ("likes", "retweets", "replies", "views") if generation == "ld" else tuple(truth)
            assert {n: read[n] for n in names} == {n: truth[n] for n in names}
            assert read["quotes"] is None or generation != "ld"
        assert len(found) == len(ids) >= 5


def test_a_host_that_the_configuration_does_not_allow_is_not_asked() -> None:
    with pytest.raises(ExtractError, match="allow_hosts"):
        check_host("https://x.example/user", [])
    check_host("https://x.example/user", ["x.example"])
    check_host("http://127.0.0.1:8765", [])


def test_other_hosts_get_one_page_every_two_seconds() -> None:
    pace = Pace("https://x.example")

    assert pace.delay() == 0
    assert 1.5 < pace.delay() <= 2
    assert Pace("http://localhost:1").delay() == 0
