"""Files written whole or not at all, and files used as locks between processes."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from filelock import FileLock, Timeout


def write_whole(path: Path, content: str | Callable[[TextIO], object]) -> None:
    """Write a file under a temporary name in the same folder, then rename it. Missing folders are created.

    ``content`` is the text, or a function that writes to the open file. Raises OSError; the file is then as it was, and
    no temporary file is left. A path that is not a regular file (/dev/stdout, a pipe, a link) is written directly.
    """
    write = (lambda file: file.write(content)) if isinstance(content, str) else content
    if path.is_symlink() or (path.exists() and not path.is_file()):
        with path.open("w", encoding="utf-8") as file:
            write(file)
        return
    # a random name: two processes that write the same file must not share the temporary one
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.half")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("x", encoding="utf-8") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())  # a rename that reaches the disk before the content leaves an empty file
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


@contextmanager
def held(path: Path, wait: float) -> Iterator[bool]:
    """Hold an exclusive lock on a file; yields False if another process still holds it after ``wait`` seconds.

    The operating system releases the lock when the process ends. Raises OSError if the file cannot be opened or is a
    link: the path may be in a folder that every user can write to.
    """
    lock = FileLock(path, mode=0o600, poll_interval=0.1, fallback_to_soft=False, preserve_lock_file=True)
    try:
        lock.acquire(timeout=wait)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
