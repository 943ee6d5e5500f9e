"""explain: what a check would do."""

from __future__ import annotations

from typing import Any

import click

from reconcile.commands.common import options_of, project_options
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
    from reconcile.explaining import explain as run_explain

    try:
        for text in run_explain(options_of(given)):
            click.echo(text)
    except ReconcileError as error:
        click.echo(f"Error: {error}", err=True)
        return 2
    return 0
