"""X's GraphQL answers: single posts, conversations and timelines, in the three generations alive in 2026.

Generation A keeps the counters under ``legacy``, B has them at the top level beside ``legacy: null``, C under
``counts``. A post is only ever read from where posts belong (a result, a timeline entry), never by searching the tree
for a familiar key: nested originals, quoted stubs and ``previous_counts`` carry the same key names with other numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from extract.answers.numbers import read_counters
from extract.reading.post_ids import TWEET_ID
from extract.reading.record import Counters, Reading, Status

_NAMES = {
    "likes": "favorite_count",
    "retweets": "retweet_count",
    "replies": "reply_count",
    "quotes": "quote_count",
    "bookmarks": "bookmark_count",
}

# TweetUnavailable.reason, in the words X uses
_REASONS = {
    "protected": Status.PROTECTED,
    "suspended": Status.SUSPENDED,
    "nsfwloggedout": Status.AGE_RESTRICTED,
    "nsfwviewerisunderage": Status.AGE_RESTRICTED,
    "nsfwviewerhasnostatedage": Status.AGE_RESTRICTED,
    "withheld": Status.WITHHELD,
}

# Tombstone texts differ by cause, and say "Tweet" or "Post": looked for in this order, in lower case.
_TOMBSTONES = (
    ("age-restricted", Status.AGE_RESTRICTED),
    ("suspended", Status.SUSPENDED),
    ("limits who can view", Status.PROTECTED),
    ("withheld", Status.WITHHELD),
    ("violated the", Status.WITHHELD),  # "... violated the X Rules": taken down by X, not by its author
    ("no longer exists", Status.DELETED),
    ("was deleted", Status.DELETED),
    ("deleted by", Status.DELETED),
)

# Error codes in the body of an API answer; docs/reference/collecting.md has each with its source. 29 (timeout), 130
# (over capacity) and 131 (internal error) say nothing about the post: they are retried.
ERRORS = {
    29: Status.OVERLOADED,
    130: Status.OVERLOADED,
    131: Status.OVERLOADED,
    88: Status.RATE_LIMITED,
    32: Status.LOGIN_REQUIRED,
    64: Status.LOGIN_REQUIRED,
    89: Status.LOGIN_REQUIRED,
    215: Status.LOGIN_REQUIRED,
    239: Status.LOGIN_REQUIRED,
    326: Status.LOGIN_REQUIRED,
    353: Status.LOGIN_REQUIRED,
    34: Status.UNAVAILABLE,  # "that page does not exist": the post, or the address that was asked
    63: Status.SUSPENDED,
    144: Status.DELETED,
    179: Status.PROTECTED,
    421: Status.UNAVAILABLE,
    422: Status.WITHHELD,
}
# of several errors, the one that says nothing about the post decides
_BEFORE_ALL = (Status.RATE_LIMITED, Status.LOGIN_REQUIRED, Status.OVERLOADED)

_DEEPEST = 5  # mappings between the root of an answer and its timeline's instructions
# raised when a part of an answer has a type that was never seen
UNEXPECTED = (AttributeError, KeyError, TypeError, ValueError)


def unexpected(error: Exception, source: str) -> Reading:
    """The reading of an answer whose parts are not of the types they always were."""
    return Reading(Status.LAYOUT_CHANGED, detail=f"unexpected structure: {error}"[:200], selector=source)


def read_error(errors: list[Mapping[str, Any]]) -> Reading:
    """The status that a body of errors without data means: ``deleted`` only if no error says anything else."""
    told = [_status_of(error) for error in errors]
    first = next((status for status in _BEFORE_ALL if status in told), None)
    same = told[0] if told and len(set(told)) == 1 else None
    messages = "; ".join(str(error["message"]) for error in errors if error.get("message"))
    return Reading(first or same or Status.NO_DATA, detail=messages[:200] or None)


def _status_of(error: Mapping[str, Any]) -> Status | None:
    code, message = error.get("code"), str(error.get("message", "")).lower()
    if isinstance(code, int) and code in ERRORS:
        return ERRORS[code]
    if "loadshed" in message.replace(" ", ""):
        return Status.OVERLOADED
    return Status.DELETED if "no status found" in message else None


def has_no_result(data: Mapping[str, Any]) -> bool:
    """Whether data show no post at all: then the errors beside them, not the empty result, give the status."""
    if isinstance(data.get("tweetResults"), list):
        return not any((item or {}).get("result") for item in data["tweetResults"])
    if "tweetResult" in data:
        return not (data["tweetResult"] or {}).get("result")
    instructions = _instructions(data)
    return instructions is not None and not any(True for _ in _timeline_results(instructions))


def read_graphql(data: Mapping[str, Any], source: str = "graphql") -> list[Reading]:
    """Every post that a GraphQL answer's ``data`` shows, in its order; unknown shapes give ``layout_changed``."""
    try:
        return _read_roots(data, source)
    except UNEXPECTED as error:
        return [unexpected(error, source)]


