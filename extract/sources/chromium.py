"""Find a Chromium to drive, or fetch one, in a fixed order; say plainly where there is none.

The order: an explicit setting; Playwright's own cache; an installed Chromium or Chrome; one fetched by us before;
``playwright install``; Chromium from the npm package @sparticuz/chromium; from Debian's packages. Each step that
fetches is tried once, with one line on what it does, and its failure moves on to the next.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from extract.errors import ExtractError

SETTING = "LEVELSET_CHROMIUM"
_INSTALLED = (
    "chromium",
    "chromium-browser",
    "chromium-headless-shell",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
)
# Near the Chromium that the pinned Playwright was built for; 149 works with Playwright 1.65 (measured).
_NPM_PACKAGE = "@sparticuz/chromium@149.0.0"
_LIBRARIES = "al2023.tar.br"  # nss, nspr and expat: what a bare machine lacks

log = logging.getLogger("extract")


@dataclass(frozen=True)
class Chromium:
    """A browser to launch: ``executable`` None means Playwright's own; ``environment`` is set beside ours."""

    executable: Path | None
    origin: str
    environment: dict[str, str] = field(default_factory=dict)


def cache_folder() -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "levelset" / _NPM_PACKAGE.rsplit("@", 1)[-1].join(("chromium-", ""))


def find_chromium(fetch: bool = True) -> Chromium | None:
    """The first browser of the order above, or None. With ``fetch`` False nothing is downloaded.

    Raises ExtractError where the explicit setting names no executable file: a setting is never passed over.
    """
    explicit = os.environ.get(SETTING)
    if explicit:
        if not os.access(explicit, os.X_OK) or Path(explicit).is_dir():
            raise ExtractError(f"{SETTING} names {explicit}, which is no executable file: fix or unset it")
        return Chromium(Path(explicit), SETTING)
    steps: list[Callable[[], Chromium | None]] = [_playwright_cache, _installed, _fetched]
    if fetch:
        steps += [_playwright_install, _npm, _debian]
    return next((found for step in steps if (found := step()) is not None), None)


def _playwright_cache() -> Chromium | None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = Path(playwright.chromium.executable_path)
    if path.exists():
        return Chromium(None, "Playwright's cache")
    # `playwright install --only-shell` keeps the headless shell in a separate folder
    shells = sorted(path.parents[1].parent.glob(f"chromium_headless_shell-{path.parents[1].name.split('-')[-1]}"))
    return Chromium(None, "Playwright's cache") if shells else None


def _installed() -> Chromium | None:
    paths = (shutil.which(name) for name in _INSTALLED)
    return next((Chromium(Path(path), "installed") for path in paths if path), None)


def _fetched() -> Chromium | None:
    folder = cache_folder()
    if not (folder / "chromium").exists():
        return None
    libraries = os.pathsep.join(filter(None, [str(folder / "lib"), os.environ.get("LD_LIBRARY_PATH")]))
    return Chromium(folder / "chromium", "fetched from npm", {"LD_LIBRARY_PATH": libraries})


def _try(what: str, command: list[str], timeout: float = 300, cwd: Path | None = None) -> bool:
    log.info("no Chromium yet: trying %s", what)
    try:
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        log.info("%s did not work: %s", what, error)
        return False
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        reason = next((line for line in said if "rror" in line), said[-1] if said else f"exit code {done.returncode}")
        log.info("%s did not work: %s", what, reason.strip())
    return done.returncode == 0


def _playwright_install() -> Chromium | None:
    command = [sys.executable, "-m", "playwright", "install", "--only-shell", "chromium"]
    return _playwright_cache() if _try("`playwright install chromium`", command) else None


def _npm() -> Chromium | None:
    npm = shutil.which("npm")
    if npm is None or sys.platform != "linux":
        return None
    folder = cache_folder()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        here = Path(scratch)
        if not _try(f"the npm package {_NPM_PACKAGE}", [npm, "pack", "--silent", _NPM_PACKAGE], cwd=here):
            return None
        archive = next(here.glob("*.tgz"))
        unpacked = here / "chromium-new"
        unpacked.mkdir()
        _unpack(archive, unpacked)
        try:
            unpacked.rename(folder)  # whole or not at all: a kill before this leaves no browser that looks ready
        except OSError:
            log.debug("another process fetched Chromium first")
    return _fetched()


def _unpack(archive: Path, target: Path) -> None:
    import brotli

    with tarfile.open(archive) as package:
        for name in ("chromium.br", _LIBRARIES):
            member = package.extractfile(f"package/bin/{name}")
            if member is None:
                raise ExtractError(f"{archive.name} holds no {name}: the npm package changed, set {SETTING} instead")
            data = brotli.decompress(member.read())
            if name == "chromium.br":
                (target / "chromium").write_bytes(data)
                (target / "chromium").chmod(0o755)
            else:
                (target / "libraries.tar").write_bytes(data)
    with tarfile.open(target / "libraries.tar") as libraries:
        libraries.extractall(target, filter="data")
    (target / "libraries.tar").unlink()


def _debian() -> Chromium | None:
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        return None
    install = ["apt-get", "install", "-y", "--no-install-recommends", "chromium-headless-shell"]
    if not _try("Debian's package list", ["apt-get", "update"]) or not _try("Debian's Chromium", install):
        return None
    return _installed()
