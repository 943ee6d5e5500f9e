"""Compact numbers of every language ("1.2K", "1,2 Mio.", "1.2万", "१.२ लाख"), read back: the inverse of Babel's CLDR.

Babel only formats. Its patterns say for each power of ten which affixes are around the number and how many whole
digits are shown; read backwards, the affixes and the number of digits give the power of ten. Where two powers show
the same, or anything does not fit, nothing is read: "1.234" is 1,234 in German and 1.234 in English.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast

from babel import Locale, UnknownLocaleError
from babel.numbers import get_decimal_symbol, get_group_symbol

from extract.reading.digits import ascii_digits

# direction marks: invisible, but some pages send them
_MARKS = re.compile("[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]")
_SPACES = re.compile(r"\s+")
_MOST_DECIMALS = 3
_HEAD = re.compile(r"(?P<before>\D*)(?P<number>\d.*\d|\d)(?P<after>\D*)", re.DOTALL)

_Affixes = tuple[str, str]


def read_compact(text: str, language: str) -> tuple[int, int] | None:
    """``(lower bound, step)`` of a number as a page in ``language`` shows it ("de", "zh-Hant", "pt_BR").

    "1.5K" in "en" is (1500, 100): X cuts the rest off, so the number is at least the first and less than their sum.
    A number shown whole has step 1. None where the language is unknown, or the text is ambiguous or no such number.
    """
    try:
        shapes = _shapes(language.replace("-", "_"))
    except (UnknownLocaleError, ValueError):
        return None
    plain = _plain(text)
    match = _HEAD.fullmatch(plain)
    if match is None:
        return None
    found = {
        value for decimal, group in shapes.separators if (value := _value(shapes, match, decimal, group)) is not None
    }
    return found.pop() if len(found) == 1 else None


class _Shapes:
    """A language's compact patterns, backwards: units by (affixes, whole digits shown), and its separators."""

    def __init__(self, locale: Locale) -> None:
        self.units: defaultdict[_Affixes, set[tuple[int, int]]] = defaultdict(set)
        for style in ("short", "long"):
            for patterns in cast(
                Mapping[str, Mapping[str, Any]], locale.compact_decimal_formats.get(style, {})
            ).values():
                for magnitude, pattern in patterns.items():
                    self._learn(int(magnitude), str(pattern.pattern))
        systems = {"latn", locale.default_numbering_system}
        self.separators = {
            (get_decimal_symbol(locale, numbering_system=s), _plain(get_group_symbol(locale, numbering_system=s)))
            for s in systems & set(locale.number_symbols)
        }

    def _learn(self, magnitude: int, pattern: str) -> None:
        # Swahili's patterns tell the negative form too ("elfu 0;elfu -0"); Babel loses the decimal mark of those, so
        # nothing proves what is made of them: not read
        match = re.fullmatch(r"([^0;]*)(0+)([^0;]*)", pattern)
        affixes = (_literal(match[1]), _literal(match[3])) if match else ("", "")
        if match is not None and affixes != ("", ""):
            self.units[affixes].add((len(match[2]), magnitude // 10 ** (len(match[2]) - 1)))


@lru_cache(maxsize=64)
def _shapes(language: str) -> _Shapes:
    return _Shapes(Locale.parse(language))


def _plain(text: str) -> str:
    """Digits of any script as ASCII, direction marks gone, every space an ordinary one."""
    return _SPACES.sub(" ", ascii_digits(_MARKS.sub("", text))).strip()


def _literal(affix: str) -> str:
    """An affix of a CLDR pattern as it is shown: quotes only say that what they hold is no pattern."""
    return _plain(affix.replace("''", "\0").replace("'", "").replace("\0", "'"))


def _value(shapes: _Shapes, match: re.Match[str], decimal: str, group: str) -> tuple[int, int] | None:
    affixes = (match["before"].strip(), match["after"].strip())
    parts = match["number"].split(decimal)
    if len(parts) > 2 or (len(parts) == 2 and not (parts[1].isdecimal() and len(parts[1]) <= _MOST_DECIMALS)):
        return None
    whole = _whole(parts[0], group)
    if whole is None:
        return None
    decimals = parts[1] if len(parts) == 2 else ""
    if affixes == ("", ""):
        return None if decimals else (int(whole), 1)
    units = {unit for digits, unit in shapes.units.get(affixes, ()) if digits == len(whole)}
    if len(units) != 1:
        return None
    step = units.pop() // 10 ** len(decimals)
    if step < 1:
        return None
    # X shows one decimal below ten units and leaves a zero out: "1K" hides up to 99, "27K" up to 999
    hidden = step // 10 if not decimals and len(whole) == 1 and step >= 10 else step
    return int(whole + decimals) * step, hidden


def _whole(text: str, group: str) -> str | None:
    """The digits of a whole number, in one piece or in groups as this language makes them (three, or two in India)."""
    if text.isdecimal():
        return text
    head, *groups = text.split(group) if group else [text]
    fits = head.isdecimal() and len(head) <= 3 and groups and len(groups[-1]) == 3
    if fits and all(g.isdecimal() and len(g) in (2, 3) for g in groups):
        return head + "".join(groups)
    return None
