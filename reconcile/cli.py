"""The command line. Data goes to stdout, everything else to stderr; an expected error becomes exit code 2 here."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO

import click

from reconcile import VERSION
from reconcile.commands.capture import setup, teardown, watch
from reconcile.commands.check import check
from reconcile.commands.diagnose import doctor, explain
from reconcile.commands.diff import diff
from reconcile.commands.history import history, report_command, show
from reconcile.commands.install import install
from reconcile.commands.repair import repair, undo
from reconcile.errors import ReconcileError

INTERRUPTED = 130


def main() -> None:
    """Entry point of the console script ``reconcile``."""
    sys.stdout = _ClosablePipe(sys.stdout)
    code = _run()
    sys.stdout.flush()  # here, so that a closed pipe does not change the exit code at the interpreter's end
    sys.exit(code)


def _run() -> int:
    try:
        code = cli(_folded(sys.argv[1:]), standalone_mode=False)
    except click.exceptions.Exit as left:
        return left.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):  # click turns the second into the first
        click.echo("Interrupted: no transaction was left open", err=True)
        return INTERRUPTED
    return code if isinstance(code, int) else 0


class _ClosablePipe:
    """stdout that may be closed by its reader (``reconcile check | head -1``): the rest of the output is dropped.

    The exit code stays that of the verdict. Without it click exits with 1, which means drift here.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._drop()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._drop()

    def _drop(self) -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self._stream.fileno())
        os.close(null)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _folded(arguments: list[str]) -> list[str]:
    """dbt takes several values after one flag (``-s a b``): fold them into one value with spaces."""
    folded: list[str] = []
    values: list[str] | None = None
    for argument in arguments:
        if values is not None and not argument.startswith("-"):
            values.append(argument)
            continue
        if values is not None:
            folded.append(" ".join(values))
            values = None
        folded.append(argument)
        if argument in ("-s", "--select", "--exclude"):
            values = []
    return folded if values is None else [*folded, " ".join(values)]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(VERSION, prog_name="reconcile")
def cli() -> None:
    """Prove that incremental dbt models hold exactly what a full refresh would build.

    Exit codes: 0 level, 1 drift, 2 error or something not judged, 130 interrupted.
    """


def _expecting_errors(command: Callable[..., int]) -> Callable[..., int]:
    """A ReconcileError becomes exit code 2 and one line on stderr, or JSON on stdout with --output json."""

    @functools.wraps(command)
    def run(*arguments: Any, **given: Any) -> int:
        try:
            return command(*arguments, **given)
        except ReconcileError as error:
            if given.get("output") == "json":
                click.echo(json.dumps({"error": str(error), "exit_code": 2}))
            else:
                click.echo(f"Error: {error}", err=True)
            return 2

    return run


_COMMANDS = (check, diff, repair, undo, setup, teardown, watch, explain, doctor, history, show, report_command, install)
for _command in _COMMANDS:
    assert _command.callback is not None
    _command.callback = _expecting_errors(_command.callback)
    cli.add_command(_command)
