"""Numbers out of a page's labels and texts.

Labels are exact ("1556 Likes. Like"); visible text is floored ("1.5K" for 1,556), so it only ever gives a lower bound
and a step. What is ambiguous is refused: a wrong number is worse than none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from extract.reading.compact_numbers import read_compact
from extract.reading.digits import ascii_digits
from extract.reading.metric_words import read_group
from extract.reading.record import Count, Counters

# A whole number, in one piece or in groups of three (in India of two, the last of three), with one separator. It must
# not touch a letter or a decimal part: the K of "1.2K" makes it an abbreviation, and "17 Likes" is no 17 K.
_SEPARATOR = "[,.'’٬ \u00a0\u202f]"
_EXACT = re.compile(
    rf"""(?<![\w.,٫])
         (?P<number>\d{{1,3}}(?P<s>{_SEPARATOR})\d{{3}}(?:(?P=s)\d{{3}})*
           |\d{{1,2}}(?P<i>[,\u00a0\u202f])\d{{2}}(?:(?P=i)\d{{2}})*(?P=i)\d{{3}}
           |\d+)
         (?![\w]|[.,٫٬'’]\d)""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Labels:
    """What one article element says of itself: aria-labels by test id, and the visible texts of the same buttons.

    ``language`` is the page's own (``<html lang>``): "1.234" is another number in German than in English.
    """

    group: str | None
    reply: str | None
    retweet: str | None
    like: str | None
    views: str | None
    texts: Mapping[str, str]
    language: str = "en"


def exact_numbers(label: str) -> list[int] | None:
    """The whole numbers in a label, in order; None where any number in it is abbreviated or unclear."""
    plain = ascii_digits(label)
    found = [match["number"] for match in _EXACT.finditer(plain)]
    if sum(map(len, found)) < sum(1 for c in plain if c.isdecimal()):
        return None
    return [int(re.sub(r"\D", "", number)) for number in found]


def exact_number(label: str | None) -> int | None:
    """The one whole number of a label; None where there is none, or more than one."""
    numbers = exact_numbers(label) if label else None
    return numbers[0] if numbers is not None and len(numbers) == 1 else None


def read_labels(labels: Labels) -> tuple[Counters, tuple[str, ...]]:
    """The counters that an article's labels give, and a warning for each pair that disagrees.

    In any language: the three buttons and the analytics link are known by test id; the number of the group label
    that none of them accounts for is the bookmarks (X leaves metrics that are zero out of the group label, so none
    left means 0). Group labels of known languages are read by word as a second opinion.
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
    for name, value in read_group(labels.group, labels.language).items():
        known = found.get(name)
        if known is None:
            found[name] = Count(value, "group_label")
        elif known.value != value:
            warnings.append(f"{name}: label says {known.value}, group label {value}")
            found[name] = None
    for name, text in labels.texts.items():
        bound = read_compact(text, labels.language)
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
