"""Which hosts may be asked, and how fast. X's terms forbid scraping without written consent: off unless allowed."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

from extract.errors import ExtractError

SECONDS_BETWEEN_PAGES = 2.0  # per host, for hosts that are not this machine
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def is_loopback(url: str) -> bool:
    return (urlsplit(url).hostname or "") in _LOOPBACK


def check_host(url: str, allowed: list[str]) -> None:
    """Refuse a host that the configuration does not allow; this machine always is.

    Raises ExtractError with the setting that would allow it.
    """
    host = urlsplit(url).hostname
    if not host or urlsplit(url).scheme not in ("http", "https"):
        raise ExtractError(f"base_url is {url!r}, which is no http address: mend it in .dlt/config.toml")
    if not is_loopback(url) and host not in allowed:
        raise ExtractError(
            f"{host} may not be asked: read its terms, then name it in .dlt/config.toml as "
            f'sources.engagement.allow_hosts = ["{host}"] (X forbids scraping without written consent)'
        )


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
