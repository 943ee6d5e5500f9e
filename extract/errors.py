"""What a user can mend, and what a site says no to."""

from __future__ import annotations


class ExtractError(Exception):
    """An expected failure: one sentence that says what, where and what to do. Exit code 2."""
