"""dbt in this process: its import is most of what a dbt command costs. One invocation at a time, as dbt asks."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from orchestrate.errors import Trouble
from orchestrate.targets import Target, default_target_name
from reconcile import build_times
from reconcile import run_dbt as invoke_dbt

_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Built:
    """How many nodes of a dbt invocation ended how."""

    passed: int
    warned: int

    def line(self) -> str:
        return f"{self.passed} passed" + (f", {self.warned} warned" if self.warned else "")


def parse(target: Target) -> Any:
    """The project as dbt's manifest, for the invocations that follow in this process: parsing is most of what a dbt
    command costs there. Raises Trouble where it does not parse.
    """
    return _invoke(target, None, "parse", "--no-write-json").result


def run_dbt(target: Target, *command: str, manifest: Any = None) -> Built:
    """Run a dbt command for a target; ``manifest`` is what ``parse`` gave just now (None: dbt parses).

    Raises Trouble with the first failure's words where anything failed.
    """
    # dbt keeps the times of its latest invocation only: those of the one before are remembered first, or rows that came
    # after a model's own build would later look as if that build had missed them
    build_times(project_dir=target.project, target=target.name, default_target=default_target_name())
    if manifest is None:
        outcome = _invoke(target, None, *command)
    else:
        outcome = _invoke(target, manifest, *command, "--no-write-json")
        if outcome.result is not None:
            outcome.result.write(str(target.project / "target" / "run_results.json"))
    results = list(getattr(outcome.result, "results", []) or [])
    failed = [result for result in results if str(result.status) in ("error", "fail", "runtime error")]
    if failed:
        message = " ".join(str(failed[0].message).split())[:500]
        log = target.project / "logs" / "dbt.log"
        raise Trouble(f"dbt {command[0]}: {len(failed)} failed, first {failed[0].node.name}: {message} (see {log})")
    warned = sum(str(result.status) == "warn" for result in results)
    return Built(len(results) - warned, warned)


def _invoke(target: Target, manifest: Any, *command: str) -> Any:
    arguments = [*command, "--project-dir", str(target.project), "--profiles-dir", str(target.project)]
    with _ONE_AT_A_TIME, environment(target.environment()), contextlib.redirect_stdout(sys.stderr):
        outcome = invoke_dbt([*arguments, "--target", target.name, "--quiet", "--log-level", "none"], manifest=manifest)
    if isinstance(outcome.exception, KeyboardInterrupt):
        raise outcome.exception
    if outcome.exception is not None:
        raise Trouble(f"dbt {command[0]} failed: {' '.join(str(outcome.exception).split())[:500]}")
    return outcome


@contextlib.contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """Set variables for a while: dbt and reconcile read profiles.yml, which reads them."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
