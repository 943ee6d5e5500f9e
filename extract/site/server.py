"""The local site's server: loopback only, its clock, faults on request, and the truth for tests."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from extract.site import answers, apis, pages
from extract.site.account import HANDLE, Account, Post
from extract.site.faults import FAULTS, MOVED, SPOILS, Fault
from extract.site.http_answer import HttpAnswer, Query, as_json, first
from extract.site.languages import LANGUAGES
from extract.site.scene import Clock, Scene

_PAGE = 20  # posts a timeline answer, as on X
_SLOW_SECONDS = 0.5
_HANG_SECONDS = 30.0


class _SiteServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a browser that goes leaves in mid-answer
            super().handle_error(request, client_address)


class Site(Scene):
    """A running local site. Use as a context manager, or ``start`` and ``stop``.

    Raises OSError where the port is taken (port 0 takes a free one).
    """

    def __init__(
        self,
        account: Account | None = None,
        clock: Clock | None = None,
        port: int = 0,
        generation: str = "a",
        language: str = "en",
    ) -> None:
        super().__init__(account, clock)
        self.generation = generation
        self.language = language
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._server = _SiteServer(("127.0.0.1", port), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> Site:
        self._thread.start()
        return self

    def stop(self) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Site:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

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
        # head and body are two writes: without this each answer waits 40 ms for the other side's delayed ACK
        disable_nagle_algorithm = True

        def log_message(self, *_: object) -> None:
            """Requests are kept in ``site.requests``; stderr stays quiet."""

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = parse_qs(url.query)
            fault = site.fault_for(self.path)
            route: _Route = next((answer for prefix, answer in _ROUTES if url.path.startswith(prefix)), _page)
            answer = route(site, url.path, query)
            if url.path.startswith("/2/") and not self.headers.get("authorization", "").startswith("Bearer "):
                answer = as_json({"title": "Unauthorized", "status": 401}, 401)
            if fault is not None:
                answer = SPOILS[fault](site, url.path, answer)
            self._send(answer)

        def do_POST(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            if self.path == "/__clock":
                site.clock.advance(float(body.get("advance", 0)))
                self._send(as_json({"now": site.clock.now().isoformat()}))
            elif self.path == "/__faults":
                unknown = [f["fault"] for f in body if f["fault"] not in FAULTS]
                if unknown:
                    told = f"no fault {unknown[0]!r}: one of {', '.join(FAULTS)}"
                    self._send(HttpAnswer(400, "text/plain", told))
                    return
                site.faults = [Fault(f["match"], f["fault"], f.get("nth")) for f in body]
                self._send(as_json({"faults": len(site.faults)}))
            else:
                self._send(HttpAnswer(404, "text/plain", "no such page"))

        def _send(self, answer: HttpAnswer) -> None:
            data = answer.body.encode()
            if answer.trouble in ("slow", "hang"):
                site.stopping.wait(_SLOW_SECONDS if answer.trouble == "slow" else _HANG_SECONDS)
            try:
                self.send_response(answer.code)
                self.send_header("content-type", answer.kind)
                self.send_header("content-length", str(len(data)))
                if answer.kind.startswith("text/javascript") and "cache-control" not in answer.headers:
                    self.send_header("cache-control", "max-age=3600")
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                if answer.trouble == "half_body":
                    self.close_connection = True
                    data = data[: len(data) // 2]
                self.wfile.write(data)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the browser left; nothing is lost

    return Handler


def _result(site: Site, post: Post, generation: str) -> dict[str, Any]:
    truth = site.truth(post.tweet_id)
    return answers.tombstone() if truth is None else answers.tweet_result(post, truth, generation)


def _graphql(site: Site, path: str, query: Query) -> HttpAnswer:
    asked = path.rsplit("/", 1)[-1]
    operation = MOVED.get(asked, asked)
    variables = json.loads(first(query, "variables") or "{}")
    generation = first(query, "gen", site.generation)
    now = site.clock.now()
    if operation == "UserByScreenName":
        user = answers.user_result(site.followers(now), len(site.account.posts(now)))
        return as_json({"data": {"user": {"result": user}}} if variables.get("screen_name") == HANDLE else {"data": {}})
    if operation in ("TweetResultByRestId", "TweetDetail"):
        post = site.account.find(str(variables.get("tweetId") or variables.get("focalTweetId")), now)
        result = _result(site, post, generation) if post else None
        if operation == "TweetDetail" and post is not None and result is not None:
            return as_json(answers.conversation(post, result))
        return as_json({"data": {"tweetResult": {"result": result} if result else {}}})
    if operation == "TweetResultsByRestIds":
        found = [site.account.find(str(i), now) for i in variables.get("tweetIds", [])]
        return as_json(
            {"data": {"tweetResults": [{"result": _result(site, p, generation)} if p else {} for p in found]}}
        )
    if operation == "UserTweets" and variables.get("screen_name") == HANDLE:
        posts = site.account.posts(now)
        shown = [p for p in posts if p.decision_type != "reply" and not (p.deleted_at and p.deleted_at <= now)]
        start = int(variables.get("cursor") or 0)
        page = [(p.shown_id, _result(site, p, generation)) for p in shown[start : start + _PAGE]]
        following = str(start + _PAGE) if start + _PAGE < len(shown) else None
        return as_json(answers.timeline(page, following))
    return as_json({"errors": [{"message": f"no operation {operation}", "code": 404}]}, 404)


def _oracle(site: Site, path: str, query: Query) -> HttpAnswer:
    at = datetime.fromisoformat(first(query, "at")) if "at" in query else site.clock.now()
    truth = site.truth(path.rsplit("/", 1)[-1], at)
    return as_json(None if truth is None else truth.__dict__, 404 if truth is None else 200)


def _clock(site: Site, path: str, query: Query) -> HttpAnswer:
    return as_json({"now": site.clock.now().isoformat()})


def _content(site: Site, path: str, query: Query) -> HttpAnswer:
    rows = site.account.content_rows(site.clock.now())
    return HttpAnswer(200, "application/x-ndjson", "".join(json.dumps(row) + "\n" for row in rows))


def _script(site: Site, path: str, query: Query) -> HttpAnswer:
    return HttpAnswer(200, "text/javascript; charset=utf-8", pages.SCRIPT)


def _robots(site: Site, path: str, query: Query) -> HttpAnswer:
    return HttpAnswer(200, "text/plain", "User-agent: *\nAllow: /\n")


_Route = Callable[[Site, str, Query], HttpAnswer]
_ROUTES: tuple[tuple[str, _Route], ...] = (
    ("/i/api/graphql/", _graphql),
    ("/oracle/", _oracle),
    ("/__clock", _clock),
    ("/export/content_metadata.jsonl", _content),
    ("/export/content.csv", apis.export_csv),
    ("/2/tweets", apis.api_v2),
    ("/tweet-result", apis.embed),
    ("/xrpc/app.bsky.", apis.bluesky),
    ("/api/v1/statuses/", apis.mastodon),
    ("/assets/app.js", _script),
    ("/robots.txt", _robots),
)


def _page(site: Site, path: str, query: Query) -> HttpAnswer:
    """The profile's page or a post's; ``?gen=`` and ``?lang=`` choose another generation or language."""
    bits = [bit for bit in path.split("/") if bit]
    if not bits or bits[0] not in (HANDLE, "i"):
        return HttpAnswer(404, "text/plain", f"no such page; the account is /{HANDLE}")
    build = f"b{int(site.clock.now().timestamp()) // 86_400 % 997:03d}"  # operation ids rotate
    generation = first(query, "gen", site.generation)
    language = first(query, "lang", site.language)
    if language not in LANGUAGES:
        return HttpAnswer(400, "text/plain", f"no language {language!r}: one of {', '.join(LANGUAGES)}")
    post, truth = site.shown(bits[2]) if len(bits) >= 3 else (None, None)
    # a signed-out page: JSON-LD, and no question that names the post
    posting = answers.json_ld(post, truth) if generation == "ld" and post and truth else None
    extra = "" if generation in ("a", "ld") else f"&gen={generation}"
    conversation = post is not None and post.target_tweet_id is not None
    html = pages.shell(bits[0], build, extra, posting, language, conversation, signed_out=generation == "ld")
    return HttpAnswer(200, "text/html; charset=utf-8", html)
