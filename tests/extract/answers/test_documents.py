"""Every form of file that people have recorded answers in, and what in them is no post."""

from __future__ import annotations

import base64
import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from extract.answers.reader import read_document, read_file_content
from extract.reading.record import Status
from tests.conftest import command

ID, OTHER = "1900000000000000001", "1900000000000000002"
V2_POST = {"id": ID, "text": "x", "public_metrics": {"like_count": 3, "retweet_count": 1}}
V2_USER = {"id": "12", "username": "bob", "public_metrics": {"followers_count": 5, "like_count": 777}}
V1 = {"id_str": ID, "favorite_count": 5, "retweet_count": 6, "user": {"screen_name": "ann"}, "full_text": "x"}
RETWEET = {**V1, "id_str": OTHER, "favorite_count": 0, "retweeted_status": V1}
ARCHIVED = {"tweet": {"id_str": ID, "favorite_count": "5", "retweet_count": "6", "full_text": "x"}}
ARCHIVED_RETWEET = {"tweet": {**ARCHIVED["tweet"], "id_str": OTHER, "favorite_count": "0", "full_text": "RT @bob: x"}}
MASTODON = {"id": ID, "favourites_count": 7, "reblogs_count": 3, "replies_count": 1, "account": {"acct": "ann"}}
REBLOG = {"id": OTHER, "favourites_count": 0, "reblogs_count": 0, "replies_count": 0, "reblog": MASTODON}
BLUESKY = {"uri": "at://ann/app.bsky.feed.post/3l", "likeCount": 4, "author": {"handle": "ann"}}
MISSING = {"uri": "at://ann/app.bsky.feed.post/3m", "notFound": True}
RESULT = {"__typename": "Tweet", "rest_id": ID, "legacy": {"favorite_count": 9}}
USER_ONLY = {"screen_name": "bob", "favourites_count": 777, "id_str": "12"}


def timeline(*results: Any, inside: str = "itemContent", key: str = "tweet_results") -> dict[str, Any]:
    entries = [{"content": {inside: {key: {"result": result}}}} for result in results]
    return {"instructions": [{"entries": entries}]}


def grid(*results: Any) -> dict[str, Any]:
    """A page of media, and the next one that is added to it."""
    items = [{"item": {"itemContent": {"tweet_results": {"result": result}}}} for result in results]
    return {"instructions": [{"moduleItems": items}]}


Read = list[tuple[str | None, Status, int | None]]
OK_LIKES = {
    "v2 single": ({"data": V2_POST}, 3),
    "v2 search": ({"data": [V2_POST], "meta": {"result_count": 1}}, 3),
    "v1.1": (V1, 5),
    "v1.1 search": ({"statuses": [V1]}, 5),
    "v1.1 by id": ({"id": {ID: V1}}, 5),
    "archive": ([ARCHIVED], 5),
    "home": ({"data": {"home": {"home_timeline_urt": timeline(RESULT)}}}, 9),
    "media": ({"data": {"user": {"result": {"timeline": {"timeline": grid(RESULT)}}}}}, 9),
    "mobile": ({"data": {"timeline_response": timeline(RESULT, inside="content", key="tweetResult")}}, 9),
    "mastodon": (MASTODON, 7),
    "mastodon search": ({"statuses": [MASTODON]}, 7),
    "mastodon context": ({"ancestors": [MASTODON], "descendants": []}, 7),
}


@pytest.mark.parametrize(("body", "likes"), OK_LIKES.values(), ids=OK_LIKES.keys())
def test_one_post_is_read_out_of_every_shape(body: Any, likes: int) -> None:
    [answer] = read_document(json.dumps(body))

    assert [(r.tweet_id, r.status, r.counters.value("likes")) for r in answer.readings] == [(ID, Status.OK, likes)]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"data": V2_USER}, [(None, Status.NO_DATA, None)]),
        ({"data": [V2_USER, V2_POST]}, [(None, Status.NO_DATA, None), (ID, Status.OK, 3)]),
        (USER_ONLY, [(None, Status.NO_DATA, None)]),
        (RETWEET, [(OTHER, Status.REPOST, None), (ID, Status.OK, 5)]),
        ([ARCHIVED_RETWEET], [(OTHER, Status.REPOST, None)]),
        (REBLOG, [(OTHER, Status.REPOST, None), (ID, Status.OK, 7)]),
        ({"ancestors": [], "descendants": [REBLOG]}, [(OTHER, Status.REPOST, None), (ID, Status.OK, 7)]),
        ({"feed": [{"post": BLUESKY}]}, [(BLUESKY["uri"], Status.OK, 4)]),
        (
            {"thread": {"post": BLUESKY, "parent": MISSING, "replies": [{"post": BLUESKY}]}},
            [(MISSING["uri"], Status.DELETED, None), *[(BLUESKY["uri"], Status.OK, 4)] * 2],
        ),
        ({"meta": {"result_count": 0}}, []),
        (
            {"errors": [{"resource_id": ID, "resource_type": "tweet", "type": "x/resource-not-found"}]},
            [(ID, Status.DELETED, None)],
        ),
        # the error is about an author that an expansion asked for
        (
            {
                "data": V2_POST,
                "errors": [{"resource_id": "12", "resource_type": "user", "type": "x/resource-not-found"}],
            },
            [(ID, Status.OK, 3)],
        ),
    ],
)
def test_what_is_no_post_of_its_own_has_no_counters(body: Any, expected: Read) -> None:
    [answer] = read_document(json.dumps(body))

    assert [(r.tweet_id, r.status, r.counters.value("likes")) for r in answer.readings] == expected


