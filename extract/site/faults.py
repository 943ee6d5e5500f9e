"""What can go wrong with an answer of the site, on request: each fault spoils one answer, as real ones are spoiled."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from extract.site import pages
from extract.site.http_answer import HttpAnswer
from extract.site.scene import Scene

_WINDOW_SECONDS = 900  # X's rate limits reset every quarter of an hour


@dataclass
class Fault:
    """Answer the ``nth`` request (from 1; None: every one) whose path contains ``match`` with ``fault``."""

    match: str
    fault: str
    nth: int | None = None
    seen: int = field(default=0, init=False)


Spoil = Callable[[Scene, str, HttpAnswer], HttpAnswer]

# sentences in place of a post, as X words them, and one that no reader has met
_TOMBSTONES = {
    "tombstone_deleted": "This Post was deleted by the Post author. Learn more",
    "tombstone_age": "Age-restricted adult content. To view this media, you'll need to log in. Learn more",
    "tombstone_limited": "You're unable to view this Post because this account owner limits who can view their Posts.",
    "tombstone_no_account": "This Post is from an account that no longer exists. Learn more",
    "tombstone_suspended": "This Post is from a suspended account. Learn more",
    "tombstone_withheld": "This Post has been withheld in your country in response to a legal demand. Learn more",
    "tombstone_new": "This Post rests. Learn more",
}
_UNAVAILABLE = {"protected": "Protected", "suspended": "Suspended", "age_restricted": "NsfwLoggedOut"}


def _rate_limited(site: Scene, path: str, answer: HttpAnswer) -> HttpAnswer:
    reset = str(int(site.clock.now().timestamp()) + _WINDOW_SECONDS)
    headers = {"x-rate-limit-limit": "150", "x-rate-limit-remaining": "0", "x-rate-limit-reset": reset}
    return HttpAnswer(429, "application/json", _errors("Rate limit exceeded.", 88), headers)


def _retry_after(site: Scene, path: str, answer: HttpAnswer) -> HttpAnswer:
    return HttpAnswer(429, "text/plain", "slow down", {"retry-after": "120"})


def _login_wall(site: Scene, path: str, answer: HttpAnswer) -> HttpAnswer:
    if path.startswith("/i/api"):
        return HttpAnswer(401, "application/json", _errors("Could not authenticate you", 32))
    return HttpAnswer(200, "text/html; charset=utf-8", pages.LOGIN_WALL)


def _login_redirect(site: Scene, path: str, answer: HttpAnswer) -> HttpAnswer:
    """A sign-in page by its address alone: it has none of the elements by which one is known."""
    if path.startswith("/login"):
        return HttpAnswer(200, "text/html; charset=utf-8", "<!doctype html><html><body>Welcome back</body></html>")
    return HttpAnswer(302, "text/plain", "", {"location": "/login"})


def _result_of(result: dict[str, Any]) -> Spoil:
    def spoil(site: Scene, path: str, answer: HttpAnswer) -> HttpAnswer:
        if not path.startswith("/i/api"):
            return answer
        return replace(answer, code=200, body=json.dumps({"data": {"tweetResult": {"result": result}}}))

    return spoil


def _tombstone(name: str) -> Spoil:
    return _result_of({"__typename": "TweetTombstone", "tombstone": {"text": {"text": _TOMBSTONES[name]}}})


def _each_result(change: Callable[[Scene, dict[str, Any]], None]) -> Spoil:
    """Change every live post of an API answer."""

    def spoil(site: Scene, path: str, answer: HttpAnswer) -> HttpAnswer:
        if not path.startswith("/i/api") or answer.code != 200:
            return answer
        body = json.loads(answer.body)
        for result in list(_posts(body)):
            change(site, result)
        return replace(answer, body=json.dumps(body))

    return spoil


def _posts(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if node.get("__typename") == "Tweet":
            yield node
        for value in node.values():
            yield from _posts(value)
    elif isinstance(node, list):
        for item in node:
            yield from _posts(item)


def _counts(result: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = result.get("legacy") or result.get("counts") or result
    return found


def _missing_counter(site: Scene, result: dict[str, Any]) -> None:
    _counts(result).pop("bookmark_count", None)


def _malformed_counter(site: Scene, result: dict[str, Any]) -> None:
    _counts(result)["favorite_count"] = "1.2K"


def _stub(site: Scene, result: dict[str, Any]) -> None:
    kept = {"__typename": "Tweet", "rest_id": result["rest_id"]}
    result.clear()
    result.update(kept)


def _false_zero(site: Scene, result: dict[str, Any]) -> None:
    _counts(result).update({"reply_count": 0, "quote_count": 0, "bookmark_count": 0})


def _stale(site: Scene, result: dict[str, Any]) -> None:
    """An older replica's answer: the counters of three hours ago."""
    truth = site.truth(result["rest_id"], site.clock.now() - timedelta(hours=3))
    if truth is not None:
        result["views"]["count"] = str(truth.views)
        _counts(result).update({"favorite_count": truth.likes, "reply_count": truth.replies})


