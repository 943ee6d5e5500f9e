"""Commands without their imports: a process that has loaded dbt, dlt and our packages, and forks for each command.

Each command is a separate process with its own environment, folder, output and exit code, as from a shell; what it is
spared is reading the same modules again (3.5 of 4.8 s of a small `reconcile check`, measured here).
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import importlib.metadata
import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

_PRELOADED = (
    "dbt.cli.main",
    "dbt.adapters.postgres",
    "dbt.adapters.duckdb",
    "dlt",
    "dlt.destinations",
    "duckdb",
    "sqlglot",
    "reconcile.cli",
    "reconcile.model_check.run",
    "reconcile.repair.run",
    "orchestrate.cli",
    "extract.run",
)


_SHIM = """#!{python} -SE
import json, os, socket, sys, tempfile
with tempfile.TemporaryDirectory() as scratch:
    files = {{name: os.path.join(scratch, name) for name in ("stdout", "stderr")}}
    asked = {{"arguments": [os.path.basename(sys.argv[0]), *sys.argv[1:]], "cwd": os.getcwd(), "timeout": 120}}
    with socket.socket(socket.AF_UNIX) as server:
        server.connect({address!r})
        server.sendall(json.dumps({{**asked, "environment": dict(os.environ), **files}}).encode() + b"\\n")
        code = json.loads(server.makefile().readline())["code"]
    for name, stream in (("stdout", sys.stdout), ("stderr", sys.stderr)):
        with open(files[name]) as said:
            stream.write(said.read())
sys.exit(code if code is not None else 137)
"""


class ForkServer:
    """The client's side: starts the process at the first command."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._address = ""

    def run(
        self, arguments: list[str], cwd: Path, environment: dict[str, str], timeout: float, scratch: Path
    ) -> subprocess.CompletedProcess[str]:
        """Run a console script of this environment. Raises subprocess.TimeoutExpired, with the command killed."""
        self._start()
        files = {name: str(scratch / name) for name in ("stdout", "stderr")}
        asked = {"arguments": arguments, "cwd": str(cwd), "environment": environment, "timeout": timeout, **files}
        with socket.socket(socket.AF_UNIX) as server:
            server.connect(self._address)
            server.sendall(json.dumps(asked).encode() + b"\n")
            code = json.loads(server.makefile().readline())["code"]
        if code is None:
            raise subprocess.TimeoutExpired(arguments, timeout)
        said = {name: Path(file).read_text(encoding="utf-8", errors="replace") for name, file in files.items()}
        return subprocess.CompletedProcess(arguments, code, said["stdout"], said["stderr"])

    def shims(self, folder: Path, *names: str) -> Path:
        """A folder for the PATH of a shell, with programs of these names that the server runs."""
        folder.mkdir(parents=True, exist_ok=True)
        self._start()
        for name in names:
            (folder / name).write_text(_SHIM.format(python=sys.executable, address=self._address))
            (folder / name).chmod(0o755)
        return folder

    def _start(self) -> None:
        if self._process is None or self._process.poll() is not None:
            self._address = str(Path(tempfile.mkdtemp(prefix="fork-")) / "socket")
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.forkserver", self._address],
                cwd=Path(__file__).parents[2],
                stdout=subprocess.PIPE,
                text=True,
            )
            assert self._process.stdout is not None
            assert self._process.stdout.readline() == "ready\n", "the fork server did not start: see its stderr"

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            shutil.rmtree(Path(self._address).parent, ignore_errors=True)


