"""The local site's server: loopback only, a clock of its own, faults on request, and the truth for tests."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from extract.site import answers, pages
from extract.site.account import HANDLE, Account, Post
from extract.site.counters import Truth, counters

_PAGE = 20  # posts a timeline answer, as on X
FAULTS = ("rate_limited", "login_wall", "deleted", "unavailable_503")


class Clock:
    """The site's time: real time, or frozen at ``now``, or running ``speed`` times as fast from there."""

    def __init__(self, now: datetime | None = None, speed: float | None = None) -> None:
        self._base = now or datetime.now(UTC)
        self._speed = speed if speed is not None else (0.0 if now else 1.0)
        self._started = time.monotonic()
        self._offset = timedelta()

    def now(self) -> datetime:
        running = timedelta(seconds=(time.monotonic() - self._started) * self._speed)
        return self._base + running + self._offset

    def advance(self, seconds: float) -> None:
        self._offset += timedelta(seconds=seconds)


@dataclass
class Fault:
    """Answer the ``nth`` request (from 1; None: every one) whose path contains ``match`` with ``fault``."""

    match: str
    fault: str
    nth: int | None = None
    seen: int = field(default=0, init=False)


class Site:
    """A running local site. Use as a context manager, or ``start`` and ``stop``.

    Raises OSError where the port is taken (port 0 takes a free one).
    """

    def __init__(
        self, account: Account | None = None, clock: Clock | None = None, port: int = 0, generation: str = "a"
    ) -> None:
        self.account = account or Account()
        self.clock = clock or Clock()
        self.generation = generation
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> Site:
        self._thread.start()
        return self

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Site:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def truth(self, tweet_id: str, at: datetime | None = None) -> Truth | None:
        """The counters of a post at ``at`` (default: now); None where it was deleted or never was."""
        at = at or self.clock.now()
        post = self.account.find(tweet_id, self.clock.now())
        if post is None or (post.deleted_at is not None and post.deleted_at <= at):
            return None
        return counters(self.account.seed, post, at)

    def followers(self, at: datetime) -> int:
        """The account's followers: a slow, steady growth from a fixed day."""
        return 1_200 + int((at - datetime(2026, 1, 1, tzinfo=UTC)) / timedelta(hours=3))

    def fault_for(self, path: str) -> str | None:
        with self._lock:
            self.requests.append(path)
            for fault in self.faults:
                if fault.match in path:
                    fault.seen += 1
                    if fault.nth in (None, fault.seen):
                        return fault.fault
        return None


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        server_version = "levelset-site"

        def log_message(self, *_: object) -> None:
            """Requests are kept in ``site.requests``; stderr stays quiet."""

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = {key: values[-1] for key, values in parse_qs(url.query).items()}
            fault = site.fault_for(self.path)
            if fault is not None and self._faulty(fault, url.path):
                return
            for prefix, answer in _ROUTES:
                if url.path.startswith(prefix):
                    self._send(*answer(site, url.path, query))
                    return
            self._send(*_page(site, url.path, query))

        def do_POST(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            if self.path == "/__clock":
                site.clock.advance(float(body.get("advance", 0)))
                self._send(200, "application/json", json.dumps({"now": site.clock.now().isoformat()}))
            elif self.path == "/__faults":
                unknown = [f["fault"] for f in body if f["fault"] not in FAULTS]
                if unknown:
                    self._send(400, "text/plain", f"no fault {unknown[0]!r}: one of {', '.join(FAULTS)}")
                    return
                site.faults = [Fault(f["match"], f["fault"], f.get("nth")) for f in body]
                self._send(200, "application/json", json.dumps({"faults": len(site.faults)}))
            else:
                self._send(404, "text/plain", "no such page")

        def _faulty(self, fault: str, path: str) -> bool:
            if fault == "rate_limited":
                reset = str(int(site.clock.now().timestamp()) + 900)
                limits = {"x-rate-limit-limit": "150", "x-rate-limit-remaining": "0", "x-rate-limit-reset": reset}
                body = json.dumps({"errors": [{"message": "Rate limit exceeded.", "code": 88}]})
                self._send(429, "application/json", body, limits)
            elif fault == "login_wall" and not path.startswith("/i/api"):
                self._send(200, "text/html; charset=utf-8", pages.LOGIN_WALL)
            elif fault == "login_wall":
                body = json.dumps({"errors": [{"message": "Could not authenticate you", "code": 32}]})
                self._send(401, "application/json", body)
            elif fault == "unavailable_503":
                self._send(503, "text/plain", "try again")
            elif fault == "deleted" and path.startswith("/i/api"):
                self._send(
                    200, "application/json", json.dumps({"data": {"tweetResult": {"result": answers.tombstone()}}})
                )
            else:
                return False
            return True

        def _send(self, code: int, kind: str, body: str, headers: dict[str, str] | None = None) -> None:
            data = body.encode()
            try:
                self.send_response(code)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(data)))
                if kind.startswith("text/javascript"):
                    self.send_header("cache-control", "max-age=3600")
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the browser left; nothing is lost

    return Handler


