"""What both kinds of warehouse can hold: 64-bit counts, texts of valid Unicode without NUL, finite numbers."""

from __future__ import annotations

import math
import re
from typing import Any

_BIGINT = 2**63
# Postgres holds no NUL in a text or a jsonb; a lone surrogate has no UTF-8
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_DEEPEST = 100  # levels of a JSON value: orjson, with which dlt writes its files, takes 254


def is_bigint(value: int) -> bool:
    return -_BIGINT <= value < _BIGINT


def storable_text(text: str) -> str:
    """The text with each character that no database holds written out, as ``\\x00`` or ``\\ud800``."""
    return _UNSTORABLE.sub(lambda found: repr(found.group())[1:-1], text)


def text_problem(text: str) -> str | None:
    """Why a database cannot hold the text; None where it can."""
    found = _UNSTORABLE.search(text)
    if found is None:
        return None
    return "holds a NUL character" if found.group() == "\x00" else "holds half a character (a lone surrogate)"


def json_problem(value: Any, depth: int = 0) -> str | None:
    """Why a database cannot hold a JSON value; None where it can."""
    if depth > _DEEPEST:
        return f"is nested deeper than {_DEEPEST} levels"
    match value:
        case str():
            return text_problem(value)
        case bool() | None:
            return None
        case int():
            return None if is_bigint(value) else "holds a whole number beyond 64 bits"
        case float():
            return None if math.isfinite(value) else "holds a number that is not finite"
        case list():
            parts = value
        case dict():
            parts = [*value, *value.values()]
        case _:
            return None
    return next((problem for part in parts if (problem := json_problem(part, depth + 1)) is not None), None)
