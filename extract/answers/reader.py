"""Tell the shape of an answer by its structure, and hand it to the one reader for that shape."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from extract.answers.graphql import UNEXPECTED, has_no_result, read_error, read_graphql, unexpected
from extract.answers.networks import read_api_v2, read_bluesky, read_embed, read_json_ld, read_mastodon
from extract.reading.record import Reading, Status

_JSON_LD = re.compile(r"<script[^>]*application/ld\+json[^>]*>(.*?)</script>", re.DOTALL | re.IGNORECASE)
# The words of a login wall's own elements. Sentences like "Something went wrong" are in the static shell of every
# page, so they prove nothing.
_LOGIN_WALL = ("google_sign_in_container", "apple_sign_in_button", "login_wall")


def read_answer(text: str) -> list[Reading]:
    """Every post in one recorded or live answer (JSON or HTML), in its order.

    Never raises on content: an unknown JSON shape is ``layout_changed``, a page that is not an answer ``blocked`` or
    ``login_required``, a cut-off body ``no_data``.
    """
    stripped = text.strip()
    if stripped.startswith("<"):
        return read_page(stripped)
    try:
        body = json.loads(stripped)
    except ValueError:
        return [Reading(Status.NO_DATA, detail="the answer is cut off or no JSON")]
    return read_body(body)


def read_page(html: str) -> list[Reading]:
    """The posts that a page carries as JSON-LD; a page without any is a wall of some kind."""
    readings = []
    for script in _JSON_LD.findall(html):
        try:
            node = json.loads(script)
        except ValueError:
            continue
        nodes = node.get("@graph", [node]) if isinstance(node, Mapping) else node
        for item in nodes if isinstance(nodes, list) else []:
            if _is_posting(item):
                readings += read_body(item)
    if readings:
        return readings
    if any(word in html for word in _LOGIN_WALL):
        return [Reading(Status.LOGIN_REQUIRED, detail="the page asks to sign in")]
    return [Reading(Status.BLOCKED, detail="a page without the post where an answer was expected")]


def _is_posting(node: object) -> bool:
    return isinstance(node, Mapping) and node.get("@type") == "SocialMediaPosting"


def read_body(body: Any) -> list[Reading]:
    """The posts of a parsed JSON answer. A 200 with ``errors`` beside ``data`` is normal: the data are kept."""
    try:
        return _read_shape(body)
    except UNEXPECTED as error:
        return [unexpected(error, "answer")]


def _read_shape(body: Any) -> list[Reading]:
    if isinstance(body, list):
        return [reading for item in body for reading in read_body(item)]
    if not isinstance(body, Mapping):
        return [Reading(Status.LAYOUT_CHANGED, detail=f"the answer is a {type(body).__name__}")]
    data = body.get("data")
    if isinstance(data, list) or (data is None and _api_v2_errors(body)):
        return read_api_v2(body)
    if isinstance(data, Mapping) and data:
        if body.get("errors") and has_no_result(data):
            return [read_error(list(body["errors"]))]
        return read_graphql(data)
    if body.get("errors"):
        return [read_error(list(body["errors"]))]
    if isinstance(body.get("posts"), list):
        return read_bluesky(body)
    if _is_posting(body):
        return [read_json_ld(body)]
    if body.get("__typename") in ("Tweet", "TweetTombstone"):
        return [read_embed(body)]
    if "favourites_count" in body and "reblogs_count" in body:
        return [read_mastodon(body)]
    keys = ", ".join(sorted(map(str, body))[:8]) or "none"
    return [Reading(Status.LAYOUT_CHANGED, detail=f"unknown answer with keys: {keys}")]


def _api_v2_errors(body: Mapping[str, Any]) -> bool:
    return any(isinstance(e, Mapping) and "resource_id" in e for e in body.get("errors") or [])
