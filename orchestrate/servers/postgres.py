"""The embedded warehouse: Postgres 18 from a wheel, in ``.levelset/``, reached by its user alone.

The server's home holds ``data`` (the cluster), ``run`` (the socket folder, mode 0700) and ``postgres.log``. It
listens on no TCP port. Clients always go through ``<project>/.levelset/run``, which profiles.yml can spell without
any variable set; where the server cannot live there, ``run`` is a link to where it does:

* the path is too long for a socket address (107 bytes), or holds a comma, or
* we are root. Postgres refuses to run as root, so it runs as the user ``levelset``, who may not be able to enter the
  project's folder (``/root``, a ``mktemp -d``). We do not open other people's folders to get in: the home then is
  ``/var/lib/levelset/<hash of the project's path>``, and the binaries are copied beside it.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

import psycopg
import psycopg.conninfo
from filelock import FileLock
from psycopg import sql

from orchestrate.errors import Trouble
from orchestrate.servers.cluster import forget_dead_postmaster, leave_former_life, prepare, run_program
from orchestrate.servers.location import DATABASE, Server, locate

__all__ = [
    "Server",
    "before_connect",
    "ensure_schemas",
    "is_levelset_project",
    "is_running",
    "locate",
    "main_project",
    "start",
    "stop",
]


_COMES_UP_WITHIN = 60.0  # seconds


def is_running(server: Server) -> bool:
    """Whether the server answers on its socket, also where all it says is that no connection is free."""
    return _ping(server) == psycopg.pq.Ping.OK


def _ping(server: Server) -> psycopg.pq.Ping:
    asked = psycopg.conninfo.make_conninfo(server.conninfo, dbname="postgres", connect_timeout=3)
    return psycopg.pq.Ping(psycopg.pq.PGconn.ping(asked.encode()))


def _wait_while_it_comes_up(server: Server) -> None:
    """A server that replays its log after a crash is one that runs, and must not be started a second time."""
    until = time.monotonic() + _COMES_UP_WITHIN
    while _ping(server) == psycopg.pq.Ping.REJECT and time.monotonic() < until:
        time.sleep(0.1)


def start(project: Path) -> Server:
    """Start the project's server where it is not running, making it first where there is none.

    Safe to call from several processes at once. Raises Trouble where the folder cannot be written, the data are of
    another Postgres version, or the server does not start (with the last line of its log).
    """
    server = locate(project)
    if is_running(server):
        return server
    try:
        (server.project / ".levelset").mkdir(exist_ok=True)
        with FileLock(server.project / ".levelset" / "start.lock", preserve_lock_file=True):
            _wait_while_it_comes_up(server)
            if not is_running(server):
                leave_former_life(server)
                prepare(server)
                forget_dead_postmaster(server)
            if not is_running(server):  # its links may have been all that was missing
                run_program(server, "pg_ctl", "--wait", "--silent", "-D", server.data, "-l", server.log, "start")
            _ensure_database(server)
    except OSError as error:
        raise Trouble(
            f"cannot write {error.filename or server.home} ({error.strerror}): "
            f"run from a folder that you may write, or fix what is in the way"
        ) from error
    return server


def stop(project: Path) -> bool:
    """Stop the project's server (open sessions are ended); False where none was running."""
    server = locate(project)
    forget_dead_postmaster(server)
    if not (server.data / "postmaster.pid").exists():
        return False
    run_program(server, "pg_ctl", "--wait", "--silent", "--mode=fast", "-D", server.data, "stop")
    # what was made outside the project for the while: a link, or the socket folder of a path that is too long
    if server.alias.is_symlink() and server.alias != server.socket:
        server.alias.unlink()
    if server.run.parent != server.home:
        with suppress(OSError):
            server.run.rmdir()
    return True


def ensure_schemas(server: Server, *names: str) -> None:
    """Create schemas that are not there yet."""
    with psycopg.connect(server.conninfo, autocommit=True) as connection:
        for name in names:
            connection.execute(sql.SQL("create schema if not exists {}").format(sql.Identifier(name)))


def before_connect(profile_target: str, project_dir: Path) -> None:
    """reconcile's hook: start the server when the target is our embedded one, or the lake, and this project is ours."""
    if not is_levelset_project(project_dir):
        return
    if profile_target == "embedded" and "PGHOST" not in os.environ:
        os.environ["PGHOST"] = str(start(project_dir).socket)
    if profile_target == "lake":
        from orchestrate.servers import lake

        lake.start(project_dir)


def is_levelset_project(folder: Path) -> bool:
    """Whether ``folder`` is a clone of this repository (its dbt project is named levelset)."""
    try:
        return "\nname: levelset\n" in "\n" + (folder / "dbt_project.yml").read_text()
    except OSError:
        return False


def _ensure_database(server: Server) -> None:
    with psycopg.connect(server.conninfo, dbname="postgres", autocommit=True) as connection:
        row = connection.execute("select 1 from pg_database where datname = %s", [DATABASE]).fetchone()
        if row is None:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(DATABASE)))


def main_project() -> Path:
    """The project a command works on: the nearest folder upwards that is a clone of this repository.

    Raises Trouble where there is none.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if is_levelset_project(folder):
            return folder
    raise Trouble(f"{here} is not inside a levelset project: run from a clone of the repository ({sys.argv[0]})")