_Answer = tuple[int, str, str]


def _json(body: object, code: int = 200) -> _Answer:
    return code, "application/json", json.dumps(body)


def _result(site: Site, post: Post, generation: str) -> dict[str, Any]:
    truth = site.truth(post.tweet_id)
    return answers.tombstone() if truth is None else answers.tweet_result(post, truth, generation)


def _graphql(site: Site, path: str, query: dict[str, str]) -> _Answer:
    operation = path.rsplit("/", 1)[-1]
    variables = json.loads(query.get("variables") or "{}")
    generation = query.get("gen", site.generation)
    now = site.clock.now()
    if operation == "UserByScreenName":
        user = answers.user_result(site.followers(now), len(site.account.posts(now)))
        return _json({"data": {"user": {"result": user}}} if variables.get("screen_name") == HANDLE else {"data": {}})
    if operation in ("TweetResultByRestId", "TweetDetail"):
        wanted = str(variables.get("tweetId") or variables.get("focalTweetId"))
        post = site.account.find(wanted, now)
        return _json({"data": {"tweetResult": {"result": _result(site, post, generation)} if post else {}}})
    if operation == "UserTweets" and variables.get("screen_name") == HANDLE:
        posts = site.account.posts(now)
        shown = [p for p in posts if p.decision_type != "reply" and not (p.deleted_at and p.deleted_at <= now)]
        start = int(variables.get("cursor") or 0)
        page = [(p.tweet_id, _result(site, p, generation)) for p in shown[start : start + _PAGE]]
        following = str(start + _PAGE) if start + _PAGE < len(shown) else None
        return _json(answers.timeline(page, following))
    return _json({"errors": [{"message": f"no operation {operation}", "code": 404}]}, 404)


def _oracle(site: Site, path: str, query: dict[str, str]) -> _Answer:
    at = datetime.fromisoformat(query["at"]) if "at" in query else site.clock.now()
    truth = site.truth(path.rsplit("/", 1)[-1], at)
    return _json(None if truth is None else truth.__dict__, 404 if truth is None else 200)


def _clock(site: Site, path: str, query: dict[str, str]) -> _Answer:
    return _json({"now": site.clock.now().isoformat()})


def _content(site: Site, path: str, query: dict[str, str]) -> _Answer:
    rows = site.account.content_rows(site.clock.now())
    return 200, "application/x-ndjson", "".join(json.dumps(row) + "\n" for row in rows)


def _script(site: Site, path: str, query: dict[str, str]) -> _Answer:
    return 200, "text/javascript; charset=utf-8", pages.SCRIPT


def _robots(site: Site, path: str, query: dict[str, str]) -> _Answer:
    return 200, "text/plain", "User-agent: *\nAllow: /\n"


_ROUTES: tuple[tuple[str, Callable[[Site, str, dict[str, str]], _Answer]], ...] = (
    ("/i/api/graphql/", _graphql),
    ("/oracle/", _oracle),
    ("/__clock", _clock),
    ("/export/content_metadata.jsonl", _content),
    ("/assets/app.js", _script),
    ("/robots.txt", _robots),
)


def _page(site: Site, path: str, query: dict[str, str]) -> _Answer:
    bits = [bit for bit in path.split("/") if bit]
    if not bits or bits[0] not in (HANDLE, "i"):
        return 404, "text/plain", f"no such page; the account is /{HANDLE}"
    build = f"b{int(site.clock.now().timestamp()) // 86_400 % 997:03d}"  # operation ids rotate
    generation = query.get("gen", site.generation)
    posting = None
    if generation == "ld" and len(bits) >= 3:  # a signed-out page: JSON-LD, and no XHR that names the post
        post = site.account.find(bits[2], site.clock.now())
        truth = site.truth(bits[2])
        posting = answers.json_ld(post, truth) if post and truth else None
    extra = "" if generation in ("a", "ld") else f"&gen={generation}"
    html = pages.shell(bits[0], build, extra, posting)
    if generation == "ld":
        html = html.replace('<script src="/assets/app.js"></script>', "")
    return 200, "text/html; charset=utf-8", html
