"""Whose numbers an article of a page shows: it must say so itself."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, sync_playwright

from extract.reading.article import Article, read_articles
from extract.reading.record import Reading, Status
from extract.sources.browser import _ARTICLES
from extract.sources.chromium import Chromium

OURS, THEIRS = "1900000000000000001", "1900000000000000002"
OWN_LINK = f'<a role="link" href="/us/status/{OURS}"><time>now</time></a>'
BUTTONS = """<div role="group" aria-label="2 replies, 3 reposts, 9000 likes, 99999 views">
  <button data-testid="reply" aria-label="2 Replies. Reply">2</button>
  <button data-testid="retweet" aria-label="3 reposts. Repost">3</button>
  <button data-testid="like" aria-label="9000 Likes. Like">9K</button>{views}</div>"""


def article(inside: str, views: str | None = None) -> str:
    link = f'<a role="link" href="{views}/analytics" aria-label="99999 views. View">99K</a>' if views else ""
    return f'<article data-testid="tweet">{inside}{BUTTONS.format(views=link)}</article>'


@pytest.fixture(scope="module")
def page(chromium: Chromium) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium.executable, env={**os.environ, **chromium.environment}
        )
        yield browser.new_page()
        browser.close()


def read(page: Page, html: str) -> Reading:
    page.set_content(f'<base href="https://site.test/">{html}')
    return read_articles([Article.of(found) for found in page.evaluate(_ARTICLES)], OURS)


CARD = f'<div role="link"><a href="/them/status/{THEIRS}"><time>then</time></a></div>'
NAME = '<div data-testid="User-Name"><a href="/us">Us</a></div>'


@pytest.mark.parametrize(
    "html",
    [
        article(OWN_LINK),
        article(OWN_LINK, f"/us/status/{OURS}"),
        article(OWN_LINK.replace("/us/", "/US/"), f"/us/status/{OURS}"),
        article(CARD + OWN_LINK),  # a focal post shows its time below what it quotes
        article(OWN_LINK + f'<a href="/i/status/{THEIRS}"><time>then</time></a>'),
        article(f'{OWN_LINK}<a href="/them/status/{THEIRS}"><time>then</time></a>', f"/us/status/{OURS}"),
        article(OWN_LINK.replace("/us/", "/i/") + NAME),
        article(f'<a href="/them/status/{THEIRS}"><time>then</time></a>') + article(OWN_LINK),
    ],
)
def test_the_articles_own_post_and_author_are_read(page: Page, html: str) -> None:
    reading = read(page, html)

    assert (reading.status, reading.tweet_id, reading.counters.value("likes")) == (Status.OK, OURS, 9000)
    assert reading.author is not None
    assert reading.author.lower() == "us"


@pytest.mark.parametrize(
    ("html", "status"),
    [
        # an article that quotes ours, in each form that a quote has
        (article(f'<a href="/them/status/{THEIRS}"><time>1</time></a><div role="link">{OWN_LINK}</div>'), "wrong_post"),
        (
            article(f'<a href="/them/status/{THEIRS}"><time>1</time></a>' + OWN_LINK.replace("/us/", "/i/")),
            "wrong_post",
        ),
        (article(OWN_LINK, f"/them/status/{THEIRS}"), "layout_changed"),
        (article(OWN_LINK + f'<a href="/them/status/{THEIRS}"><time>1</time></a>'), "layout_changed"),
        # a post whose author is not said, or said twice
        (article(OWN_LINK.replace("/us/", "/i/")), "layout_changed"),
        (article(OWN_LINK + NAME.replace("/us", "/them")), "layout_changed"),
        (article(OWN_LINK, f"/them/status/{OURS}"), "layout_changed"),
        (article("no link"), "layout_changed"),
        ("", "layout_changed"),
    ],
)
def test_an_article_that_may_be_anothers_is_no_reading(page: Page, html: str, status: str) -> None:
    reading = read(page, html)

    assert (reading.status.value, reading.counters.any_read()) == (status, False)
    assert reading.detail is not None


def test_another_authors_article_carries_its_author(page: Page) -> None:
    """So the validator refuses it: 9,000 likes of another author's post were once ours."""
    assert read(page, article(OWN_LINK.replace("/us/", "/them/"))).author == "them"
