"""Every recorded and derived answer is read right, and what cannot be read is never a number."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from extract.answers import read_answer
from extract.answers.refusals import graphql_refusal
from extract.reading.record import COUNTERS, Status

FIXTURES = Path(__file__).parents[1] / "fixtures"
INDEX: list[dict[str, Any]] = json.loads((FIXTURES / "index.json").read_text())


@pytest.mark.parametrize("entry", [e for e in INDEX if e["expected"]], ids=lambda e: e["file"])
def test_reads_what_the_fixture_holds(entry: dict[str, Any]) -> None:
    first = read_answer((FIXTURES / entry["file"]).read_text())[0].as_json()

    assert {name: first[name] for name in entry["expected"]} == entry["expected"]


@pytest.mark.parametrize(("file", "posts"), [("TweetDetail_full.json", 37), ("SearchTimeline_full.json", 20)])
def test_whole_timelines_give_every_post_once(file: str, posts: int) -> None:
    readings = read_answer((FIXTURES / file).read_text())

    ids = [reading.tweet_id for reading in readings]
    assert len(ids) == len(set(ids)) == posts
    assert {reading.status for reading in readings} == {Status.OK}


def test_a_stub_is_no_post_with_six_zeros() -> None:
    [reading] = read_answer((FIXTURES / "stub_only_rest_id.json").read_text())

    assert reading.status is Status.NO_DATA
    assert set(reading.counters.values().values()) == {None}


def test_a_malformed_counter_is_refused_by_name_and_the_others_are_kept() -> None:
    [reading] = read_answer((FIXTURES / "malformed_numbers.json").read_text())

    assert reading.counters.value("likes") is None
    assert reading.counters.value("views") is None
    assert reading.counters.value("retweets") == 322
    assert [warning.split(":")[0] for warning in reading.warnings] == ["likes", "views"]


def test_api_v2_gives_a_repost_only_its_retweets_and_names_what_is_gone() -> None:
    readings = read_answer((FIXTURES / "xapi_v2_tweets.json").read_text())

    post, repost, *gone = readings
    assert post.counters.value("views") == 63688
    assert (repost.status, repost.counters.value("likes"), repost.counters.value("retweets")) == (
        Status.REPOST,
        None,
        72,
    )
    assert gone[0].tweet_id == "1600000000000000000"
    assert gone[0].status is Status.DELETED


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ('{"data": {"somethingNew": {}}}', Status.LAYOUT_CHANGED),
        ('{"data": {"tweetResult": {"result": {"__typename": "TweetV9", "rest_id": "1"}}}}', Status.LAYOUT_CHANGED),
        ('{"data": {"tweetResult": [1, 2]}}', Status.LAYOUT_CHANGED),
        ('{"data": {"tweetResult": {"result": {"__typename": "Tweet", "rest_id": "20', Status.NO_DATA),
        ("", Status.NO_DATA),
        ("17", Status.LAYOUT_CHANGED),
        ('{"hello": 1}', Status.LAYOUT_CHANGED),
        ("<html><div data-testid='login_wall'></div></html>", Status.LOGIN_REQUIRED),
        ("<html>Something went wrong, but don't fret</html>", Status.BLOCKED),
    ],
)
def test_shapes_never_seen_before_are_named_and_never_guessed(text: str, status: Status) -> None:
    readings = read_answer(text)

    assert [reading.status for reading in readings] == [status]
    assert not readings[0].counters.any_read()


def _numbers(node: object) -> set[str]:
    if isinstance(node, dict):
        return set().union(*map(_numbers, node.values())) if node else set()
    if isinstance(node, list):
        return set().union(*map(_numbers, node)) if node else set()
    return {str(node)}


def _mutated(node: Any, random_: random.Random) -> Any:
    """The answer with a few parts lost or replaced, as the next change of layout might."""
    if isinstance(node, dict):
        return {k: _mutated(v, random_) for k, v in node.items() if random_.random() > 0.01}
    if isinstance(node, list):
        return [_mutated(v, random_) for v in node if random_.random() > 0.01]
    return random_.choice([None, [], {}, "1.2K", -3, True, 4.5]) if random_.random() < 0.01 else node


@pytest.mark.parametrize("file", [e["file"] for e in INDEX if e["file"].endswith(".json") and "_full" not in e["file"]])
def test_a_mangled_answer_never_raises_and_never_invents_a_number(file: str) -> None:
    body = json.loads((FIXTURES / file).read_text())
    random_ = random.Random(file)
    for _ in range(60):
        mangled = _mutated(body, random_)
        there = _numbers(mangled)
        for reading in read_answer(json.dumps(mangled)):
            read = [reading.counters.value(name) for name in COUNTERS]
            assert all(value is None or str(value) in there for value in read)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (29, Status.OVERLOADED),
        (130, Status.OVERLOADED),
        (131, Status.OVERLOADED),
        (88, Status.RATE_LIMITED),
        (9999, Status.NO_DATA),
        (144, Status.DELETED),
    ],
)
@pytest.mark.parametrize("data", [{"tweetResult": {}}, {"tweetResult": None}, {"tweetResults": [{}, None]}, {}, None])
def test_an_error_beside_an_empty_result_gives_the_status(code: int, status: Status, data: object) -> None:
    """A timeout was once recorded as "deleted", and two of them retired the post."""
    text = json.dumps({"data": data, "errors": [{"code": code, "message": "failed"}]})

    assert [reading.status for reading in read_answer(text)] == [status]
    refused = graphql_refusal(200, text, {}, datetime(2026, 7, 1, tzinfo=UTC))
    assert refused is not None
    assert refused.status is status