def har(*texts: str, **content: str) -> str:
    entries = [
        {"startedDateTime": "2026-07-01T12:00:00+02:00", "response": {"content": {"text": text, **content}}}
        for text in texts
    ]
    return json.dumps({"log": {"entries": entries}})


def test_each_answer_of_a_har_file_has_the_time_of_its_request() -> None:
    inside = json.dumps(MASTODON)
    packed = base64.b64encode(inside.encode()).decode()
    for text in (har("<html></html>", "", inside), har(packed, encoding="base64")):
        [answer] = read_document(text)

        assert answer.kind == "HAR with Mastodon status"
        assert answer.observed_at == datetime(2026, 7, 1, 10, tzinfo=UTC)
        assert [reading.tweet_id for reading in answer.readings] == [ID]
    [empty] = read_document(har("<html></html>"))
    assert empty.readings[0].detail == "none of its 1 answers holds a post: save it with the content"


@pytest.mark.parametrize(
    "pack",
    [
        lambda text: text.encode(),
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.encode("utf-16"),
        lambda text: gzip.compress(text.encode()),
    ],
    ids=["plain", "byte order mark", "utf-16", "gzip"],
)
def test_lines_of_json_are_read_however_the_file_is_packed(pack: Any) -> None:
    [answer] = read_file_content(pack(json.dumps(MASTODON) + "\r\n\r\n" + json.dumps(BLUESKY) + "\r\nbroken"))

    assert answer.kind == "lines of Mastodon status"
    assert [(r.tweet_id, r.detail) for r in answer.readings] == [
        (ID, None),
        (None, "unknown answer with keys: author, likeCount, uri"),
        (None, "line 4: the answer is cut off or no JSON"),
    ]


def test_damaged_files_are_named(tmp_path: Path) -> None:
    for content, detail in (
        (gzip.compress(b"{}")[:-4], "the gzip file is damaged or cut off"),
        (b"[" * 100_000, "the JSON is nested too deep"),
        (b"window.YTD.follower.part0 = [1, 2]", "2 entries of follower, which are no posts"),
    ):
        [answer] = read_file_content(content)
        assert [(r.status, r.detail) for r in answer.readings] == [(Status.NO_DATA, detail)]


def test_extract_read_says_what_a_file_is_and_why_it_was_not_read(tmp_path: Path) -> None:
    (tmp_path / "tweets.js").write_text("window.YTD.tweets.part0 = " + json.dumps([ARCHIVED, ARCHIVED_RETWEET]))
    (tmp_path / "users.json").write_text(json.dumps({"data": [V2_USER]}))

    done = command("extract", "read", ".", cwd=tmp_path)

    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "tweets.js: X's archive of an account: 1 posts read, 1 not",
        f"{ID} ok likes=5 retweets=6 replies=- quotes=- bookmarks=- views=-",
        f"{OTHER} repost likes=- retweets=- replies=- quotes=- bookmarks=- views=-",
        "  repost: its counters are not the original's",
        "users.json: X API v2: 0 posts read, 1 not",
        "(no id) no_data likes=- retweets=- replies=- quotes=- bookmarks=- views=-"
        " (a user, not a post: its like_count is how many likes the user gave)",
    ]
    assert command("extract", "read", "users.json", cwd=tmp_path).returncode == 1
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    wrong = command("extract", "read", "other.csv", "tweets.js", cwd=tmp_path)
    assert (wrong.returncode, "no content export" in wrong.stderr, ID in wrong.stdout) == (2, True, True)
