"""Which hosts may be asked, and how fast. X's terms forbid scraping without written consent: off unless allowed."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from extract.errors import ExtractError

SECONDS_BETWEEN_PAGES = 2.0  # per host, for hosts that are not this machine
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_X = ("x.com", "twitter.com")
_X_API = ("api.x.com", "api.twitter.com")


def is_loopback(url: str) -> bool:
    return (urlsplit(url).hostname or "") in _LOOPBACK


def check_host(url: str, allowed: Sequence[str], written_consent: bool = False) -> None:
    """Refuse a host that the configuration does not allow; this machine always is.

    X's pages need X's written consent beside (its terms, since 2023-09-29; liquidated damages since 2024-11-15); its
    official API does not. Raises ExtractError with the setting that would allow it.
    """
    host = urlsplit(url).hostname
    if not host or urlsplit(url).scheme not in ("http", "https"):
        raise ExtractError(f"base_url is {url!r}, which is no http address: fix it in .dlt/config.toml")
    if is_loopback(url):
        return
    if host not in allowed:
        raise ExtractError(
            f"{host} may not be asked: read its terms, then name it in .dlt/config.toml as "
            f'sources.engagement.allow_hosts = ["{host}"] (X forbids scraping without written consent)'
        )
    of_x = any(host == name or host.endswith(f".{name}") for name in _X)
    if of_x and host not in _X_API and not written_consent:
        raise ExtractError(
            f"{host} forbids reading its pages without its written consent, and claims damages: where you have it, "
            "set sources.engagement.written_consent = true; else use --source xapi or --source export"
        )


def check_session(path: Path) -> Path:
    """The session state's file, readable by its owner only. Raises ExtractError for any other."""
    try:
        mode = path.stat()
    except OSError as error:
        raise ExtractError(f"the session state {path} cannot be read ({error.strerror}): fix session_state") from error
    if not stat.S_ISREG(mode.st_mode):
        raise ExtractError(f"the session state {path} is no file: fix sources.engagement.session_state")
    if stat.S_IMODE(mode.st_mode) != 0o600 or mode.st_uid != os.getuid():
        raise ExtractError(
            f"the session state {path} signs in as you, and has mode {stat.S_IMODE(mode.st_mode):04o} or another "
            f"owner: chown it to yourself and chmod 600 {path}"
        )
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        state = None
    if not isinstance(state, dict):
        raise ExtractError(f"the session state {path} is no storage state of Playwright: make it again") from None
    return path


class Pace:
    """Waits so that one host gets at most one page every ``seconds``."""

    def __init__(self, url: str, seconds: float = SECONDS_BETWEEN_PAGES) -> None:
        self._seconds = 0.0 if is_loopback(url) else seconds
        self._next = 0.0

    def delay(self) -> float:
        """Seconds to wait before the next page; reserves that page's place."""
        now = time.monotonic()
        wait = max(self._next - now, 0.0)
        self._next = max(self._next, now) + self._seconds
        return wait
