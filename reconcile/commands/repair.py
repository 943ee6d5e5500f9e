"""``reconcile repair`` and ``undo``."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from typing import Any

import click

from reconcile.commands.options import (
    arguments_of,
    judging,
    limit_options,
    options_of,
    output_format,
    output_options,
    project_options,
    project_state,
)
from reconcile.errors import ReconcileError
from reconcile.report.model import RepairOutcome, Report
from reconcile.report.progress import Watcher


@click.command()
@project_options
@click.option(
    "--plan", "plan_file", type=click.Path(path_type=Path), help="Write the plan here; with --apply, run this plan."
)
@click.option("--apply", is_flag=True, help="Write to the tables.")
@click.option("--yes", is_flag=True, help="Do not ask before writing.")
@click.option("--allow-delete", is_flag=True, help="Allow rows to be deleted.")
@click.option("--cascade", is_flag=True, help="Allow deletions that change rows of other tables (on delete cascade).")
@click.option("--sql", "sql_file", type=click.Path(path_type=Path), help="Also write the statements here, for review.")
@limit_options
@click.option(
    "--journal-days",
    type=click.IntRange(1),
    metavar="N",
    envvar="RECONCILE_JOURNAL_DAYS",
    show_envvar=True,
    help="Delete journal entries older than this. Without: keep them all.",
)
@output_options
def repair(**given: Any) -> int:
    """Plan how to make drifted models level; with --apply, write it, keep a journal and compare again.

    \b
    reconcile repair -s outcomes                 plan only: writes nothing to the tables
    reconcile repair --plan p.json               the same, into that file
    reconcile repair --plan p.json --apply       run exactly that plan
    reconcile repair --sql p.sql                 the statements too, for review
    reconcile repair --apply --yes --allow-delete
    """

    def run(watcher: Watcher) -> Report:
        from reconcile.repair.run import RepairRequest, repair_run

        request = RepairRequest(
            plan_file=given["plan_file"],
            apply=given["apply"],
            allow_delete=given["allow_delete"],
            max_rows=given["max_rows"],
            max_percent=given["max_percent"],
            sql_file=given["sql_file"],
            journal_days=given["journal_days"],
            cascade=given["cascade"],
            confirm=(lambda planned: True) if given["yes"] else functools.partial(_confirm, given["no_color"]),
        )
        return repair_run(options_of(given), request, watcher)

    return judging("repair", given, run, lambda: project_state(given))


def _confirm(no_color: bool, planned: RepairOutcome) -> bool:
    names = ", ".join(part.name for part in planned.tables)
    counts = f"{planned.inserted} rows to insert, {planned.updated} to update, {planned.deleted} to delete in {names}"
    if not sys.stdin.isatty():
        raise ReconcileError(f"{counts}: stdin is not a terminal; pass --yes to apply without confirmation")
    from rich.console import Console

    from reconcile.render.human import print_plan

    print_plan(planned, Console(stderr=True, no_color=no_color or None, highlight=False, emoji=False, markup=False))
    return click.confirm(f"{counts}. Write it?", err=True)


@click.command()
@click.argument("run")
@project_options
@click.option("--apply", is_flag=True, help="Restore the rows; without it, only count them.")
@output_format
def undo(run: str, apply: bool, output: str, **given: Any) -> int:
    """Undo the repair RUN: restore its rows that are still as it left them. An undo can be undone.

    Exit codes: 0 restored, 1 rows were changed since and left alone, or nothing was written yet (no --apply), 2 error.
    """
    from reconcile.api import undo as run_undo
    from reconcile.render.text import aim

    done = run_undo(run, apply=apply, **arguments_of(given))
    code = 1 if done.stale or not apply else 0
    counts = {"insert": done.inserted, "update": done.updated, "delete": done.deleted}
    if output == "json":
        body = {"command": "undo", "undoes": run, "applied": apply, "run_id": done.run_id if apply else None}
        click.echo(json.dumps({**body, "rows": counts, "stale": done.stale, "exit_code": code}))
        return code
    listed = ", ".join(f"{count} {action}" for action, count in counts.items())
    click.echo(f"{'restored' if apply else 'would restore'}: {listed}; {done.stale} stale (changed since, left alone)")
    click.echo(f"next: reconcile undo {run if not apply else done.run_id} --apply{aim(given['target'])}", err=True)
    return code
