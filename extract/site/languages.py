"""The words that the site's pages write beside their numbers, by language, in the forms of the group label."""

from __future__ import annotations

# language -> replies, reposts, likes, bookmarks, views, and what separates them; "#" is the number
WORDS: dict[str, tuple[str, str, str, str, str, str]] = {
    "en": ("# replies", "# reposts", "# likes", "# bookmarks", "# views", ", "),
    "de": ("# Antworten", "# Reposts", "# „Gefällt mir“-Angaben", "# Lesezeichen", "# Mal angezeigt", ", "),
    "fr": ("# réponses", "# reposts", "# j’aime", "# signets", "# vues", ", "),
    "es": ("# respuestas", "# reposts", "# Me gusta", "# elementos guardados", "# visualizaciones", ", "),
    "pt": ("# respostas", "# reposts", "# curtidas", "# itens salvos", "# visualizações", ", "),
    "tr": ("# yanıt", "# yeniden gönderi", "# beğeni", "# yer işareti", "# görüntülenme", ", "),
    "ru": ("# ответов", "# репостов", "# отметок «Нравится»", "# закладок", "# просмотров", ", "),
    "ja": ("# 件の返信", "# 件のリポスト", "# 件のいいね", "# 件のブックマーク", "# 件の表示", "、"),
    "zh": ("# 回复", "# 次转帖", "# 喜欢", "# 书签", "# 次观看", "、"),
    "ar": ("# ردود", "# إعادة نشر", "# إعجاب", "# إشارة مرجعية", "# مشاهدة", "، "),
}
LANGUAGES = tuple(WORDS)
EASTERN_DIGITS = ("ar",)  # whose pages write numbers in their own digits
