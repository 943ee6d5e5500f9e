"""One run as users start it: settings, local site where nothing else is named, browser or not, then the pipeline."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dlt.common.destination import Destination

from extract import pipeline as engagement
from extract.attempt import Now, Source
from extract.chromium import find_chromium
from extract.content import read_content
from extract.errors import ExtractError
from extract.manners import check_host
from extract.settings import LOCAL, Settings, check_source
from extract.site.server import Site
from extract.sources.http import HttpSource

log = logging.getLogger("extract")


@dataclass(frozen=True)
class Place:
    """Where posts are read: a base URL, the account's handle, the clock that its answers go by."""

    base_url: str
    account: str
    now: Now
    site: Site | None = None


@contextmanager
def place(settings: Settings, site: Site | None = None) -> Iterator[Place]:
    """The place that the settings name; for ``local`` a site of our own, started for the while (or ``site``)."""
    if settings.base_url != LOCAL:
        check_host(settings.base_url, settings.allow_hosts)
        yield Place(settings.base_url, settings.account, lambda: datetime.now(UTC))
    elif site is not None:
        yield Place(site.url, settings.account, site.clock.now, site)
    else:
        with Site() as own:
            log.info("Reading the local site at %s (base_url is not set)", own.url)
            yield Place(own.url, settings.account, own.clock.now, own)


def make_source(name: str, where: Place) -> Source:
    """The source of that name. Without any Chromium the browser gives way to HTTP, with one clear line."""
    check_source(name)
    if name == "browser":
        chromium = find_chromium()
        if chromium is not None:
            from extract.sources.browser import BrowserSource

            log.info("Chromium: %s", chromium.origin)
            return BrowserSource(where.base_url, where.account, where.now, chromium)
        log.warning("No Chromium found and none could be fetched: reading over HTTP instead (set LEVELSET_CHROMIUM)")
    return HttpSource(where.base_url, where.account, where.now)


def collect(
    destination: Destination[Any, Any],
    pipelines_dir: Path,
    settings: Settings,
    job: str,
    *,
    site: Site | None = None,
    tick: Callable[[int, int], None] = lambda done, total: None,
) -> engagement.Summary:
    """Run one job against a destination. Raises ExtractError for what a user can mend."""
    with place(settings, site) as where:
        return engagement.run(
            engagement.make_pipeline(destination, pipelines_dir),
            make_source(settings.source, where),
            job=job,
            account=where.account,
            now=where.now,
            content=_content(settings, where),
            tick=tick,
        )


def _content(settings: Settings, where: Place) -> Iterable[tuple[int, str, dict[str, Any] | None]] | None:
    """The posting bot's rows: from the file that is set; for the local site from the site itself; else none."""
    if settings.content is not None:
        path = Path(settings.content)
        if not path.exists():
            raise ExtractError(f"{path} does not exist: mend sources.engagement.content or --content")
        return read_content(path)
    if where.site is None:
        return None
    rows = where.site.account.content_rows(where.site.clock.now())
    return [(line, str(row["decision_id"]), row) for line, row in enumerate(rows, start=1)]
