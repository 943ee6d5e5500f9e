"""Hosts that asked to be left alone until an instant: kept beside the pipeline, so that the next run honours it too."""

from __future__ import annotations

import json
import logging
import os
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from extract.reading.record import Reading, Status

log = logging.getLogger("extract")


class Parking:
    """``parked.json`` in a folder: host -> ISO instant (UTC). An unreadable file is ignored with a warning."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "parked.json"

    def refusal(self, url: str, now: datetime) -> Reading | None:
        """The wall that a run meets before it asks, where the host of ``url`` is parked still; else None."""
        until = self._read().get(_host(url))
        if until is None or until <= now:
            return None
        asked = f"{_host(url)} asked an earlier run to wait until {until:%Y-%m-%d %H:%M:%S} UTC"
        return Reading(Status.RATE_LIMITED, detail=asked, retry_at=until)

    def park(self, url: str, until: datetime) -> None:
        """Leave the host of ``url`` alone until then. Written whole or not at all: a kill leaves the old file."""
        parked = {**self._read(), _host(url): until}
        fresh = self._file.with_suffix(f".{os.getpid()}.new")
        fresh.write_text(json.dumps({host: at.isoformat() for host, at in parked.items()}, indent=2), encoding="utf-8")
        fresh.replace(self._file)

    def _read(self) -> dict[str, datetime]:
        try:
            found = json.loads(self._file.read_text(encoding="utf-8"))
            return {str(host): datetime.fromisoformat(at) for host, at in found.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError, TypeError) as error:
            log.warning("%s cannot be read (%s): no host is taken for parked", self._file, error)
            return {}


def _host(url: str) -> str:
    return urlsplit(url).netloc
