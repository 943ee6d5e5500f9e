"""What a user can mend, and what a site says no to."""

from __future__ import annotations


class ExtractError(Exception):
    """An expected failure: one sentence that says what, where and what to do. Exit code 2."""


class Wall(ExtractError):
    """The site asks to stop (sign in, rate limit, block page). What was read before it is kept. Exit code 3."""
