"""The lake on this machine: Delta tables behind Sail, a Spark Connect server from a wheel; two workers, on loopback.

What SPARK_REMOTE names is used instead where it is set; where it names a port of this machine without a listener,
Sail is started there. Sail's catalog lives in the memory of a session: the tables lie in ``.levelset/lake`` (or
LEVELSET_LAKE), a folder each, and are made known again to a session that has lost them.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from extract.process_lock import hold
from orchestrate.errors import Trouble
from reconcile import write_file

REMOTE = "sc://127.0.0.1:15002/;user_id=levelset;session_id=6c657665-6c73-4574-8000-000000000001"
WORKERS = 2
_SLOTS = 64  # tasks of a worker; a statement of ours needs up to 18 at once, and Sail's 8 were too few
_TEN_YEARS = 10 * 365 * 86_400  # seconds
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_STARTS_WITHIN = 30.0  # seconds
_ANSWERS_WITHIN = 2.0  # seconds
_NAME = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True)
class LakeServer:
    """Where a project's lake is reached, and where its tables lie (None: where the server's own catalog puts them)."""

    project: Path
    remote: str
    tables: str | None

    @property
    def host(self) -> str:
        return urlsplit(self.remote).hostname or "127.0.0.1"

    @cached_property
    def port(self) -> int:
        return urlsplit(self.remote).port or 15002

    @property
    def log(self) -> Path:
        return self.project / ".levelset" / "lake.log"

    @property
    def note(self) -> Path:
        """Which process serves it, where we started one."""
        return self.project / ".levelset" / "lake.json"

    def environment(self) -> dict[str, str]:
        """What dbt and reconcile must find in the environment."""
        return {"SPARK_REMOTE": self.remote, **({"LEVELSET_LAKE": self.tables} if self.tables else {})}


def locate(project: Path) -> LakeServer:
    """The lake of a project; nothing is asked or started. Raises Trouble where SPARK_REMOTE is no such address."""
    remote = os.environ.get("SPARK_REMOTE") or REMOTE
    if not remote.startswith("sc://") or not urlsplit(remote).hostname:
        raise Trouble(f"SPARK_REMOTE is {remote!r}: write it as sc://host:port/;user_id=me;session_id=<uuid>")
    ours = None if "SPARK_REMOTE" in os.environ else str(project / ".levelset" / "lake")
    return LakeServer(project, remote, os.environ.get("LEVELSET_LAKE") or ours)


def start(project: Path, workers: int = WORKERS) -> LakeServer:
    """The lake, served: Sail is started where no process listens on a port of this machine. Its tables are known then.

    Raises Trouble where the extra is not installed, the server cannot be reached or does not start.
    """
    lake = locate(project)
    if not _listens(lake):
        _need_extra()
        if lake.host not in _LOOPBACK:
            raise Trouble(f"no Spark Connect server answers at {lake.host}:{lake.port}: start it, or fix SPARK_REMOTE")
        lake.note.parent.mkdir(parents=True, exist_ok=True)
        with hold(lake.note.with_suffix(".lock"), "levelset up", "another process starts the lake", _STARTS_WITHIN):
            if not _listens(lake):
                _serve(lake, workers)
                try:
                    session(lake)  # which it may refuse: it is no use then
                except Trouble:
                    stop(project)
                    raise
    attach(lake)
    return lake


def stop(project: Path) -> bool:
    """Stop the server that we started for this project; False where none runs."""
    lake = locate(project)
    pid = server_of(lake)
    lake.note.unlink(missing_ok=True)
    if pid is None:
        return False
    os.killpg(pid, signal.SIGTERM)
    until = time.monotonic() + _STARTS_WITHIN
    while _listens(lake) and time.monotonic() < until:
        time.sleep(0.05)
    return True


def is_running(lake: LakeServer) -> bool:
    return _listens(lake)


def session(lake: LakeServer) -> Any:
    """A Spark session at the lake. Raises Trouble without the extra, a server, or one that knows our client."""
    _need_extra()
    from reconcile import ReconcileError, connect_spark

    try:
        return connect_spark(lake.remote)
    except ReconcileError as error:
        raise Trouble(str(error)) from error


def attach(lake: LakeServer) -> list[str]:
    """Make the tables that lie in the lake's folder known to its session; which of them were not."""
    if lake.tables is None or "://" in lake.tables:
        return []
    folders = [log.parent for log in sorted(Path(lake.tables).glob("*/*/_delta_log"))]
    found = [folder for folder in folders if _NAME.fullmatch(folder.name) and not _is_passing(folder)]
    if not found:
        return []
    asked = session(lake)
    made = []
    for schema in dict.fromkeys(folder.parent for folder in found):
        asked.sql(f"create schema if not exists {schema.name} location '{schema}'").collect()
        known = {row.tableName for row in asked.sql(f"show tables in {schema.name}").collect()}
        for folder in (f for f in found if f.parent == schema and f.name not in known):
            name = f"{schema.name}.{folder.name}"
            asked.sql(f"create table if not exists {name} using delta location '{folder}'").collect()
            made.append(name)
    return made


def _is_passing(folder: Path) -> bool:
    """Whether that is left of a table of dbt's or of a repair's that was dropped: Sail leaves its files."""
    from reconcile import is_temporary_table

    return "__dbt_" in folder.name or is_temporary_table(folder.parent.name, folder.name)


def _serve(lake: LakeServer, count: int) -> None:
    """Start Sail, in a separate process group, and wait until it listens."""
    workers = {"INITIAL_COUNT": count, "MAX_COUNT": count, "TASK_SLOTS": _SLOTS}
    settings = {f"SAIL_CLUSTER__WORKER_{name}": str(value) for name, value in workers.items()}
    # a session that has ended is never taken up again, and its name is in profiles.yml
    settings["SAIL_SPARK__SESSION_TIMEOUT_SECS"] = str(_TEN_YEARS)
    command = [sys.executable, "-m", "pysail", "spark", "server", "--ip", "127.0.0.1", "--port", str(lake.port)]
    with lake.log.open("ab") as log:
        server = subprocess.Popen(
            command,
            cwd=lake.note.parent,
            env={**os.environ, "SAIL_MODE": "local-cluster", **settings},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    until = time.monotonic() + _STARTS_WITHIN
    while not _listens(lake):
        if server.poll() is not None or time.monotonic() > until:
            with suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
            last = lake.log.read_text(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
            raise Trouble(f"the lake's server does not start on port {lake.port}: {last[0][:300]} (log: {lake.log})")
        time.sleep(0.02)
    write_file(lake.note, json.dumps({"pid": server.pid, "port": lake.port}))


def server_of(lake: LakeServer) -> int | None:
    """The process that we started, where it still runs and is the server."""
    try:
        pid = int(json.loads(lake.note.read_text())["pid"])
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pid if b"pysail" in command else None


def _listens(lake: LakeServer) -> bool:
    try:
        with socket.create_connection((lake.host, lake.port), _ANSWERS_WITHIN):
            return True
    except OSError:
        return False


def _need_extra() -> None:
    lacking = [name for name in ("pyspark", "pysail", "dbt.adapters.spark") if find_spec(name) is None]
    if lacking:
        raise Trouble(
            f"the target lake needs {lacking[0].split('.')[0]}, which is not installed: pip install 'levelset[scale]'"
        )
