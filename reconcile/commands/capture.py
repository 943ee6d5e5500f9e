"""``reconcile setup``, ``teardown`` and ``watch``: change capture."""

from __future__ import annotations

import signal
import threading
from typing import Any

import click

from reconcile.commands.options import limit_options, options_of, output_format, print_findings, project_options


@click.command()
@project_options
@click.option(
    "--unbounded", is_flag=True, help="Accept a server without a limit on the log (WAL) that an unused slot keeps."
)
@output_format
def setup(output: str, unbounded: bool, **given: Any) -> int:
    """Start change capture for the selected models and their sources, so that a check compares only changed keys.

    Creates a replication slot, a publication of key columns, and tables in schema reconcile. Can be repeated.
    Exit codes: 0 done, 2 something is missing (it says how to fix it), and nothing was created.
    """
    from reconcile.capture.setup import setup as run_setup
    from reconcile.model_check.run import open_project

    return print_findings(run_setup(open_project(options_of(given)), unbounded), output)


@click.command()
@project_options
@output_format
def teardown(output: str, **given: Any) -> int:
    """Drop what setup created. The repair journal is kept."""
    from reconcile.capture.setup import teardown as run_teardown
    from reconcile.model_check.run import open_project

    return print_findings(run_teardown(open_project(options_of(given))), output)


@click.command()
@project_options
@click.option(
    "--interval", type=click.FloatRange(0.05), default=1.0, show_default=True, help="Seconds between two reads."
)
@click.option("--repair", is_flag=True, help="Repair drift when it is found, within the limits below.")
@click.option("--allow-delete", is_flag=True, help="Allow rows to be deleted.")
@limit_options
@output_format
def watch(output: str, interval: float, repair: bool, **given: Any) -> int:
    """Follow the captured changes and print each model that starts or stops to drift, until stopped.

    Needs reconcile setup. Exits with 0 on SIGTERM. Its position is stored in the database, so changes between two
    watches are not missed. With --output json each line is a report of one model.
    """
    from reconcile.commands.watch_output import HumanTeller, JsonTeller
    from reconcile.model_check.run import open_project
    from reconcile.repair.guards import Guards
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
    return 0
