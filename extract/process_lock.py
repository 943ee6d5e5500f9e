"""Locks of this machine: one process at a time, and the others are told which, and since when."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from extract.errors import ExtractError

_BETWEEN_ATTEMPTS = 0.2  # seconds


@contextmanager
def hold(path: Path, who: str, refusal: str, wait: float = 0.0) -> Iterator[None]:
    """Hold the lock that ``path`` is, after at most ``wait`` seconds' waiting. It is gone with the process.

    ``who`` is what others are told while it is held. Raises ExtractError, which begins with ``refusal`` and names the
    holder, where another process has it until then; or where the file cannot be written.
    """
    until = time.monotonic() + wait
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("a+", encoding="utf-8")  # not emptied before it is ours: it says who has it
    except OSError as error:
        raise ExtractError(f"cannot write {path} ({error.strerror}): mend its rights or its disk") from error
    with handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise ExtractError(f"{refusal} ({_holder(path)})") from None
                time.sleep(_BETWEEN_ATTEMPTS)
        handle.truncate(0)
        handle.write(f"{who}, process {os.getpid()}, since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC")
        handle.flush()
        try:
            yield
        finally:
            handle.truncate(0)


def _holder(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(encoding="utf-8").strip() or "it has just begun"
    return "it does not say which"
