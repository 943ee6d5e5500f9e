"""The words beside the numbers of a group label, by language.

English, Japanese and Chinese are those of recorded labels (English: tests/extract/series/x_dom_observations_2026.csv;
the other two: tests/extract/reading/test_aria_labels.py); the others are the interface's words in that language, as
beginnings of words, so that singular and plural both fit. A part without a known word is not read, whatever its number.
"""

from __future__ import annotations

import re

from extract.reading.digits import ascii_digits

_NAMES = ("replies", "retweets", "likes", "bookmarks", "views")
# language -> the five counters' words, in the order of _NAMES; "|" separates alternatives
_WORDS = {
    "en": ("repl", "repost|retweet", "like", "bookmark", "view"),
    "ja": ("返信", "リポスト|リツイート", "いいね", "ブックマーク", "表示"),
    "zh": ("回复|回覆|則回覆", "转帖|轉發|转推|轉推", "喜欢|喜歡", "书签|書籤", "观看|觀看|查看"),
    "de": ("antwort", "repost|retweet", "gefällt", "lesezeichen", "angezeigt|ansicht|aufruf"),
    "fr": ("répons", "repost|retweet", "aime", "signet", "vue"),
    "es": ("respuesta", "repost|republicac|retweet", "me gusta", "guardad|marcador", "visualizac|reproducc|vista"),
    "pt": ("respost", "repost|republicaç|retweet", "curtid|gosto", "salv|guardad|favorit", "visualizaç"),
    "it": ("rispost", "repost|retweet", "mi piace", "segnalibr", "visualizzazion"),
    "nl": ("antwoord|reactie", "repost|retweet", "vind-ik-leuk|like", "bladwijzer", "weergave|weergaven"),
    "tr": ("yanıt", "yeniden gönder|repost|retweet", "beğen", "yer işaret", "görüntülen"),
    "ru": ("ответ", "репост|ретвит", "нравится|отмет", "заклад", "просмотр"),
    "ko": ("답글", "재게시|리포스트|리트윗", "마음에 들어요|좋아요", "북마크", "조회"),
    "ar": ("رد", "نشر", "إعجاب", "مرجعي", "مشاهد"),
}
LANGUAGES = tuple(_WORDS)
_PARTS = re.compile(r"[、，،]\s*|,(?!\d)\s*")
_NUMBER = re.compile(r"(?<![\d.,])\d+(?![\d.,])")


def read_group(label: str | None, language: str) -> dict[str, int]:
    """The counters that a group label names, as "33 replies, 274 reposts, 1556 likes": exact whole numbers only.

    ``language`` is the page's ("en", "pt-BR"); a part that two counters' words fit, or that holds other than one
    plain number, is left out, and so is everything in a language that is not known.
    """
    words = _WORDS.get(language.replace("_", "-").split("-")[0].lower())
    if not label or words is None:
        return {}
    found: dict[str, int] = {}
    for part in _PARTS.split(ascii_digits(label).casefold()):
        fitting = [n for n, w in zip(_NAMES, words, strict=True) if any(x.casefold() in part for x in w.split("|"))]
        numbers = _NUMBER.findall(part)
        if len(fitting) == 1 and len(numbers) == 1 and fitting[0] not in found:
            found[fitting[0]] = int(numbers[0])
    return found
