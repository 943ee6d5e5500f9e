"""Labels of 39 real articles, and every misreading that the old scraper was known for."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from extract.reading.aria_labels import Labels, exact_number, exact_numbers, read_labels
from extract.reading.compact_numbers import read_compact
from extract.reading.metric_words import read_group
from extract.reading.record import Count

OBSERVED = list(csv.DictReader((Path(__file__).parents[1] / "series" / "x_dom_observations_2026.csv").open()))


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
    bound = read_compact(row["like_text"], "en")
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


GROUPS = {
    "en": "33 replies, 274 reposts, 1556 likes, 22 bookmarks, 27014 views",
    "ja": "33 件の返信、274 件のリポスト、1556 件のいいね、22 件のブックマーク、27014 件の表示",  # as recorded
    "zh": "33 回复、274 次转帖、1556 喜欢、22 书签、27014 次观看",  # as recorded
    "zh-Hant": "33 則回覆、274 次轉發、1556 個喜歡、22 個書籤、27014 次觀看",
    "de": "33 Antworten, 274 Reposts, 1556 „Gefällt mir“-Angaben, 22 Lesezeichen, 27014 Mal angezeigt",
    "fr": "33 réponses, 274 reposts, 1556 j’aime, 22 signets, 27014 vues",
    "es": "33 respuestas, 274 reposts, 1556 Me gusta, 22 elementos guardados, 27014 visualizaciones",
    "pt-BR": "33 respostas, 274 reposts, 1556 curtidas, 22 itens salvos, 27014 visualizações",
    "it": "33 risposte, 274 repost, 1556 Mi piace, 22 segnalibri, 27014 visualizzazioni",
    "nl": "33 antwoorden, 274 reposts, 1556 vind-ik-leuks, 22 bladwijzers, 27014 weergaven",
    "tr": "33 yanıt, 274 yeniden gönderi, 1556 beğeni, 22 yer işareti, 27014 görüntülenme",
    "ru": "33 ответа, 274 репоста, 1556 отметок «Нравится», 22 закладки, 27014 просмотров",
    "ko": "33 답글, 274 재게시, 1556 마음에 들어요, 22 북마크, 27014 조회",
    "ar": "٣٣ ردًا، ٢٧٤ إعادة نشر، ١٥٥٦ إعجابًا، ٢٢ إشارة مرجعية، ٢٧٠١٤ مشاهدة",
}


@pytest.mark.parametrize("language", GROUPS)
def test_the_group_label_alone_is_read_in_each_known_language(language: str) -> None:
    assert read_group(GROUPS[language], language) == {
        "replies": 33,
        "retweets": 274,
        "likes": 1556,
        "bookmarks": 22,
        "views": 27014,
    }


def test_a_group_label_of_another_language_than_the_page_says_is_not_read() -> None:
    assert read_group(GROUPS["ru"], "en") == {}
    assert read_group(GROUPS["en"], "xx") == {}


@pytest.mark.parametrize("language", GROUPS)
def test_bookmarks_are_what_is_left_over_in_any_language(language: str) -> None:
    labels = Labels(GROUPS[language], "33", "274", "1556", "27014", {}, language)
    counters, warnings = read_labels(labels)

    assert counters.value("bookmarks") == 22
    assert counters.bookmarks is not None
    assert counters.bookmarks.source == "label_left_over"
    assert warnings == ()


def test_visible_text_is_read_in_the_pages_language() -> None:
    counters, _ = read_labels(Labels(None, None, None, None, None, {"likes": "1,2 B"}, "tr"))

    assert counters.likes == Count(1_200, "text", 100)


def test_a_group_label_with_separators_is_not_read_in_half() -> None:
    counters, _ = read_labels(Labels("1,234 replies, 5 likes", None, None, None, None, {}))

    assert counters.value("replies") is None
    assert counters.value("likes") == 5


def test_labels_that_disagree_give_neither_number() -> None:
    counters, warnings = read_labels(Labels("33 replies", "34 Replies. Reply", None, None, None, {}))

    assert counters.value("replies") is None
    assert warnings == ("replies: label says 34, group label 33",)