def _read_roots(data: Mapping[str, Any], source: str) -> list[Reading]:
    if "tweetResult" in data:
        return [read_result((data["tweetResult"] or {}).get("result"), source)]
    if isinstance(data.get("tweetResults"), list):
        return [read_result((item or {}).get("result"), source) for item in data["tweetResults"]]
    instructions = _instructions(data)
    if instructions is None:
        roots = ", ".join(sorted(data)) or "none"
        return [Reading(Status.LAYOUT_CHANGED, detail=f"no known root in data: {roots}", selector=source)]
    return [read_result(result, source) for result in _timeline_results(instructions)]


def focal_reading(data: Mapping[str, Any], tweet_id: str, source: str = "graphql") -> Reading | None:
    """The reading of the post that was asked for, out of an answer that may show others (parents, replies, ads).

    In a conversation the post is in the entry that its id names, also as the sign that it is gone.
    """
    try:
        entries = [e for i in _instructions(data) or [] for e in i.get("entries") or []]
        own = next((e for e in entries if e.get("entryId") == f"tweet-{tweet_id}"), None)
        if own is not None:
            reading = read_result(_result_of(_item_content(own["content"]) or {}), source)
            ids = (reading.tweet_id, reading.canonical_id)
            return reading if reading.tweet_id is None or tweet_id in ids else None
    except UNEXPECTED as error:
        return unexpected(error, source)
    for reading in read_graphql(data, source):
        if tweet_id in (reading.tweet_id, reading.canonical_id):
            return reading
        if reading.tweet_id is None and "tweetResult" in data:
            return reading
    return None


def read_cursor(data: Mapping[str, Any]) -> str | None:
    """The bottom cursor of a timeline; None where the timeline ends, or is of no known shape."""
    try:
        for instruction in _instructions(data) or []:
            for entry in instruction.get("entries") or []:
                content = entry.get("content") or {}
                if content.get("cursorType") == "Bottom":
                    return content.get("value") or None
    except UNEXPECTED:
        return None
    return None


def _instructions(data: Mapping[str, Any]) -> list[Mapping[str, Any]] | None:
    """The instructions of the one timeline in ``data``; None where there is none, or more than one.

    Its root differs by operation (``home.home_timeline_urt``, ``user.result.timeline.timeline``, ...) and by client.
    """
    found = list(_timelines(data, _DEEPEST))
    return found[0] if len(found) == 1 else None


def _timelines(holder: Mapping[str, Any], depth: int) -> Iterator[list[Mapping[str, Any]]]:
    if isinstance(holder.get("instructions"), list):
        yield holder["instructions"]
    elif depth:
        for value in holder.values():
            if isinstance(value, Mapping):
                yield from _timelines(value, depth - 1)


def _timeline_results(instructions: list[Mapping[str, Any]]) -> Iterator[Mapping[str, Any] | None]:
    for instruction in instructions:
        entries = list(instruction.get("entries") or [])
        if instruction.get("entry"):  # TimelinePinEntry
            entries.append(instruction["entry"])
        contents = [entry.get("content") or {} for entry in entries]
        contents.append({"items": instruction.get("moduleItems")})  # TimelineAddToModule: the next page of a grid
        for content in contents:
            bodies = [content, *((item or {}).get("item") or {} for item in content.get("items") or [])]
            for body in filter(None, map(_item_content, bodies)):
                if not body.get("promotedMetadata"):  # an ad is not the account's post
                    yield _result_of(body)


