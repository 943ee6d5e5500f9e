"""The kinds of JSON answers that are known, each by its structure, with the reader of that kind."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from extract.answers.graphql import UNEXPECTED, has_no_result, read_error, read_graphql, unexpected
from extract.answers.networks import (
    read_api_v2,
    read_bluesky,
    read_embed,
    read_json_ld,
    read_mastodon,
    read_v1_status,
)
from extract.reading.record import Reading, Status

Body = Mapping[str, Any]
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Answer:
    """What a document holds: its kind, as a person calls it, and a reading for each post, in its order.

    ``observed_at`` is aware, UTC; None where the document does not say when it came.
    """

    kind: str
    readings: tuple[Reading, ...]
    observed_at: datetime | None = None


@dataclass(frozen=True)
class _Shape:
    kind: str
    is_it: Callable[[Body], bool]
    read: Callable[[Body], list[Reading]]


def read_body(body: Any) -> Answer:
    """The posts of a parsed JSON document, never raising on its content.

    A 200 with ``errors`` beside ``data`` is normal: the data are kept. A shape that is not known is ``layout_changed``.
    """
    try:
        return _read_body(body)
    except UNEXPECTED as error:
        return Answer(UNKNOWN, (unexpected(error, "answer"),))


def _read_body(body: Any) -> Answer:
    if isinstance(body, list):
        return together([read_body(item) for item in body])
    if not isinstance(body, Mapping):
        return Answer(UNKNOWN, (_odd(f"the answer is a {type(body).__name__}"),))
    shape = next((shape for shape in _SHAPES if shape.is_it(body)), None)
    if shape is None:
        keys = ", ".join(sorted(map(str, body))[:8]) or "none"
        return Answer(UNKNOWN, (_odd(f"unknown answer with keys: {keys}"),))
    return Answer(shape.kind, tuple(shape.read(body)))


def together(answers: list[Answer]) -> Answer:
    """Several answers of one file as one."""
    kinds = list(dict.fromkeys(answer.kind for answer in answers if answer.kind != UNKNOWN))
    readings = tuple(reading for answer in answers for reading in answer.readings)
    return Answer(" and ".join(kinds) or UNKNOWN, readings)


def _odd(detail: str) -> Reading:
    return Reading(Status.LAYOUT_CHANGED, detail=detail)


def _is_api_v2(body: Body) -> bool:
    data = body.get("data")
    if isinstance(data, list):
        return True
    if isinstance(data, Mapping):
        return isinstance(data.get("id"), str) and ("text" in data or "public_metrics" in data or "username" in data)
    if "result_count" in (body.get("meta") or {}):
        return True  # a search without a hit has no data
    return data is None and any(isinstance(e, Mapping) and "resource_id" in e for e in body.get("errors") or [])


def _graphql(body: Body) -> list[Reading]:
    data = body.get("data")
    if not data or (body.get("errors") and has_no_result(data)):
        return [read_error(list(body["errors"]))]
    return read_graphql(data)


def _feed(body: Body) -> list[Reading]:
    """Bluesky's author feed: posts, and others' posts that the account reposted, each with its own numbers."""
    return read_bluesky([item["post"] for item in body["feed"]])


def _thread(body: Body) -> list[Reading]:
    return [reading for post in _thread_posts(body["thread"]) for reading in read_bluesky([post])]


def _thread_posts(node: Body) -> Iterator[Body]:
    parent = node.get("parent")
    if isinstance(parent, Mapping):
        yield from _thread_posts(parent)
    yield node.get("post", node)  # a post that is gone or blocked is listed without it
    for reply in node.get("replies") or []:
        yield from _thread_posts(reply)


def _is_v1_status(body: Body) -> bool:
    return "id_str" in body and "favorite_count" in body and "retweet_count" in body and "__typename" not in body


def _each(name: str) -> Callable[[Body], list[Reading]]:
    def read(body: Body) -> list[Reading]:
        held = body[name]
        return list(read_body(list(held.values()) if isinstance(held, Mapping) else held).readings)

    return read


def _archived(body: Body) -> list[Reading]:
    return read_v1_status(body["tweet"], "archive")


def _context(body: Body) -> list[Reading]:
    return [reading for status in [*body["ancestors"], *body["descendants"]] for reading in read_mastodon(status)]


def _v1_user(body: Body) -> list[Reading]:
    detail = "a user, not a post: favourites_count is how many likes the user gave"
    return [Reading(Status.NO_DATA, detail=detail, selector="v1.1")]


# the first that fits: rare keys come before common ones
_SHAPES = (
    _Shape("X's archive of an account", lambda b: isinstance(b.get("tweet"), Mapping), _archived),
    _Shape("X API v2", _is_api_v2, read_api_v2),
    _Shape("X's pages (GraphQL)", lambda b: bool(b.get("data")) and isinstance(b["data"], Mapping), _graphql),
    _Shape("error of X", lambda b: bool(b.get("errors")) and isinstance(b["errors"], list), _graphql),
    _Shape("Bluesky posts", lambda b: isinstance(b.get("posts"), list), lambda b: read_bluesky(b["posts"])),
    _Shape("Bluesky author feed", lambda b: isinstance(b.get("feed"), list), _feed),
    _Shape("Bluesky thread", lambda b: isinstance(b.get("thread"), Mapping), _thread),
    _Shape("JSON-LD of a page", lambda b: b.get("@type") == "SocialMediaPosting", lambda b: [read_json_ld(b)]),
    _Shape(
        "X's embed endpoint",
        lambda b: b.get("__typename") in ("Tweet", "TweetTombstone"),
        lambda b: [read_embed(b)],
    ),
    _Shape("X API v1.1 statuses", _is_v1_status, read_v1_status),
    _Shape("user of X API v1.1", lambda b: "screen_name" in b and "favourites_count" in b, _v1_user),
    _Shape("Mastodon status", lambda b: "favourites_count" in b and "reblogs_count" in b, read_mastodon),
    _Shape(
        "Mastodon context",
        lambda b: isinstance(b.get("ancestors"), list) and isinstance(b.get("descendants"), list),
        _context,
    ),
    _Shape("statuses", lambda b: isinstance(b.get("statuses"), list), _each("statuses")),
    _Shape("X API v1.1 statuses by id", lambda b: isinstance(b.get("id"), Mapping), _each("id")),
)
