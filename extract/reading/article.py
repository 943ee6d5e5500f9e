"""Which post an article element of a page is of, and whose: labels alone do not say.

An article that quotes a post, or a page of replies, holds links to several posts. A number is a post's only if the
article itself is, and it is a reading only if the article says who wrote it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from extract.reading.aria_labels import Labels, read_labels
from extract.reading.record import Counters, Reading, Status

_NO_HANDLE = "i"  # /i/status/1: an address that names no author


@dataclass(frozen=True)
class Article:
    """An article element: ``links`` are its links around a time, as ``(handle, post id)``, cards of other posts left
    out; ``statistics`` is the link to the post's own statistics, ``name`` the handle beside its author's name.
    """

    links: Sequence[tuple[str, str]]
    statistics: tuple[str, str] | None
    name: str | None
    labels: Labels

    @staticmethod
    def of(found: Mapping[str, Any]) -> Article:
        """As the page's script gives it."""
        statistics = found["statistics"]
        links = [(handle, post) for handle, post in found["links"]]
        return Article(links, statistics and (statistics[0], statistics[1]), found["name"], Labels(**found["labels"]))

    def post(self) -> str | None:
        """The id of the post that it is of; None where it does not say, or names several."""
        named = {post for handle, post in self.links if handle != _NO_HANDLE} or {post for _, post in self.links}
        if self.statistics is not None:
            return self.statistics[1] if not named or self.statistics[1] in named else None
        return named.pop() if len(named) == 1 else None

    def author(self) -> str | None:
        """The handle of who wrote it; None where it does not say, or says two."""
        of_post = [handle for handle, post in self.links if post == self.post()]
        said = [*of_post, *(self.statistics or ())[:1], *([self.name] if self.name else [])]
        handles = {handle.lower(): handle for handle in said if handle != _NO_HANDLE}
        return next(iter(handles.values())) if len(handles) == 1 else None


def read_articles(articles: Sequence[Article], tweet_id: str) -> Reading:
    """The reading that a page's articles give of a post: ``wrong_post`` where they are of other posts only."""
    own = next((article for article in articles if article.post() == tweet_id), None)
    if own is None:
        others = [post for article in articles if (post := article.post()) is not None]
        if others:
            detail = f"the page's articles are of {', '.join(others)}"[:200]
            return Reading(Status.WRONG_POST, detail=detail, selector="labels")
        detail = "no article of the page says that it is of this post" if articles else "the page shows no post"
        return Reading(Status.LAYOUT_CHANGED, detail=detail, selector="labels")
    author = own.author()
    if author is None:
        detail = "the post's article does not say who wrote it"
        return Reading(Status.LAYOUT_CHANGED, tweet_id=tweet_id, detail=detail, selector="labels")
    counters, warnings = read_labels(own.labels)
    return Reading(
        _status(counters, warnings),
        tweet_id=tweet_id,
        counters=counters,
        author=author,
        warnings=warnings,
        selector="labels",
    )


def _status(counters: Counters, warnings: Sequence[str]) -> Status:
    if not counters.any_read():
        return Status.NO_DATA
    if all(count is None or count.source == "text" for count in vars(counters).values()):
        return Status.FLOOR_ONLY
    return Status.PARTIAL if warnings else Status.OK
