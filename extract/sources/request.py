"""One question over HTTP: paced, asked again where that may help, refused where the site says no."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import stamina

from extract.answers.refusals import parsed
from extract.errors import ExtractError
from extract.reading.attempt import Now
from extract.reading.record import Reading, Status
from extract.sources.host_policy import Pace

TRIES = 3
TIMEOUT = 20.0  # seconds a question
WORTH_ANOTHER_TRY = frozenset({Status.OVERLOADED, Status.NO_DATA, Status.TIMEOUT})
AGENT = "levelset (reads its own account's posts)"
_BETWEEN_TRIES = 0.5  # seconds, doubled each time
_JITTER = 0.25  # seconds at most


@dataclass(frozen=True)
class ApiAnswer:
    """An HTTP answer: status code, body as text, headers by lower-case name."""

    code: int
    text: str
    headers: Mapping[str, str]


class RequestRefused(Exception):
    """An answer that carries no post, after every try that may help: its reading says why."""

    def __init__(self, reading: Reading, tries: int = 1) -> None:
        super().__init__(reading.status.value)
        self.reading = reading
        self.tries = tries


class NoAnswer(Exception):
    """The connection failed, or the body did not come whole."""


def check_reached(base: str, refused: RequestRefused) -> None:
    """Raise ExtractError where the first question of a run has no answer at all: nothing is there to be read."""
    if refused.reading.status is Status.TIMEOUT:
        raise ExtractError(f"{base} does not answer ({refused.reading.detail}): is it running?") from refused


class _Again(RequestRefused):
    """Worth another try in a moment."""


Params = Mapping[str, str | list[str]]
Get = Callable[[str, Params], ApiAnswer]
Refusal = Callable[[int, str, Mapping[str, str], Any], Reading | None]


def ask(
    get: Get, refusal: Refusal, pace: Pace, now: Now, path: str, params: Params, tries_at_most: int = TRIES
) -> tuple[Any, int]:
    """The parsed JSON of an answer with data, and how many tries it took. Raises Refused for any other."""
    tries = 0
    try:
        for attempt in stamina.retry_context(
            on=_Again, attempts=tries_at_most, wait_initial=_BETWEEN_TRIES, wait_jitter=_JITTER
        ):
            with attempt:
                tries += 1
                time.sleep(pace.delay())
                try:
                    answer = get(path, params)
                except NoAnswer as error:
                    raise _Again(Reading(Status.TIMEOUT, detail=str(error))) from error
                refused = refusal(answer.code, answer.text, answer.headers, now())
                if refused is not None:
                    raise _Again(refused) if refused.status in WORTH_ANOTHER_TRY else RequestRefused(refused)
    except RequestRefused as refused:
        raise RequestRefused(refused.reading, tries) from refused
    return parsed(answer.text), tries


def httpx_get(client: httpx.Client) -> Get:
    """``get`` over an httpx client."""

    def get(path: str, params: Params) -> ApiAnswer:
        try:
            answer = client.get(path, params=dict(params))
        except httpx.TransportError as error:
            raise NoAnswer(f"no whole answer ({type(error).__name__})") from error
        return ApiAnswer(answer.status_code, answer.text, answer.headers)

    return get
