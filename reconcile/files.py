"""Files that are written whole or not at all: a full disk leaves what was there before."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
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
