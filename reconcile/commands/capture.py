"""setup, teardown and watch: change capture."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterable
from typing import Any

import click

from reconcile.commands.options import options_of, project_options
from reconcile.errors import ReconcileError
from reconcile.report.diagnosis import Diagnosis, Level

_output = click.option("--output", type=click.Choice(["human", "json"]), default="human", show_default=True)


@click.command()
@project_options
@click.option("--unbounded", is_flag=True, help="Accept that nothing limits the log an abandoned slot keeps.")
@_output
def setup(output: str, unbounded: bool, **given: Any) -> int:
    """Capture the changes of the selected models and their sources, so that checks cost what changed.

    Creates a replication slot, a publication of key columns, and tables in schema reconcile. Can be repeated.
    Exit codes: 0 done, 2 something is missing (it says what mends it), and nothing was created.
    """
    from reconcile.capture.setup import setup as run_setup
    from reconcile.model_check.run import open_project

    return _said(lambda: run_setup(open_project(options_of(given)), unbounded), output)


@click.command()
@project_options
@_output
def teardown(output: str, **given: Any) -> int:
    """Drop what setup has created. The repair journal stays."""
    from reconcile.capture.setup import teardown as run_teardown
    from reconcile.model_check.run import open_project

    return _said(lambda: run_teardown(open_project(options_of(given))), output)


def _said(run: Any, output: str) -> int:
    findings: list[Diagnosis] = []
    try:
        found: Iterable[Diagnosis] = run()
        for finding in found:
            findings.append(finding)
            if output == "human":
                click.echo(finding.line())
    except ReconcileError as error:
        findings.append(Diagnosis(Level.TROUBLE, "project", str(error)))
        click.echo(f"Error: {error}", err=True)
    code = 2 if any(finding.level is Level.TROUBLE for finding in findings) else 0
    if output == "json":
        click.echo(json.dumps({"findings": [finding.as_dict() for finding in findings], "exit_code": code}, indent=2))
    return code


@click.command()
@project_options
@click.option(
    "--interval", type=click.FloatRange(0.05), default=1.0, show_default=True, help="Seconds between two looks."
)
@click.option("--repair", is_flag=True, help="Repair drift as it comes, under the guards of reconcile repair.")
@click.option("--allow-delete", is_flag=True, help="Let rows be deleted.")
@click.option("--max-rows", type=click.IntRange(1), default=10_000, show_default=True, help="Most rows to write.")
@click.option(
    "--max-percent", type=click.FloatRange(0, 100), default=10.0, show_default=True, help="Most of a table to write."
)
@_output
def watch(output: str, interval: float, repair: bool, **given: Any) -> int:
    """Follow the captured changes, and tell of every drift as it comes and as it goes, until stopped.

    Needs reconcile setup. Ends with 0 on SIGTERM; where it stands is kept in the database, so nothing is missed between
    two watches. With --output json each line is a report of one model.
    """
    from reconcile.commands.watch_output import HumanTeller, JsonTeller
    from reconcile.model_check.run import open_project
    from reconcile.repair.session import Guards
    from reconcile.watch import Follower

    stop = threading.Event()

    def end(*_: object) -> None:
        stop.set()
        raise KeyboardInterrupt  # out of a statement that runs: it is cancelled

    signal.signal(signal.SIGTERM, end)
    guards = Guards(given["max_rows"], given["max_percent"], given["allow_delete"]) if repair else None
    try:
        project = open_project(options_of(given))
        teller = JsonTeller(project.connection.target) if output == "json" else HumanTeller()
        follower = Follower(project, teller, interval, guards)
        teller.began(project)
        follower.run(stop)
    except KeyboardInterrupt:
        if not stop.is_set():
            raise
    except ReconcileError as error:
        click.echo(f"Error: {error}", err=True)
        return 2
    return 0
