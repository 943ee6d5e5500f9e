"""``reconcile explain``: what a check would do. ``reconcile doctor``: what prevents or slows it."""

from __future__ import annotations

from typing import Any

import click

from reconcile.commands.options import options_of, output_format, print_findings, project_options


@click.command()
@project_options
def explain(**given: Any) -> int:
    """Print the SQL that a check of the selected models would run, and why. Compares nothing.

    The output is SQL with comments: it can be run as it is.

    \b
    reconcile explain -s outcomes
    reconcile explain -s outcomes | psql
    """
    from reconcile.model_check.explain import explain as run_explain

    for text in run_explain(options_of(given)):
        click.echo(text)
    return 0


@click.command()
@project_options
@output_format
def doctor(output: str, **given: Any) -> int:
    """Find what prevents checks and repairs of the selected models, and how to fix it. Writes nothing.

    Exit codes: 0 everything can be judged, 2 something cannot.
    """
    from reconcile.model_check.doctor import examine

    return print_findings(examine(options_of(given)), output)
