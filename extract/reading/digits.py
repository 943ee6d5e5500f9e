"""Digits of every script."""

from __future__ import annotations

import unicodedata


def ascii_digits(text: str) -> str:
    """``text`` with every decimal digit of any script as an ASCII one."""
    return "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text)
