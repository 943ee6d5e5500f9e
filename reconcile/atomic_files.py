"""Files that are written whole or not at all (a full disk leaves what was there before), and files that are locks."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO


def write_whole(path: Path, write: Callable[[TextIO], object]) -> None:
    """Write a file under another name beside it, then give it its own. Raises OSError; nothing half is left then.

    What is no plain file (/dev/stdout, a pipe, a link) is written as it is.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        with path.open("w", encoding="utf-8") as file:
            write(file)
        return
    half = path.with_name(f".{path.name}.half")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with half.open("w", encoding="utf-8") as file:
            write(file)
        half.replace(path)
    except BaseException:
        with suppress(OSError):
            half.unlink(missing_ok=True)
        raise


@contextmanager
def held(path: Path, wait: float) -> Iterator[bool]:
    """Hold the lock that a file is, which is gone with the process; False where another has it for ``wait`` seconds.

    Raises OSError where the file cannot be opened, also where it is a link.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        until = time.monotonic() + wait
        while not (taken := _taken(handle)) and time.monotonic() < until:
            time.sleep(0.1)
        yield taken
    finally:
        os.close(handle)


def _taken(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
