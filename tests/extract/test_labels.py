"""Labels of 39 real articles, and every misreading that the old scraper was known for."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from extract.labels import Labels, exact_number, exact_numbers, floored, read_labels

OBSERVED = list(csv.DictReader((Path(__file__).parent / "series" / "x_dom_observations_2026.csv").open()))


def labels_of(row: dict[str, str]) -> Labels:
    return Labels(
        row["group_aria_label"], row["reply_aria"], row["retweet_aria"], row["like_aria"], row["views_aria"], {}
    )


@pytest.mark.parametrize("row", OBSERVED, ids=lambda row: row["tweet_id"] + row["observed_at"][-4:])
def test_real_articles_give_exact_counters_bookmarks_included(row: dict[str, str]) -> None:
    counters, warnings = read_labels(labels_of(row))

    told = {part.split()[1].rstrip("s"): int(part.split()[0]) for part in row["group_aria_label"].split(", ")}
    assert warnings == ()
    assert counters.value("likes") == told.get("like", 0)
    assert counters.value("bookmarks") == told.get("bookmark", 0)
    assert counters.value("replies") == told.get("replie", told.get("reply", 0))
    assert counters.value("views") == told["view"]
    assert counters.value("quotes") is None


@pytest.mark.parametrize("row", OBSERVED[:10], ids=lambda row: row["like_text"])
def test_visible_text_is_only_ever_a_lower_bound(row: dict[str, str]) -> None:
    bound = floored(row["like_text"])
    likes = exact_number(row["like_aria"])

    assert bound is not None
    assert likes is not None
    assert bound[0] <= likes < sum(bound)


@pytest.mark.parametrize(
    ("label", "numbers"),
    [
        ("17 Likes. Like", [17]),  # once read as 17,000: the K of "Likes"
        ("12 comments", [12]),  # once 12,000,000
        ("12,345 Views", [12345]),  # once 12
        ("1,234 Bookmarks", [1234]),  # once 1,000
        ("1 234 j’aime", [1234]),  # once 1
        ("1.2K likes", None),  # an abbreviation is no exact number
        ("1,2K", None),
        ("3.5 stars", None),
        ("٣٤ إعجاب", [34]),
        ("110 件の返信、169 件のリポスト", [110, 169]),
        ("Like", []),
    ],
)
def test_exact_numbers(label: str, numbers: list[int] | None) -> None:
    assert exact_numbers(label) == numbers


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("33", (33, 1)),
        ("1.5K", (1500, 100)),
        ("1K", (1000, 100)),
        ("27K", (27000, 1000)),
        ("14M", (14_000_000, 1_000_000)),
        ("1.2B", (1_200_000_000, 100_000_000)),  # once read as 1
        ("1,2K", None),  # once read as 1,000; another language's decimal comma
        ("1.2", None),
        ("", None),
        ("K", None),
    ],
)
def test_floored(text: str, bound: tuple[int, int] | None) -> None:
    assert floored(text) == bound


def test_a_group_label_with_separators_is_not_read_in_half() -> None:
    counters, _ = read_labels(Labels("1,234 replies, 5 likes", None, None, None, None, {}))

    assert counters.value("replies") is None
    assert counters.value("likes") == 5


def test_labels_that_disagree_give_neither_number() -> None:
    counters, warnings = read_labels(Labels("33 replies", "34 Replies. Reply", None, None, None, {}))

    assert counters.value("replies") is None
    assert warnings == ("replies: label says 34, group label 33",)
