"""What a user can fix: one sentence that says what, where and what to do."""

from __future__ import annotations


class Trouble(Exception):
    """An expected failure; the command prints it as ``Error: …`` and leaves with exit code 2."""
