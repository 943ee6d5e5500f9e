"""explain: what a check would do. doctor: what stands in its way."""

from __future__ import annotations

import json
from typing import Any

import click

from reconcile.commands.options import options_of, project_options
from reconcile.errors import ReconcileError


@click.command()
@project_options
def explain(**given: Any) -> int:
    """Print what a check of the selected models would run, and why, without comparing anything.

    The output is SQL with comments: it can be run as it is.

    \b
    reconcile explain -s outcomes
    reconcile explain -s outcomes | psql
    """
    from reconcile.model_check.explain import explain as run_explain

    try:
        for text in run_explain(options_of(given)):
            click.echo(text)
    except ReconcileError as error:
        click.echo(f"Error: {error}", err=True)
        return 2
    return 0


@click.command()
@project_options
@click.option("--output", type=click.Choice(["human", "json"]), default="human", show_default=True)
def doctor(output: str, **given: Any) -> int:
    """Say what stands in the way of checks and repairs of the selected models, and how to mend it.

    Exit codes: 0 nothing does, 2 something cannot be judged. Writes nothing.
    """
    from reconcile.model_check.doctor import examine
    from reconcile.report.diagnosis import Level

    findings = []
    for finding in examine(options_of(given)):
        findings.append(finding)
        if output == "human":
            click.echo(finding.line())
    code = 2 if any(finding.level is Level.TROUBLE for finding in findings) else 0
    if output == "json":
        click.echo(json.dumps({"findings": [finding.as_dict() for finding in findings], "exit_code": code}, indent=2))
    return code
