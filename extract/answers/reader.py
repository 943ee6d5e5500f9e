"""Every form in which people have recorded answers, down to the posts in them.

JSON, JSON lines, a page, a HAR file of a browser's requests, a part of the archive that X gives an account. Each is
known by its structure, never by its name.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from extract.answers.shapes import UNKNOWN, Answer, read_body, together
from extract.reading.record import Reading, Status

_JSON_LD = re.compile(r"<script[^>]*application/ld\+json[^>]*>(.*?)</script>", re.DOTALL | re.IGNORECASE)
# The words of a login wall's own elements. Sentences like "Something went wrong" are in the static shell of every
# page, so they prove nothing.
_LOGIN_WALL = re.compile(
    r"""google_sign_in_container|apple_sign_in_button|login_wall
      |<input\b[^>]*\b(?:type=["']?password|autocomplete=["']?(?:username|current-password))""",
    re.IGNORECASE | re.VERBOSE,
)
_SIGN_IN = re.compile(r"^/(?:i/flow/)?(?:login|signin|signup)\b")
_ARCHIVE = re.compile(r"window\.YTD\.(\w+)\.part\d+\s*=\s*")
_PAGE = "page"


def read_answer(text: str) -> list[Reading]:
    """Every post in one recorded or live answer (JSON or HTML), in its order.

    Never raises on content: an unknown JSON shape is ``layout_changed``, a page that is not an answer ``blocked`` or
    ``login_required``, a cut-off body ``no_data``.
    """
    return [reading for answer in read_document(text) for reading in answer.readings]


def read_file_content(content: bytes) -> list[Answer]:
    """The answers in a file, as ``read_document``; it may be packed by gzip, or begin with a byte order mark.

    Never raises on content: a damaged gzip file is ``no_data``.
    """
    if content.startswith(b"\x1f\x8b"):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error):
            return [_without_posts("gzip", "the gzip file is damaged or cut off")]
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    return read_document(content.decode(encoding, errors="replace"))


def read_document(text: str) -> list[Answer]:
    """The answers in a text: one, or for a HAR file one per request that was answered with posts."""
    stripped = text.strip().removeprefix("\ufeff").strip()
    if stripped.startswith("<"):
        return [Answer(_PAGE, tuple(read_page(stripped)))]
    part = _ARCHIVE.match(stripped)
    body, problem = _parsed(stripped[part.end() :] if part else stripped)
    if problem is not None:
        return _json_lines(stripped) or [_without_posts(UNKNOWN, problem)]
    if part and part[1] not in ("tweet", "tweets"):
        of = len(body) if isinstance(body, list) else 1
        return [_without_posts(f"{part[1]} of X's archive", f"{of} entries of {part[1]}, which are no posts")]
    if isinstance(body, Mapping) and isinstance((body.get("log") or {}).get("entries"), list):
        return _har(body["log"]["entries"])
    return [read_body(body)]


def read_page(html: str) -> list[Reading]:
    """The posts that a page carries as JSON-LD; a page without any is a wall of some kind."""
    readings: list[Reading] = []
    for script in _JSON_LD.findall(html):
        node, _ = _parsed(script)
        nodes = node.get("@graph", [node]) if isinstance(node, Mapping) else node
        for item in nodes if isinstance(nodes, list) else []:
            if isinstance(item, Mapping) and item.get("@type") == "SocialMediaPosting":
                readings += read_body(item).readings
    if readings:
        return readings
    if asks_to_sign_in(html):
        return [Reading(Status.LOGIN_REQUIRED, detail="the page asks to sign in")]
    return [Reading(Status.BLOCKED, detail="a page without the post where an answer was expected")]


def asks_to_sign_in(html: str) -> bool:
    """Whether a page has the elements of a sign-in form."""
    return _LOGIN_WALL.search(html) is not None


def is_sign_in(address: str) -> bool:
    """Whether an address is a sign-in page's by its path."""
    return _SIGN_IN.search(urlsplit(address).path) is not None


def _parsed(text: str) -> tuple[Any, str | None]:
    """``(the JSON value, None)``, or ``(None, why there is none)``."""
    try:
        return json.loads(text), None
    except ValueError:
        return None, "the answer is cut off or no JSON"
    except RecursionError:
        return None, "the JSON is nested too deep"


def _without_posts(kind: str, detail: str) -> Answer:
    return Answer(kind, (Reading(Status.NO_DATA, detail=detail),))


def _json_lines(text: str) -> list[Answer]:
    """One answer out of lines of JSON; none where the first line is no JSON."""
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if len(lines) < 2 or _parsed(lines[0][1])[1] is not None:
        return []
    answers = []
    for number, line in lines:
        body, problem = _parsed(line)
        answers.append(_without_posts(UNKNOWN, f"line {number}: {problem}") if problem else read_body(body))
    whole = together(answers)
    return [replace(whole, kind=f"lines of {whole.kind}")]


def _har(entries: list[Any]) -> list[Answer]:
    """The answers with posts, each with the time of its request; the others are counted."""
    found = [
        replace(answer, kind=f"HAR with {answer.kind}", observed_at=_asked_at(entry))
        for entry in entries
        for answer in read_document(_har_text(entry))
        if any(reading.tweet_id is not None for reading in answer.readings)
    ]
    if found:
        return found
    return [_without_posts("HAR", f"none of its {len(entries)} answers holds a post: save it with the content")]


def _har_text(entry: Any) -> str:
    try:
        content = entry["response"]["content"]
        text = content.get("text") or ""
        return base64.b64decode(text).decode("utf-8", "replace") if content.get("encoding") == "base64" else str(text)
    except (AttributeError, KeyError, TypeError, ValueError):
        return ""


def _asked_at(entry: Mapping[str, Any]) -> datetime | None:
    try:
        at = datetime.fromisoformat(str(entry.get("startedDateTime")))
        return at.astimezone(UTC) if at.tzinfo else None
    except (ValueError, OverflowError):
        return None
