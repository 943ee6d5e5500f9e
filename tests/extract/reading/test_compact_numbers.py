"""Compact numbers of every language, against the formatter they are the inverse of."""

from __future__ import annotations

from collections import Counter

import pytest
from babel import localedata
from babel.numbers import format_compact_decimal

from extract.reading.compact_numbers import read_compact

VALUES = (7, 950, 1_200, 9_900, 15_000, 27_000, 480_000, 1_200_000, 34_000_000, 2_300_000_000)


def test_in_every_cldr_language_nothing_is_wrong_and_little_refused() -> None:
    found: Counter[str] = Counter()
    wrong = []
    languages = localedata.locale_identifiers()
    for language in languages:
        for value in VALUES:
            shown = format_compact_decimal(
                value, format_type="short", locale=language, fraction_digits=1, numbering_system="default"
            )
            read = read_compact(shown, language)
            if read is None:
                found["refused"] += 1
            elif read[0] == value:
                found["right"] += 1
            else:
                wrong.append((language, value, shown, read))

    assert len(languages) > 1_000
    assert wrong == []
    assert found["right"] >= 0.99 * len(languages) * len(VALUES)


@pytest.mark.parametrize(
    ("shown", "language", "bound"),
    [
        ("1.5K", "en", (1_500, 100)),
        ("1.2B", "en", (1_200_000_000, 100_000_000)),  # once read as 1
        ("1,2K", "en", None),  # once read as 1,000; another language's decimal comma
        ("27K", "en", (27_000, 1_000)),
        ("1K", "en", (1_000, 100)),  # X leaves ".0" out: 1,000 to 1,099
        ("14M", "en-GB", (14_000_000, 1_000_000)),
        ("33", "en", (33, 1)),
        ("1,234", "en", (1_234, 1)),
        ("1.234", "de", (1_234, 1)),
        ("1,2 B", "tr", (1_200, 100)),  # bin: a thousand, and no billion
        ("1.2万", "ja", (12_000, 1_000)),
        ("2,7 Mio.", "de", (2_700_000, 100_000)),
        ("1,5 k", "fr", (1_500, 100)),
        ("1,2\u00a0mil", "es", (1_200, 100)),
        ("12,34,567", "hi", (1_234_567, 1)),
        ("١٫٢ ألف", "ar-EG", (1_200, 100)),
        ("1.2万", "zh-Hant", None),  # 萬 there
        ("1.234", "en", None),
        ("1.2K Likes", "en", None),
        ("K", "en", None),
        ("", "en", None),
        ("1.2K", "no-such-language", None),
        ("1.2K", "", None),
    ],
)
def test_read_compact(shown: str, language: str, bound: tuple[int, int] | None) -> None:
    assert read_compact(shown, language) == bound
