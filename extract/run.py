"""One run as users start it: settings, local site where nothing else is named, browser or not, then the pipeline."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dlt.common.destination import Destination
from dlt.destinations.exceptions import DatabaseException, DestinationConnectionError
from psycopg2 import OperationalError

from extract.errors import ExtractError, innermost_line
from extract.reading.attempt import Attempt, Now, PostSource, Profile
from extract.reading.post_ids import Network
from extract.reading.record import Reading
from extract.settings import FROM_FILES, LOCAL, ExtractSettings, secret
from extract.site.account import Account
from extract.site.server import Site
from extract.sources.chromium import find_chromium
from extract.sources.host_policy import check_host, check_session
from extract.sources.rate_limits import Parking
from extract.staging import pipeline as engagement
from extract.staging.content_columns import Content, read_content, read_table
from extract.summary import Summary

log = logging.getLogger("extract")


@dataclass(frozen=True)
class Place:
    """Where posts are read: a base URL, the account's handle, the clock that its answers go by."""

    base_url: str
    account: str
    now: Now
    site: Site | None = None


@contextmanager
def place(settings: ExtractSettings, site: Site | None = None) -> Iterator[Place]:
    """The place that the settings name; for ``local`` a local site that runs during the block (or ``site``)."""
    if settings.base_url != LOCAL or settings.source in FROM_FILES:
        if settings.source not in FROM_FILES:
            check_host(settings.base_url, settings.allow_hosts, settings.written_consent)
        yield Place(settings.base_url, settings.account, lambda: datetime.now(UTC))
    elif site is not None:
        yield Place(site.url, settings.account, site.clock.now, site)
    else:
        with Site(Account(network=settings.network)) as own:
            log.info("Reading the local site at %s (base_url is not set)", own.url)
            yield Place(own.url, settings.account, own.clock.now, own)


def make_source(settings: ExtractSettings, where: Place) -> PostSource:
    """The source that the settings name. Without any Chromium the browser gives way to HTTP, with one clear line.

    Raises ExtractError where it lacks what it needs: a file, a session that only its owner may read.
    """
    address = (where.base_url, where.account, where.now)
    match settings.source:
        case "xapi":
            from extract.sources.api import XapiSource

            return XapiSource(*address, token=secret("xapi_bearer_token"))
        case "bluesky":
            from extract.sources.api import BlueskySource

            return BlueskySource(*address)
        case "mastodon":
            from extract.sources.api import MastodonSource

            return MastodonSource(*address)
        case "export" | "replay":
            from extract.sources.files import ExportSource, ReplaySource

            if settings.file is None:
                raise ExtractError(f"--source {settings.source} reads a file: name it with --file")
            return (ExportSource if settings.source == "export" else ReplaySource)(Path(settings.file))
    if settings.source == "browser":
        chromium = find_chromium()
        if chromium is not None:
            from extract.sources.browser import BrowserSource

            session = check_session(Path(settings.session_state)) if settings.session_state else None
            log.info("Chromium: %s", chromium.origin)
            return BrowserSource(*address, chromium, session)
        log.warning("No Chromium found and none could be fetched: reading over HTTP instead (set LEVELSET_CHROMIUM)")
    from extract.sources.http import HttpSource

    return HttpSource(*address)


class Parked:
    """A source whose host asked an earlier run to wait: nothing is asked of it."""

    def __init__(self, name: str, network: Network, wall: Reading) -> None:
        self.name = name
        self.network = network
        self.wall: Reading | None = wall

    def collect(self, wanted: Sequence[str]) -> Iterator[Attempt | Profile]:
        return iter(())

    def reread(self, wanted: Sequence[str]) -> Iterator[Attempt]:
        return iter(())


def collect(
    destination: Destination[Any, Any],
    pipelines_dir: Path,
    settings: ExtractSettings,
    job: str,
    *,
    site: Site | None = None,
    progress: str | None = None,
    run_id: str | None = None,
    tick: Callable[[int, int], None] = lambda done, total: None,
) -> Summary:
    """Run one job against a destination. ``progress`` names one of dlt's collectors (log, tqdm, ...); ``run_id``
    (None: a new one) marks its rows.

    Raises ExtractError for what a user can fix.
    """
    with _reachable_warehouse(), place(settings, site) as where:
        pipeline = engagement.make_pipeline(destination, pipelines_dir, progress)
        plan = engagement.CollectionPlan(settings.schedule, settings.budget, settings.new_columns)
        content = _content(settings, where)
        if settings.source == "parquet":
            path = _history(settings, job)
            return engagement.run_bulk(
                pipeline, path, account=where.account, now=where.now, plan=plan, content=content, run_id=run_id
            )
        parking = Parking(pipelines_dir.parent)
        parked = parking.refusal(where.base_url, where.now())
        source = (
            Parked(settings.source, settings.network, parked) if parked is not None else make_source(settings, where)
        )
        try:
            return engagement.run(
                pipeline,
                source,
                job=job,
                account=where.account,
                now=where.now,
                plan=plan,
                content=content,
                run_id=run_id,
                tick=tick,
            )
        finally:
            if source.wall is not None and source.wall.retry_at is not None:
                parking.park(where.base_url, source.wall.retry_at)


@contextmanager
def _reachable_warehouse() -> Iterator[None]:
    """What the database says where it takes no connection or no statement, as one sentence."""
    try:
        yield
    except (DestinationConnectionError, DatabaseException, OperationalError) as error:
        raise ExtractError(f"the warehouse cannot be used: {innermost_line(error)}") from error


def _history(settings: ExtractSettings, job: str) -> Path:
    if job != "backfill":
        raise ExtractError(f"--source parquet loads a whole history, which is no job {job}: add --job backfill")
    if settings.file is None:
        raise ExtractError("--source parquet reads a file, or a folder of them: name it with --file")
    return Path(settings.file)


def _content(settings: ExtractSettings, where: Place) -> Content | None:
    """The posting bot's rows: from its database or file where one is set; of the local site, the site's; else none."""
    if settings.content_table is not None:
        return read_table(secret("content_credentials"), settings.content_table)
    if settings.content is not None:
        path = Path(settings.content)
        if not path.exists():
            raise ExtractError(f"{path} does not exist: fix sources.engagement.content or --content")
        return lambda: read_content(path)
    if where.site is None:
        return None
    rows = where.site.account.content_rows(where.site.clock.now())
    return lambda: iter([(line, str(row["decision_id"]), row) for line, row in enumerate(rows, start=1)])
