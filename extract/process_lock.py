"""Locks between the processes of this machine: one holds it, the others see which one, and since when."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from extract.errors import ExtractError

_BETWEEN_ATTEMPTS = 0.2  # seconds


@contextmanager
def hold(path: Path, who: str, refusal: str, wait: float = 0.0) -> Iterator[None]:
    """Hold the exclusive lock of the file ``path``; wait at most ``wait`` seconds for it.

    The operating system releases the lock when the process ends. The file holds ``who``, the process id and the time
    while the lock is held, and is empty afterwards. Raises ExtractError if another process still holds it (the message
    is ``refusal`` and the file's text), or if the file cannot be written.
    """
    descriptor = -1

    def write_holder(opened: int) -> None:
        nonlocal descriptor
        descriptor = opened
        holder = f"{who}, process {os.getpid()}, since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
        os.ftruncate(opened, 0)
        os.pwrite(opened, holder.encode(), 0)

    lock = FileLock(
        path,
        poll_interval=_BETWEEN_ATTEMPTS,
        fallback_to_soft=False,
        preserve_lock_file=True,
        on_acquired=write_holder,
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=wait)
    except Timeout:
        raise ExtractError(f"{refusal} ({_holder(path)})") from None
    except OSError as error:
        raise ExtractError(f"cannot write {path} ({error.strerror}): fix its permissions or free disk space") from error
    try:
        yield
    finally:
        os.ftruncate(descriptor, 0)
        lock.release()


def _holder(path: Path) -> str:
    with suppress(OSError):
        return path.read_text(encoding="utf-8").strip() or "it started just now"
    return "its lock file cannot be read"
