"""A process that has imported all, and forks another for each act: one that can be killed at any moment of it.

To fork a test's own process would not do: what its threads hold (grpc's, arrow's, dlt's) is held for ever in the fork.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from tests.conftest import ROOT

_CODE = """
import json, os, signal, sys
sys.path.insert(0, sys.argv[1])
signal.signal(signal.SIGINT, signal.default_int_handler)  # xdist's workers ignore it, and what they start
{imports}
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            {act}
            code = 0
        except KeyboardInterrupt:
            code = 130
        finally:
            os._exit(code)
    print(child, flush=True)
    while True:
        try:
            _, status = os.waitpid(child, 0)
            break
        except KeyboardInterrupt:
            pass
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


@dataclass(frozen=True)
class Acted:
    """``code``: 0, 130 after Ctrl-C, 1 after another exception, negative where a signal ended it."""

    seconds: float
    code: int


class Zygote:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._told, self._said = process.stdin, process.stdout

    def act(self, told: Any = None, killed_after: float | None = None) -> Acted:
        """Act once, or until so many seconds have passed."""
        self._told.write(json.dumps(told) + "\n")
        self._told.flush()
        child = int(self._said.readline())
        started = time.monotonic()
        if killed_after is not None:
            time.sleep(killed_after)
            with suppress(ProcessLookupError):  # it was quicker this time
                os.kill(child, signal.SIGKILL)
        code = int(self._said.readline())
        return Acted(time.monotonic() - started, code)


@contextmanager
def zygote(imports: str, act: str, *arguments: str) -> Iterator[Zygote]:
    """``act`` is a line of Python; it finds the arguments in sys.argv, from 2, and what it reads in ``line``."""
    code = _CODE.format(imports=imports, act=act)
    command = [sys.executable, "-c", code, str(ROOT), *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield Zygote(process)
