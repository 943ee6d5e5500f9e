"""The reader with a browser: Playwright opens the profile and the posts, and takes the answers that the page asks for.

Order of strategies: the profile's timeline (20 posts an answer), then one page per post: the answer by its operation's
NAME (ids rotate every few weeks), else JSON-LD, else labels by test id. Images, fonts and media are blocked through
CDP, which keeps the HTTP cache (page.route() switches it off and costs twice the CPU: 193 against 88 ms a post).
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from playwright.async_api import BrowserContext, Error, Page, Response, async_playwright
from playwright.async_api import TimeoutError as PlaywrightTimeout

from extract.answers.graphql import focal_reading, read_cursor, read_graphql
from extract.answers.reader import asks_to_sign_in, is_sign_in, read_page
from extract.answers.refusals import graphql_refusal, parsed, refusal
from extract.errors import ExtractError
from extract.reading.article import Article, read_articles
from extract.reading.attempt import Attempt, Now, Profile
from extract.reading.post_ids import Network
from extract.reading.record import READ, WALLS, Reading, Status
from extract.sources.chromium import Chromium
from extract.sources.host_policy import Pace
from extract.sources.http import read_profile
from extract.sources.request import TRIES, WORTH_ANOTHER_TRY

PAGES = 4  # at once: the knee on two cores (97 ms/post at 2 pages, 102 at 4, 124 at 8)
_BLOCKED = ["*.png", "*.jpg", "*.jpeg", "*.webp", "*.gif", "*.mp4", "*.m3u8", "*.woff", "*.woff2"]
_TIMELINE = "UserTweets"
_PROFILE_OPERATIONS = (_TIMELINE, "UserByScreenName")
_POST_OPERATIONS = ("TweetResultByRestId", "TweetDetail")
_Item = TypeVar("_Item", Attempt, Attempt | Profile)
_OPERATION = re.compile(r"/graphql/[^/]+/(\w+)")

# Everything that the page's articles say of themselves. What is in a card (a quoted post) is not the article's.
_ARTICLES = """() => [...document.querySelectorAll('article[data-testid=tweet]')].map(a => {
  const own = e => {
    const card = e.parentElement.closest('[role=link]');
    return e.closest('article[data-testid=tweet]') === a && !(card && card !== a && a.contains(card));
  };
  const all = s => [...a.querySelectorAll(s)].filter(own), one = s => all(s)[0];
  const label = s => { const e = one(s); return e ? e.getAttribute('aria-label') : null; };
  const text = s => { const e = one(s); return e ? e.textContent.trim() : ''; };
  const named = (e, end) => {
    const found = new URL(e.href).pathname.match(new RegExp('^/([^/]+)(?:/web)?/status/(\\\\d+)' + end + '$'));
    return found ? [found[1], found[2]] : null;
  };
  const reply = '[data-testid=reply]', rt = '[data-testid=retweet],[data-testid=unretweet]',
    like = '[data-testid=like],[data-testid=unlike]', views = 'a[href$="/analytics"]';
  const times = all('a[href*="/status/"]').filter(l => l.querySelector('time')).map(l => named(l, ''));
  const name = one('[data-testid=User-Name] a[href^="/"]'), statistics = one(views);
  return {links: times.filter(l => l), statistics: statistics ? named(statistics, '/analytics') : null,
    name: name ? new URL(name.href).pathname.split('/')[1] : null,
    labels: {language: document.documentElement.lang || 'en', group: label('div[role=group][aria-label]'),
      reply: label(reply), retweet: label(rt), like: label(like), views: label(views),
      texts: {replies: text(reply), retweets: text(rt), likes: text(like), views: text(views)}}};
})"""
_IS_DRAWN = "id => document.querySelector('article[data-testid=tweet] a[href*=\"/status/' + id + '\"]') !== null"
_SOON = 0.5  # seconds in which a page asks for the post, if it does
_POLLED = 100  # milliseconds


@dataclass(frozen=True)
class Patience:
    """Seconds to wait for a whole post, for one answer, and for the followers once the posts are read."""

    post: float = 20.0
    answer: float = 8.0
    profile: float = 1.0


class BrowserSource:
    """Reads through one Chromium, one context, up to four pages at once.

    ``session`` is a file of Playwright's storage state that the user made: without one, pages are read signed out.
    """

    name = "browser"
    network = Network.X

    def __init__(
        self,
        base_url: str,
        account: str,
        now: Now,
        chromium: Chromium,
        session: Path | None = None,
        patience: Patience = Patience(),
    ) -> None:
        self.wall: Reading | None = None
        self._base = base_url.rstrip("/")
        self._account = account
        self._now = now
        self._chromium = chromium
        self._session = session
        self._patience = patience
        self._pace = Pace(base_url)

    def collect(self, wanted: Sequence[str]) -> Iterator[Attempt | Profile]:
        return self._step_by_step(self._collect(dict.fromkeys(wanted)))

    def reread(self, wanted: Sequence[str]) -> Iterator[Attempt]:
        """Open each post and take what its labels say: no answer of the site's is believed a second time."""
        return self._step_by_step(self._labels(wanted))

    def _step_by_step(self, stream: AsyncGenerator[_Item, None]) -> Iterator[_Item]:
        # dlt's resources are synchronous; the runner is driven step by step, each reading is handed on as it comes
        with asyncio.Runner() as runner:
            try:
                while True:
                    try:
                        yield runner.run(_next(stream))
                    except StopAsyncIteration:
                        return
            finally:
                runner.run(stream.aclose())

    async def _collect(self, left: dict[str, None]) -> AsyncGenerator[Attempt | Profile, None]:
        async with self._context() as context:
            async for item in self._timeline(context, left):
                yield item
            async for attempt in self._opened(context, list(left), by_labels=False):
                yield attempt

    async def _labels(self, wanted: Sequence[str]) -> AsyncGenerator[Attempt, None]:
        async with self._context() as context:
            async for attempt in self._opened(context, wanted, by_labels=True):
                yield attempt

    async def _opened(
        self, context: BrowserContext, wanted: Sequence[str], by_labels: bool
    ) -> AsyncGenerator[Attempt, None]:
        for start in range(0, len(wanted), PAGES):
            if self.wall is not None:
                break
            chunk = wanted[start : start + PAGES]
            for attempt in await asyncio.gather(*(self._post(context, tweet_id, by_labels) for tweet_id in chunk)):
                if attempt.reading.status in WALLS:
                    self.wall = self.wall or attempt.reading
                yield attempt

    @asynccontextmanager
    async def _context(self) -> AsyncGenerator[BrowserContext, None]:
        async with async_playwright() as playwright:
            environment: dict[str, str | float | bool] = {**os.environ, **self._chromium.environment}
            try:
                browser = await playwright.chromium.launch(executable_path=self._chromium.executable, env=environment)
            except Error as error:
                raise ExtractError(
                    f"Chromium does not start ({_first_line(error)}): set LEVELSET_CHROMIUM to one that does, "
                    "or read with --source http"
                ) from error
            try:
                yield await browser.new_context(service_workers="block", storage_state=self._session)
            finally:
                await browser.close()

    async def _page(self, context: BrowserContext) -> Page:
        page = await context.new_page()
        session = await context.new_cdp_session(page)
        await session.send("Network.enable")
        await session.send("Network.setBlockedURLs", {"urls": _BLOCKED})
        await asyncio.sleep(self._pace.delay())
        return page

    async def _timeline(self, context: BrowserContext, left: dict[str, None]) -> AsyncIterator[Attempt | Profile]:
        """Scroll the profile until it shows every wanted post, or ends."""
        page = await self._page(context)
        answers: asyncio.Queue[tuple[str, Response]] = asyncio.Queue()
        first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asked: list[str] = []

        def heard(response: Response) -> None:
            operation = _operation(response.url)
            if operation in _PROFILE_OPERATIONS:
                answers.put_nowait((operation, response))
                if operation == _TIMELINE and not first.done():
                    first.set_result(None)

        page.on("request", lambda request: asked.append(_operation(request.url) or ""))
        page.on("response", heard)
        try:
            started = time.monotonic()
            for shown in await self._open(page, f"{self._base}/{self._account}"):
                if shown.status not in READ:
                    self.wall = shown if shown.status in WALLS else None
                    return
            ended = not await self._asks(page, "", first, asked, (_TIMELINE,))
            profiled = False
            while (left and not ended) or not profiled:
                patience = self._patience.answer if left and not ended else self._patience.profile
                operation, response = await asyncio.wait_for(answers.get(), patience)
                text = await _text(response)
                refused = graphql_refusal(response.status, text, response.headers, self._now())
                if refused is not None:
                    self.wall = refused if refused.status in WALLS else None
                    return
                body = parsed(text)
                if operation == "UserByScreenName":
                    profiled = True
                    profile = read_profile(body, self._account, self._now)
                    if profile is not None:
                        yield profile
                    continue
                took = round((time.monotonic() - started) * 1000)
                for reading in read_graphql(body["data"], "xhr:UserTweets"):
                    if (wanted := reading.names_one_of(left)) is not None:
                        del left[wanted]
                        yield Attempt(wanted, reading, self._now(), 1, took)
                ended = read_cursor(body["data"]) is None
                started = time.monotonic()
                await page.evaluate("scrollTo(0, document.body.scrollHeight)")
        except (TimeoutError, PlaywrightTimeout):
            # a timeline without answers is a wall, or a layout of another kind: then each post is opened by itself
            await self._note_wall(page)
        except Error as error:
            raise _unreachable(self._base, error) from error
        finally:
            await page.close()

    async def _note_wall(self, page: Page) -> None:
        if await _turned_to_sign_in(page):
            self.wall = Reading(Status.LOGIN_REQUIRED, detail="the page asks to sign in")

    async def _post(self, context: BrowserContext, tweet_id: str, by_labels: bool) -> Attempt:
        started = time.monotonic()
        reading = Reading(Status.TIMEOUT)
        tries = 0
        while tries < TRIES:
            tries += 1
            page = await self._page(context)
            try:
                how = self._read_labels(page, tweet_id) if by_labels else self._read_post(page, tweet_id)
                reading = await asyncio.wait_for(how, self._patience.post)
            except (TimeoutError, PlaywrightTimeout):
                reading = Reading(Status.TIMEOUT, detail=f"no answer within {self._patience.post:g} s")
            except Error as error:
                reading = Reading(Status.NO_DATA, detail=_first_line(error))
            finally:
                await page.close()
            if reading.status not in WORTH_ANOTHER_TRY:
                break
            if tries < TRIES:
                await asyncio.sleep(2**tries * 0.25)
        took = round((time.monotonic() - started) * 1000)
        return Attempt(tweet_id, reading, self._now(), tries, took)

    async def _open(self, page: Page, address: str) -> list[Reading]:
        """Open a page and return what it says by itself: its JSON-LD, or the refusal or wall that it is."""
        answer = await page.goto(address, wait_until="domcontentloaded", timeout=self._patience.post * 1e3)
        if answer is not None and answer.status >= 400:
            if answer.status in (401, 403):
                return [Reading(Status.BLOCKED, detail=f"HTTP {answer.status}")]
            refused = refusal(answer.status, await _text(answer), answer.headers, self._now())
            return [refused or Reading(Status.NO_DATA, detail=f"HTTP {answer.status}")]
        if is_sign_in(page.url):
            return [Reading(Status.LOGIN_REQUIRED, detail=f"the address turned to {urlsplit(page.url).path}"[:200])]
        shown = read_page(await page.content())
        # a page without JSON-LD is what a signed-in page is: only a sign-in page is recognised by its elements
        return [reading for reading in shown if reading.status is not Status.BLOCKED]

    async def _open_post(self, page: Page, tweet_id: str) -> Reading | None:
        """Open a post's page; the reading that the page itself gives of it, or the refusal that it is."""
        # by id alone: a handle in the address would be believed, the author in the answer is compared instead
        shown = await self._open(page, f"{self._base}/i/status/{tweet_id}")
        own = next((reading for reading in shown if reading.tweet_id in (tweet_id, None)), None)
        if own is None and shown:
            others = ", ".join(str(reading.tweet_id) for reading in shown)
            return Reading(Status.WRONG_POST, detail=f"the page shows {others}"[:200], selector="ld+json")
        return own

    async def _read_labels(self, page: Page, tweet_id: str) -> Reading:
        shown = await self._open_post(page, tweet_id)
        if shown is not None and shown.status not in READ:
            return shown
        with suppress(PlaywrightTimeout):
            await self._drawn(page, tweet_id)
        return await self._read_articles(page, tweet_id)

    async def _read_post(self, page: Page, tweet_id: str) -> Reading:
        answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()

        asked: list[str] = []

        def heard(response: Response) -> None:
            if _operation(response.url) in _POST_OPERATIONS and not answer.done():
                answer.set_result(response)

        page.on("request", lambda request: asked.append(_operation(request.url) or ""))
        page.on("response", heard)
        shown = await self._open_post(page, tweet_id)
        if shown is not None:
            return shown
        if not await self._asks(page, tweet_id, answer, asked, _POST_OPERATIONS):
            return await self._read_articles(page, tweet_id)
        await asyncio.wait({answer}, timeout=self._patience.answer)
        if not answer.done():
            return Reading(Status.TIMEOUT, detail=f"the page's question has no answer for {self._patience.answer:g} s")
        response = answer.result()
        text = await _text(response)
        refused = graphql_refusal(response.status, text, response.headers, self._now())
        if refused is not None:
            return refused
        source = f"xhr:{_operation(response.url)}"
        reading = focal_reading(parsed(text)["data"], tweet_id, source)
        if reading is None:
            return Reading(Status.WRONG_POST, detail="the answer shows other posts only", selector=source)
        if reading.status in (Status.LAYOUT_CHANGED, Status.NO_DATA):
            return await self._read_articles(page, tweet_id)
        if reading.status not in READ:
            return reading
        # the same post again, off the page: where the two differ, one of them is read wrongly
        return reading.compared_with(read_articles(await self._articles(page), tweet_id).counters)

    async def _asks(
        self, page: Page, tweet_id: str, answer: asyncio.Future[Any], asked: list[str], operations: Sequence[str]
    ) -> bool:
        """Whether the page asks for what it shows by a known operation, or has its ``answer``; known as soon as it
        shows the post (any post without an id) and has not asked.
        """
        await asyncio.wait({answer}, timeout=_SOON)
        if not answer.done() and set(asked).isdisjoint(operations):
            drawn = asyncio.ensure_future(self._drawn(page, tweet_id))
            waiting: list[asyncio.Future[Any]] = [answer, drawn]
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            drawn.cancel()
            await asyncio.gather(drawn, return_exceptions=True)
        return answer.done() or not set(asked).isdisjoint(operations)

    async def _drawn(self, page: Page, tweet_id: str) -> None:
        """Wait until an article links to the post. Raises PlaywrightTimeout if none does in time."""
        patience = self._patience.answer * 1e3
        await page.wait_for_function(_IS_DRAWN, arg=tweet_id, polling=_POLLED, timeout=patience)

    async def _articles(self, page: Page) -> list[Article]:
        return [Article.of(found) for found in await page.evaluate(_ARTICLES)]

    async def _read_articles(self, page: Page, tweet_id: str) -> Reading:
        """What the page's articles say of the post; a page that turned to a sign-in form says that."""
        reading = read_articles(await self._articles(page), tweet_id)
        if reading.status is Status.LAYOUT_CHANGED and await _turned_to_sign_in(page):
            return Reading(Status.LOGIN_REQUIRED, detail="the page asks to sign in")
        return reading


async def _next(stream: AsyncGenerator[_Item, None]) -> _Item:
    return await anext(stream)


async def _turned_to_sign_in(page: Page) -> bool:
    return is_sign_in(page.url) or asks_to_sign_in(await page.content())


def _operation(url: str) -> str | None:
    match = _OPERATION.search(urlsplit(url).path)
    return match[1] if match else None


async def _text(response: Response) -> str:
    """The body, empty where it did not come whole."""
    try:
        return await response.text()
    except (UnicodeDecodeError, Error):
        return ""


def _first_line(error: Error) -> str:
    return str(error).splitlines()[0][:160]


def _unreachable(base: str, error: Error) -> Exception:
    return ExtractError(f"{base} does not answer in the browser ({_first_line(error)}): is it running?")