def warm_dbt() -> None:
    """Parse a small project, so that dbt has what it makes once per process: JSON schemas of its dataclasses.

    Four fifths of the CPU of a small command were spent there. On Postgres, which a parse does not connect to: DuckDB
    would start threads, which a fork does not have.
    """
    from dbt.adapters.duckdb.credentials import DuckDBCredentials
    from dbt.cli.main import dbtRunner

    names = dict.fromkeys(("host", "user", "password", "dbname", "schema"), "none")
    output = {"type": "postgres", "port": 5432, **names}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "models").mkdir()
        (folder / "models" / "one.sql").write_text("select 1 as id")
        (folder / "models" / "one.yml").write_text(
            "models: [{name: one, columns: [{name: id, data_tests: [unique]}]}]\n"
            "sources: [{name: raw, tables: [{name: rows}]}]\n"
        )
        (folder / "dbt_project.yml").write_text("{name: warm, profile: warm, flags: {send_anonymous_usage_stats: no}}")
        (folder / "profiles.yml").write_text(json.dumps({"warm": {"target": "x", "outputs": {"x": output}}}))
        # dbt's static parser too has threads
        where = ["--project-dir", name, "--profiles-dir", name, "--no-static-parser"]
        done = dbtRunner().invoke(["parse", *where, "--quiet", "--log-level", "none", "--log-level-file", "none"])
        assert done.success, done.exception
    threads = Path("/proc/self/task")  # those that Python does not know too
    assert not threads.exists() or len(list(threads.iterdir())) == 1, (
        "a fork would have locks that no thread gives back"
    )
    DuckDBCredentials.validate({"path": ":memory:", "schema": "main", "database": "memory"})


def close_dbts_duckdb() -> None:
    """dbt-duckdb keeps its file open, and DuckDB's threads with it, for the next run in this process."""
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager

    environment = DuckDBConnectionManager._ENV
    if environment is not None:
        environment.close()
    DuckDBConnectionManager.close_all_connections()


def serve(address: str) -> None:
    """Answer one command a connection, one after another, until the process is ended."""
    for name in _PRELOADED:
        importlib.import_module(name)
    warm_dbt()
    scripts = {entry.name: entry for entry in importlib.metadata.entry_points(group="console_scripts")}
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        print("ready", flush=True)  # noqa: T201
        while True:
            client, _ = listener.accept()
            with client:
                line = client.makefile().readline()
                if not line:
                    continue
                asked = json.loads(line)
                child = os.fork()
                if child == 0:
                    listener.close()
                    client.close()
                    _become(asked, scripts)
                answer = json.dumps({"code": _wait(child, asked["timeout"])})
                with contextlib.suppress(OSError):  # whoever asked was killed meanwhile
                    client.sendall(answer.encode() + b"\n")


def _become(asked: dict[str, Any], scripts: dict[str, importlib.metadata.EntryPoint]) -> None:
    """Be the command, to its end. Never returns."""
    code = 1
    try:
        os.setsid()
        os.chdir(asked["cwd"])
        os.environ.clear()
        os.environ.update(asked["environment"])
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        for number, name in ((1, "stdout"), (2, "stderr")):
            file = os.open(asked[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(file, number)
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stdout = sys.__stdout__ = open(1, "w", encoding="utf-8", closefd=False)  # type: ignore[misc]  # noqa: SIM115
        sys.stderr = sys.__stderr__ = open(2, "w", encoding="utf-8", closefd=False)  # type: ignore[misc]  # noqa: SIM115
        name, *rest = asked["arguments"]
        sys.argv = [str(Path(sys.executable).parent / name), *rest]
        left = scripts[name].load()()
        code = left if isinstance(left, int) else 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            sys.stderr.write(ended.code + "\n")
    except BaseException:  # noqa: BLE001  whatever it was, it ends this process and not the server
        traceback.print_exc()
    with contextlib.suppress(BaseException):
        atexit._run_exitfuncs()
        logging.shutdown()
    with contextlib.suppress(BaseException):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _wait(child: int, timeout: float) -> int | None:
    """The command's exit code; None where it took too long and was killed."""

    def expired(*_: object) -> None:
        os.killpg(child, signal.SIGKILL)

    signal.signal(signal.SIGALRM, expired)
    signal.setitimer(signal.ITIMER_REAL, timeout)
    _, status = os.waitpid(child, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return None
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    serve(sys.argv[1])