def _new_generation(site: Scene, result: dict[str, Any]) -> None:
    """Counters where no reader has seen them before."""
    moved = {name: _counts(result).pop(name) for name in list(_counts(result)) if name.endswith("_count")}
    result["engagement"] = {**moved, "views": result.pop("views", {})}


def _wrong_author(site: Scene, result: dict[str, Any]) -> None:
    if "core" in result:  # a tombstone tells no author
        result["core"]["user_results"]["result"]["core"]["screen_name"] = "a_neighbour"


def _wrong_post(site: Scene, result: dict[str, Any]) -> None:
    result["rest_id"] = str(int(result["rest_id"]) + 1)
    result["edit_control"] = {"edit_tweet_ids": [result["rest_id"]]}


def _in_the_script(*changes: tuple[str, str]) -> Spoil:
    """Change the page's own script: what it asks for, or what it writes on the buttons."""

    def spoil(site: Scene, path: str, answer: HttpAnswer) -> HttpAnswer:
        body = answer.body
        for old, new in changes if path.startswith("/assets/") else ():
            body = body.replace(old, new)
        # kept apart from the script as it was, which browsers may have kept
        return replace(answer, body=body, headers={"cache-control": "no-store"})

    return spoil


def _clock_jump(site: Scene, path: str, answer: HttpAnswer) -> HttpAnswer:
    site.clock.advance(3600)
    return answer


def _errors(message: str, code: int) -> str:
    return json.dumps({"errors": [{"message": message, "code": code}]})


def _in_trouble(trouble: str) -> Spoil:
    return lambda site, path, answer: replace(answer, trouble=trouble)


def _instead(code: int, kind: str, body: str) -> Spoil:
    return lambda site, path, answer: HttpAnswer(code, kind, body)


_LOAD_SHED = json.dumps({"errors": [{"message": "LoadShed: Load shed due to over capacity", "code": -1}], "data": {}})
_BLOCKED = "<!doctype html><html><head><title>Blocked</title></head><body><h1>Unusual traffic</h1></body></html>"

# operations by the names that a changed site gives them
MOVED = {"PostPage": "TweetResultByRestId", "ProfilePage": "UserTweets", "ConversationPage": "TweetDetail"}
_MOVES = tuple((f"'{known}'", f"'{new}'") for new, known in MOVED.items())

SPOILS: dict[str, Spoil] = {
    "rate_limited": _rate_limited,
    "retry_after": _retry_after,
    "login_wall": _login_wall,
    "login_redirect": _login_redirect,
    "deleted": _tombstone("tombstone_deleted"),
    "unavailable_503": _instead(503, "text/plain", "try again"),
    "load_shed": _instead(200, "application/json", _LOAD_SHED),
    "empty_404": _instead(404, "text/plain", ""),
    "not_json": _instead(200, "application/json", "try again later"),
    "block_page": _instead(200, "text/html; charset=utf-8", _BLOCKED),
    "slow": _in_trouble("slow"),
    "hang": _in_trouble("hang"),
    "half_body": _in_trouble("half_body"),
    "missing_counter": _each_result(_missing_counter),
    "malformed_counter": _each_result(_malformed_counter),
    "stub": _each_result(_stub),
    "false_zero": _each_result(_false_zero),
    "stale": _each_result(_stale),
    "wrong_post": _each_result(_wrong_post),
    "wrong_author": _each_result(_wrong_author),
    "new_generation": _each_result(_new_generation),
    "test_ids_renamed": _in_the_script(("'data-testid': id", "'data-test': id"), ("'analytics'", "'insights'")),
    "labels_lie": _in_the_script(("digits(n));", "digits(n + 1));")),
    "xhr_moved": _in_the_script(*_MOVES),
    "layout_changed": _in_the_script(*_MOVES, ("'article'", "'section'")),
    "clock_jump": _clock_jump,
    **{name: _tombstone(name) for name in _TOMBSTONES},
    **{name: _result_of({"__typename": "TweetUnavailable", "reason": reason}) for name, reason in _UNAVAILABLE.items()},
}
FAULTS = tuple(SPOILS)
