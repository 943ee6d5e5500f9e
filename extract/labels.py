"""Numbers out of a page's labels and texts.

Labels are exact ("1556 Likes. Like"); visible text is floored ("1.5K" for 1,556), so it only ever gives a lower bound
and a step. What is ambiguous is refused: a wrong number is worse than none.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from extract.record import Count, Counters

# A whole number, in one piece or in groups of three. It must not touch a letter or a decimal part: the K of "1.2K"
# makes it an abbreviation, and "17 Likes" is no 17 K.
_EXACT = re.compile(r"(?<![\w.,])(\d{1,3}(?:[,.' \u00a0\u202f]\d{3})+|\d+)(?![\w]|[.,]\d)")
# a number in one piece only: of "1,234 replies" this must not read 234
_GROUP_PART = re.compile(r"(?<![\w.,])(?<!\d )(\d+) ([A-Za-z]+)")
_COMPACT = re.compile(r"(\d+)(?:\.(\d))?([KMB]?)")
_UNITS = {"": 1, "K": 1_000, "M": 1_000_000, "B": 1_000_000_000}

_GROUP_WORDS = {
    "reply": "replies",
    "replies": "replies",
    "repost": "retweets",
    "reposts": "retweets",
    "like": "likes",
    "likes": "likes",
    "bookmark": "bookmarks",
    "bookmarks": "bookmarks",
    "view": "views",
    "views": "views",
}


@dataclass(frozen=True)
class Labels:
    """What one article element says of itself: aria-labels by test id, and the visible texts of the same buttons."""

    group: str | None
    reply: str | None
    retweet: str | None
    like: str | None
    views: str | None
    texts: Mapping[str, str]


def ascii_digits(text: str) -> str:
    """``text`` with every decimal digit of any script as an ASCII one."""
    return "".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in text)


def exact_numbers(label: str) -> list[int] | None:
    """The whole numbers in a label, in order; None where any number in it is abbreviated or unclear."""
    plain = ascii_digits(label)
    found = [match.group(1) for match in _EXACT.finditer(plain)]
    if sum(map(len, found)) < sum(1 for c in plain if c.isdecimal()):
        return None
    return [int(re.sub(r"\D", "", number)) for number in found]


def exact_number(label: str | None) -> int | None:
    """The one whole number of a label; None where there is none, or more than one."""
    numbers = exact_numbers(label) if label else None
    return numbers[0] if numbers is not None and len(numbers) == 1 else None


def floored(text: str) -> tuple[int, int] | None:
    """``(lower bound, step)`` of an English visible number: "1.5K" is (1500, 100), "27K" (27000, 1000), "33" (33, 1).

    None for anything else, above all for other languages' commas and suffixes.
    """
    match = _COMPACT.fullmatch(text.strip())
    if match is None or (match[2] and not match[3]):
        return None
    unit = _UNITS[match[3]]
    tenth = unit // 10 if match[2] else 0
    # without a decimal the text is exact below 1000; "27K" hides up to 999, "1K" (1.0K) up to 99
    step = 1 if unit == 1 else tenth or (unit // 10 if int(match[1]) < 10 else unit)
    return int(match[1]) * unit + int(match[2] or 0) * tenth, step


def read_labels(labels: Labels) -> tuple[Counters, tuple[str, ...]]:
    """The counters that an article's labels give, and a warning for each pair that disagrees.

    In any language: the three buttons and the analytics link are known by test id; the number of the group label
    that none of them accounts for is the bookmarks (X leaves metrics that are zero out of the group label, so none
    left means 0). English group labels are read by word as a second opinion.
    """
    by_id = {
        "replies": exact_number(labels.reply),
        "retweets": exact_number(labels.retweet),
        "likes": exact_number(labels.like),
        "views": exact_number(labels.views),
    }
    found: dict[str, Count | None] = {
        name: None if value is None else Count(value, "label") for name, value in by_id.items()
    }
    found["bookmarks"] = _left_over(labels.group, by_id)
    warnings = []
    for name, value in _group_words(labels.group).items():
        known = found.get(name)
        if known is None:
            found[name] = Count(value, "group_label")
        elif known.value != value:
            warnings.append(f"{name}: label says {known.value}, group label {value}")
            found[name] = None
    for name, text in labels.texts.items():
        bound = floored(text)
        if found.get(name) is None and bound is not None:
            found[name] = Count(bound[0], "text", bound[1])
    return Counters(**found), tuple(warnings)


def _left_over(group: str | None, by_id: Mapping[str, int | None]) -> Count | None:
    numbers = exact_numbers(group) if group else None
    if numbers is None or any(value is None for value in by_id.values()):
        return None
    rest = list(numbers)
    for value in by_id.values():
        if value and value in rest:
            rest.remove(value)
        elif value:
            return None  # the group label does not hold what the button says: do not subtract
    if len(rest) > 1:
        return None
    return Count(rest[0] if rest else 0, "label_left_over")


def _group_words(group: str | None) -> dict[str, int]:
    return {
        _GROUP_WORDS[match[2].lower()]: int(match[1])
        for match in _GROUP_PART.finditer(ascii_digits(group or ""))
        if match[2].lower() in _GROUP_WORDS
    }
