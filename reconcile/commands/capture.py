"""setup, teardown and watch: change capture."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import click

from reconcile.commands.common import options_of, project_options
from reconcile.errors import ReconcileError
from reconcile.finding import Finding, Level

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
    from reconcile.check import open_project

    return _said(lambda: run_setup(open_project(options_of(given)), unbounded), output)


@click.command()
@project_options
@_output
def teardown(output: str, **given: Any) -> int:
    """Drop what setup has created. The repair journal stays."""
    from reconcile.capture.setup import teardown as run_teardown
    from reconcile.check import open_project

    return _said(lambda: run_teardown(open_project(options_of(given))), output)


def _said(run: Any, output: str) -> int:
    findings: list[Finding] = []
    try:
        found: Iterable[Finding] = run()
        for finding in found:
            findings.append(finding)
            if output == "human":
                click.echo(finding.line())
    except ReconcileError as error:
        findings.append(Finding(Level.TROUBLE, "project", str(error)))
        click.echo(f"Error: {error}", err=True)
    code = 2 if any(finding.level is Level.TROUBLE for finding in findings) else 0
    if output == "json":
        click.echo(json.dumps({"findings": [finding.as_dict() for finding in findings], "exit_code": code}, indent=2))
    return code
