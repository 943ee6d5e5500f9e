"""Answers that carry no post: what each means, and when a site that says "later" means."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from extract.answers.graphql import UNEXPECTED, has_no_result, read_error, unexpected
from extract.answers.reader import is_sign_in, read_page
from extract.reading.record import Reading, Status

_WINDOW = timedelta(minutes=15)  # X's rate limits count in windows of it: the wait if the answer names none
_LONGEST = timedelta(days=1)  # a wrong header must not stop the account for ever
# an epoch in seconds (X, Bluesky) or an ISO instant (Mastodon)
_RESETS = ("x-rate-limit-reset", "ratelimit-reset", "x-ratelimit-reset")
_BUSY = (500, 502, 503, 504)


def refusal(code: int, text: str, headers: Mapping[str, str], now: datetime) -> Reading | None:
    """The reading that an HTTP answer of any network without data means; None where its body may carry some."""
    if code == 429:
        at = retry_at(headers, now)
        return Reading(Status.RATE_LIMITED, detail=f"asked to wait until {at:%Y-%m-%d %H:%M:%S} UTC", retry_at=at)
    if 300 <= code < 400 and is_sign_in(headers.get("location", "")):
        return Reading(Status.LOGIN_REQUIRED, detail=f"HTTP {code} to a sign-in page")
    if code in _BUSY:
        return Reading(Status.OVERLOADED, detail=f"HTTP {code}")
    if text.lstrip().startswith("<"):
        return read_page(text)[0] if code < 400 else Reading(Status.NO_DATA, detail=f"HTTP {code}, a page")
    if code == 404 and not text.strip():
        return Reading(Status.NO_DATA, detail="an empty HTTP 404")
    if parsed(text) is None:
        return Reading(Status.NO_DATA, detail=f"HTTP {code}: cut off, or no JSON")
    return None


def graphql_refusal(code: int, text: str, headers: Mapping[str, str], now: datetime) -> Reading | None:
    """As ``refusal``, for GraphQL: errors beside data are normal there, errors without data are not."""
    refused = refusal(code, text, headers, now)
    if refused is not None:
        return refused
    body = parsed(text)
    if not isinstance(body, dict):
        return Reading(Status.LAYOUT_CHANGED, detail=f"HTTP {code}, a {type(body).__name__}")
    try:
        failed = bool(body.get("errors")) and (not body.get("data") or has_no_result(body["data"]))
    except UNEXPECTED as error:
        return unexpected(error, "graphql")
    if failed:
        reading = read_error(list(body["errors"]))
        if reading.status is not Status.RATE_LIMITED:
            return reading
        return Reading(reading.status, detail=reading.detail, retry_at=retry_at(headers, now))
    return None if isinstance(body.get("data"), dict) else Reading(Status.LAYOUT_CHANGED, detail=f"HTTP {code}")


def parsed(text: str) -> Any:
    """The JSON of an answer; None where it is cut off or none."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def retry_at(headers: Mapping[str, str], now: datetime) -> datetime:
    """When a site that limits its rate asks to be asked again: aware, UTC, after ``now``, within a day.

    ``Retry-After`` (seconds or a date, RFC 9110) and the reset headers of X, Bluesky and Mastodon; the latest counts.
    """
    found = [at for name in ("retry-after", *_RESETS) if (at := _instant(name, headers.get(name), now)) is not None]
    latest = max(found, default=now + _WINDOW)
    return min(max(latest, now), now + _LONGEST)


def _instant(name: str, value: str | None, now: datetime) -> datetime | None:
    if not value:
        return None
    try:
        if value.strip().isdecimal():
            seconds = int(value)
            return now + timedelta(seconds=seconds) if name == "retry-after" else datetime.fromtimestamp(seconds, UTC)
        at = parsedate_to_datetime(value) if name == "retry-after" else datetime.fromisoformat(value)
        return at.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None
