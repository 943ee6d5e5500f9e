"""The reader with a browser: Playwright opens the profile and the posts, and takes the answers that the page asks for.

Order of strategies: the profile's timeline (20 posts an answer), then a page a post: the answer by its operation's
NAME (ids rotate every few weeks), else JSON-LD, else labels by test id. Images, fonts and media are blocked through
CDP, which keeps the HTTP cache (page.route() switches it off and costs twice the CPU: 193 against 88 ms a post).
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import BrowserContext, Error, Page, Response, async_playwright
from playwright.async_api import TimeoutError as PlaywrightTimeout

from extract.answers.graphql import focal_reading, read_cursor, read_graphql
from extract.answers.reader import read_page
from extract.attempt import Attempt, Now, Profile
from extract.chromium import Chromium
from extract.errors import ExtractError
from extract.labels import Labels, read_labels
from extract.manners import Pace
from extract.record import READ, WALLS, Reading, Status
from extract.sources.http import TRIES, read_profile, refusal

PAGES = 4  # at once: the knee on two cores (97 ms/post at 2 pages, 102 at 4, 124 at 8)
_POST_SECONDS = 20.0
_ANSWER_SECONDS = 8.0
_PROFILE_SECONDS = 1.0  # once the posts are read, the followers are not waited for any longer
_BLOCKED = ["*.png", "*.jpg", "*.jpeg", "*.webp", "*.gif", "*.mp4", "*.m3u8", "*.woff", "*.woff2"]
_POST_OPERATIONS = ("TweetResultByRestId", "TweetDetail")
_OPERATION = re.compile(r"/graphql/[^/]+/(\w+)")

# Everything one article says of itself, scoped to the article whose own link (the one that holds <time>) is the post.
_ARTICLE = """(id) => {
  for (const a of document.querySelectorAll('article[data-testid=tweet]')) {
    const times = [...a.querySelectorAll('a[href$="/status/' + id + '"]')].filter(l => l.querySelector('time'));
    if (!times.length) continue;
    const label = s => { const e = a.querySelector(s); return e ? e.getAttribute('aria-label') : null; };
    const text = s => { const e = a.querySelector(s); return e ? e.textContent.trim() : ''; };
    const reply = '[data-testid=reply]', rt = '[data-testid=retweet],[data-testid=unretweet]',
      like = '[data-testid=like],[data-testid=unlike]', views = 'a[href$="/analytics"]';
    return {language: document.documentElement.lang || 'en',
      group: label('div[role=group][aria-label]'), reply: label(reply), retweet: label(rt), like: label(like),
      views: label(views), texts: {replies: text(reply), retweets: text(rt), likes: text(like), views: text(views)}};
  }
  return null;
}"""


class BrowserSource:
    """Reads through one Chromium, one context, up to four pages at once."""

    name = "browser"

    def __init__(self, base_url: str, account: str, now: Now, chromium: Chromium) -> None:
        self.wall: Reading | None = None
        self._base = base_url.rstrip("/")
        self._account = account
        self._now = now
        self._chromium = chromium
        self._pace = Pace(base_url)

    def collect(self, wanted: Sequence[str]) -> Iterator[Attempt | Profile]:
        # dlt's resources are synchronous; the runner is driven step by step, each reading is handed on as it comes
        with asyncio.Runner() as runner:
            stream = self._collect(dict.fromkeys(wanted))
            try:
                while True:
                    try:
                        yield runner.run(_next(stream))
                    except StopAsyncIteration:
                        return
            finally:
                runner.run(stream.aclose())

    async def _collect(self, left: dict[str, None]) -> AsyncGenerator[Attempt | Profile, None]:
        async with async_playwright() as playwright:
            environment: dict[str, str | float | bool] = {**os.environ, **self._chromium.environment}
            browser = await playwright.chromium.launch(executable_path=self._chromium.executable, env=environment)
            try:
                context = await browser.new_context(service_workers="block")
                async for item in self._timeline(context, left):
                    yield item
                waiting = list(left)
                for start in range(0, len(waiting), PAGES):
                    if self.wall is not None:
                        break
                    chunk = waiting[start : start + PAGES]
                    for attempt in await asyncio.gather(*(self._post(context, tweet_id) for tweet_id in chunk)):
                        if attempt.reading.status in WALLS:
                            self.wall = self.wall or attempt.reading
                        yield attempt
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

        def heard(response: Response) -> None:
            operation = _operation(response.url)
            if operation in ("UserTweets", "UserByScreenName"):
                answers.put_nowait((operation, response))

        page.on("response", heard)
        try:
            started = time.monotonic()
            await page.goto(f"{self._base}/{self._account}", wait_until="domcontentloaded", timeout=_POST_SECONDS * 1e3)
            await self._note_wall(page)
            if self.wall is not None:
                return
            ended = profiled = False
            while (left and not ended) or not profiled:
                patience = _ANSWER_SECONDS if left and not ended else _PROFILE_SECONDS
                operation, response = await asyncio.wait_for(answers.get(), patience)
                body = await _json(response)
                refused = refusal(response.status, body, response.headers)
                if refused is not None:
                    self.wall = refused if refused.status in WALLS else None
                    return
                if operation == "UserByScreenName":
                    profiled = True
                    profile = read_profile(body, self._account, self._now)
                    if profile is not None:
                        yield profile
                    continue
                took = round((time.monotonic() - started) * 1000)
                for reading in read_graphql(body["data"], "xhr:UserTweets"):
                    if reading.tweet_id in left and reading.status in READ:
                        del left[reading.tweet_id]
                        yield Attempt(reading.tweet_id, reading, self._now(), 1, took)
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
        seen = read_page(await page.content())
        if seen and seen[0].status is Status.LOGIN_REQUIRED:
            self.wall = seen[0]

    async def _post(self, context: BrowserContext, tweet_id: str) -> Attempt:
        started = time.monotonic()
        reading = Reading(Status.TIMEOUT)
        tries = 0
        while tries < TRIES:
            tries += 1
            page = await self._page(context)
            try:
                reading = await asyncio.wait_for(self._read_post(page, tweet_id), _POST_SECONDS)
            except (TimeoutError, PlaywrightTimeout):
                reading = Reading(Status.TIMEOUT, detail=f"no answer within {_POST_SECONDS:.0f} s")
            except Error as error:
                reading = Reading(Status.NO_DATA, detail=str(error).splitlines()[0][:200])
            finally:
                await page.close()
            if reading.status not in (Status.OVERLOADED, Status.TIMEOUT, Status.NO_DATA):
                break
            await asyncio.sleep(2**tries * 0.25)
        took = round((time.monotonic() - started) * 1000)
        return Attempt(tweet_id, reading, self._now(), tries, took)

    async def _read_post(self, page: Page, tweet_id: str) -> Reading:
        answer: asyncio.Future[Response] = asyncio.get_running_loop().create_future()

        def heard(response: Response) -> None:
            if _operation(response.url) in _POST_OPERATIONS and not answer.done():
                answer.set_result(response)

        page.on("response", heard)
        # by id alone: a handle in the address would be believed, the author in the answer is compared instead
        await page.goto(f"{self._base}/i/status/{tweet_id}", wait_until="domcontentloaded", timeout=_POST_SECONDS * 1e3)
        shown = read_page(await page.content())
        if shown[0].status is Status.LOGIN_REQUIRED:
            return shown[0]
        signed_out = next((reading for reading in shown if reading.tweet_id == tweet_id), None)
        if signed_out is not None:
            return signed_out
        try:
            response = await asyncio.wait_for(asyncio.shield(answer), _ANSWER_SECONDS)
        except TimeoutError:
            return await self._read_article(page, tweet_id)
        body = await _json(response)
        refused = refusal(response.status, body, response.headers)
        if refused is not None:
            return refused
        source = f"xhr:{_operation(response.url)}"
        reading = focal_reading(body["data"], tweet_id, source)
        if reading is None:
            return Reading(Status.WRONG_POST, detail="the answer shows other posts only", selector=source)
        return await self._read_article(page, tweet_id) if reading.status is Status.LAYOUT_CHANGED else reading

    async def _read_article(self, page: Page, tweet_id: str) -> Reading:
        """The labels of the article whose own link is the post; ``layout_changed`` where there is no such article."""
        found: dict[str, Any] | None = await page.evaluate(_ARTICLE, tweet_id)
        if found is None:
            return Reading(Status.LAYOUT_CHANGED, detail="neither an answer nor the post's article", selector="labels")
        counters, warnings = read_labels(Labels(**found))
        status = Status.PARTIAL if warnings else Status.OK
        if not counters.any_read():
            status = Status.NO_DATA
        elif all(count is None or count.source == "text" for count in vars(counters).values()):
            status = Status.FLOOR_ONLY
        return Reading(status, tweet_id=tweet_id, counters=counters, warnings=warnings, selector="labels")


async def _next(stream: AsyncGenerator[Attempt | Profile, None]) -> Attempt | Profile:
    return await anext(stream)


def _operation(url: str) -> str | None:
    match = _OPERATION.search(urlsplit(url).path)
    return match[1] if match else None


async def _json(response: Response) -> Any:
    try:
        return await response.json()
    except (ValueError, Error):
        return None


def _unreachable(base: str, error: Error) -> Exception:
    return ExtractError(f"{base} does not answer in the browser ({str(error).splitlines()[0][:160]}): is it running?")
