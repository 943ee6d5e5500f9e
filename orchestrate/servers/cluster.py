"""Make the embedded server's cluster, finish or set aside what earlier attempts left, and run Postgres' programs."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

from orchestrate.errors import Trouble
from orchestrate.servers.location import PORT, USER, Server, wheel_binaries

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


def leave_former_life(server: Server) -> None:
    """Where the server lives outside the project: set aside what an earlier folder of the same path left there.

    A clone that was deleted and made anew starts afresh, as it would with its data inside; nothing is deleted.
    """
    own = server.project / ".levelset"
    if server.home == own:
        return
    mark, owner = own / "id", server.home / "owner"
    if server.home.exists() and not (mark.exists() and owner.exists() and mark.read_text() == owner.read_text()):
        if (server.data / "postmaster.pid").exists():
            forget_dead_postmaster(server)
        if (server.data / "postmaster.pid").exists():
            run_program(server, "pg_ctl", "--wait", "--silent", "--mode=fast", "-D", server.data, "stop")
        server.home.rename(server.home.with_name(f"{server.home.name}.left-{uuid.uuid4().hex[:8]}"))
    if not server.home.exists():
        mark.write_text(uuid.uuid4().hex)
        server.home.mkdir(parents=True)
        shutil.copy(mark, owner)


def prepare(server: Server) -> None:
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
        run_program(server, "initdb", *options, "-U", USER, "-D", half_made)
        _write_settings(half_made, server.run)
        half_made.rename(server.data)
    found = version.read_text().strip()
    if found != "18":
        raise Trouble(
            f"{server.data} holds a Postgres {found} cluster, but ours is 18: "
            f"move it away (or dump and restore it), then run `levelset up` again"
        )
    _write_settings(server.data, server.run)


def forget_dead_postmaster(server: Server) -> None:
    """Remove the lock files of a postmaster that was killed: pg_ctl would fail to stop it.

    In containers whose first process collects no children a killed server stays a zombie: Postgres takes its number
    for a running one, for ever. It is dead for certain when it is none or a zombie, and no child of its has the data.
    """
    lock = server.data / "postmaster.pid"
    try:
        process = Path("/proc") / str(int(lock.read_text().split()[0]))
        dead = not process.exists() or (process / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (OSError, ValueError, IndexError):
        return
    dead = dead and Path("/proc/self").exists()  # elsewhere nothing is known of processes
    deadline = time.monotonic() + 5
    while dead and _in_use(server.data) and time.monotonic() < deadline:
        time.sleep(0.05)  # its children notice within moments that it is gone
    if dead and not _in_use(server.data):
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
    if server.binaries.exists() or server.binaries == wheel_binaries():
        return
    package = wheel_binaries().parent.parent
    target = server.binaries.parents[2]
    target.parent.mkdir(parents=True, exist_ok=True)
    half_made = Path(tempfile.mkdtemp(dir=target.parent))
    shutil.copytree(package / "pginstall18", half_made / package.name / "pginstall18", symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")  # found by the binaries through a relative rpath
    shutil.copytree(libraries, half_made / libraries.name)
    half_made.chmod(0o755)
    half_made.rename(target)


def run_program(server: Server, program: str, *arguments: str | Path) -> None:
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