def _item_content(item: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What an item of a timeline shows, where that is a post: ``content`` in the answers to X's own apps."""
    for name in ("itemContent", "content"):
        body = item.get(name)
        if isinstance(body, Mapping) and ("tweet_results" in body or "tweetResult" in body):
            return body
    return None


def _result_of(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    result: Mapping[str, Any] | None = (body.get("tweet_results") or body.get("tweetResult") or {}).get("result")
    return result


def read_result(result: Mapping[str, Any] | None, source: str = "graphql") -> Reading:
    """One ``result`` object: a post, a wrapped post, or the sign in place of a post. Never raises."""
    try:
        return _read_result(result, source)
    except UNEXPECTED as error:
        return unexpected(error, source)


def _read_result(result: Mapping[str, Any] | None, source: str) -> Reading:
    if not result:
        return Reading(Status.DELETED, detail="empty result", selector=source)
    kind = result.get("__typename")
    if kind == "TweetWithVisibilityResults":
        return read_result({"__typename": "Tweet", **(result.get("tweet") or {})}, source)
    if kind == "TweetTombstone":
        return Reading(_tombstone(result), detail="tombstone", selector=source)
    if kind == "TweetUnavailable":
        reason = str(result.get("reason") or "")
        status = _REASONS.get(reason.lower().replace("_", ""), Status.UNAVAILABLE)
        return Reading(status, detail=f"unavailable: {reason}", selector=source)
    if kind == "TweetPreviewDisplay":
        tweet_id = _id((result.get("tweet") or {}).get("rest_id"))
        return Reading(Status.RESTRICTED, tweet_id=tweet_id, detail="subscribers only", selector=source)
    if kind not in ("Tweet", None) or _id(result.get("rest_id")) is None:
        return Reading(Status.LAYOUT_CHANGED, detail=f"unknown result type {kind!r:.60}", selector=source)
    return _post(result, source)


def read_tombstone_text(text: str) -> Status:
    """The status that a tombstone's sentence means; ``unavailable`` where the sentence is a new one."""
    lowered = text.lower()
    if "account" in lowered and "no longer exists" in lowered:
        return Status.DELETED
    return next((status for words, status in _TOMBSTONES if words in lowered), Status.UNAVAILABLE)


def _tombstone(result: Mapping[str, Any]) -> Status:
    text = ((result.get("tombstone") or {}).get("text") or {}).get("text")
    return read_tombstone_text(str(text or ""))


def _id(value: object) -> str | None:
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return text if TWEET_ID.fullmatch(text) else None


def _post(result: Mapping[str, Any], source: str) -> Reading:
    legacy = result.get("legacy")
    counts = result.get("counts")
    if isinstance(legacy, Mapping):
        holder: Mapping[str, Any] = legacy
    elif isinstance(counts, Mapping):
        holder = counts
    else:
        holder = result
    counters, warnings = read_counters(holder, _NAMES, source)
    views, view_warnings = read_counters(result.get("views") or {}, {"views": "count"}, source)
    counters = counters.filled_from(views)
    warnings += view_warnings
    if isinstance((legacy or result).get("retweeted_status_result"), Mapping):
        status = Status.REPOST
        warnings += ("repost: its counters are not the original's",)
    elif warnings:
        status = Status.PARTIAL
    elif _nothing_but_an_id(counters):
        status = Status.NO_DATA
    else:
        status = Status.OK
    control = result.get("edit_control") or {}
    user = ((result.get("core") or {}).get("user_results") or {}).get("result") or {}
    author = (user.get("core") or {}).get("screen_name") or (user.get("legacy") or {}).get("screen_name")
    return Reading(
        status,
        tweet_id=_id(result.get("rest_id")),
        canonical_id=_id(control.get("initial_tweet_id")),
        counters=counters,
        author=author,
        posted_at=_created_at(holder, result),
        warnings=warnings,
        selector=source,
    )


def _nothing_but_an_id(counters: Counters) -> bool:
    return not counters.any_read()


def _created_at(holder: Mapping[str, Any], result: Mapping[str, Any]) -> datetime | None:
    raw = holder.get("created_at") or result.get("created_at")
    if isinstance(raw, str):
        return post_time(raw)
    milliseconds = (result.get("details") or {}).get("created_at_ms")
    try:
        return datetime.fromtimestamp(milliseconds / 1000, tz=UTC) if isinstance(milliseconds, int) else None
    except (ValueError, OverflowError, OSError):  # beyond the years 1 to 9999
        return None


def post_time(raw: object) -> datetime | None:
    """X's "Wed Oct 10 20:19:24 +0000 2018", in UTC; None for anything else."""
    try:
        return datetime.strptime(str(raw), "%a %b %d %H:%M:%S %z %Y").astimezone(UTC)
    except (ValueError, OverflowError):
        return None
