"""The command line. Data goes to stdout, everything else to stderr; expected errors become exit code 2 in one place."""

from __future__ import annotations

import sys

import click

from reconcile import VERSION
from reconcile.commands.capture import setup, teardown, watch
from reconcile.commands.check import check, diff, repair, undo
from reconcile.commands.diagnose import doctor, explain
from reconcile.commands.history import history, report_command, show
from reconcile.commands.install import install

INTERRUPTED = 130


def main() -> None:
    """Entry point of the console script ``reconcile``."""
    sys.exit(_run())


def _run() -> int:
    try:
        code = cli(_gathered(sys.argv[1:]), standalone_mode=False)
    except click.exceptions.Exit as left:
        return left.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except (click.Abort, KeyboardInterrupt):  # click makes the one of the other
        click.echo("Interrupted: no transaction was left open", err=True)
        return INTERRUPTED
    except SystemExit:
        return 2  # click leaves with 1 where nobody reads our pipe any more, and 1 says drift here
    return code if isinstance(code, int) else 0


def _gathered(arguments: list[str]) -> list[str]:
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

    Exit codes: 0 level, 1 drift, 2 trouble or not judged, 130 interrupted.
    """


_COMMANDS = (check, diff, repair, undo, setup, teardown, watch, explain, doctor, history, show, report_command, install)
for _command in _COMMANDS:
    cli.add_command(_command)
