"""A counter out of a JSON field. Nothing is guessed: what is no plain whole number is refused by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from extract.reading.record import COUNTERS, Count, Counters

_PLAIN = re.compile(r"[0-9]{1,18}", re.ASCII)


def whole(value: object) -> int | None:
    """``value`` as a count: an int >= 0, or a string of ASCII digits (X sends views so). None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if value >= 0 else None
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        return int(value)
    return None


def read_counters(holder: Mapping[str, Any], names: Mapping[str, str], source: str) -> tuple[Counters, tuple[str, ...]]:
    """The counters that ``holder`` has under ``names`` (counter -> field), and a warning for each unreadable one.

    A field that is absent or null is unknown and gives no warning; a field that is there but is no whole number does.
    """
    found: dict[str, Count | None] = dict.fromkeys(COUNTERS)
    warnings = []
    for counter, name in names.items():
        raw = holder.get(name)
        if raw is None:
            continue
        value = whole(raw)
        if value is None:
            warnings.append(f"{counter}: {name} is {raw!r:.40}, no whole number: not read")
        else:
            found[counter] = Count(value, source)
    return Counters(**found), tuple(warnings)
