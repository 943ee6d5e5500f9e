"""Errors that a user can fix, and refusals by a site."""

from __future__ import annotations


class ExtractError(Exception):
    """An expected failure: one sentence that says what, where and what to do. Exit code 2."""


def innermost_line(error: BaseException) -> str:
    """A database's own words in one line, without the statement and the exceptions wrapped around them."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0][:300]
