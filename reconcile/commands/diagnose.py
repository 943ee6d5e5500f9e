"""``reconcile explain``: what a check would do. ``reconcile doctor``: what prevents or slows it."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from reconcile.commands.options import options_of, output_format, print_findings, project_options
from reconcile.errors import ReconcileError
from reconcile.report.diagnosis import Level
from reconcile.report.model import Verdict

if TYPE_CHECKING:
    from reconcile.dbt.project import Options
    from reconcile.model_check.missing_settings import MissingSetting


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
@click.option("--fix", is_flag=True, help="Write settings that let models be judged into yml files, after asking.")
@click.option("--yes", is_flag=True, help="With --fix: write without asking.")
def doctor(output: str, fix: bool, yes: bool, **given: Any) -> int:
    """Find what prevents checks and repairs of the selected models, and how to fix it. Writes nothing without --fix.

    With --fix, it shows the lines of yml that would let models be judged (columns to ignore, a key that the database
    keeps unique) as a diff, asks, writes them, and judges these models. Other lines of the files stay as they are.

    Exit codes: 0 everything can be judged, 2 something cannot, or nothing was written.

    \b
    reconcile doctor
    reconcile doctor --fix -s daily_revenue
    """
    from reconcile.model_check.doctor import examine

    if not fix:
        return print_findings(examine(options_of(given)), output)
    if output == "json":
        raise ReconcileError("doctor --fix prints a diff and asks: leave out --output json")
    missing: list[MissingSetting] = []
    findings = list(examine(options_of(given), missing))
    code = print_findings(findings, output)
    if not missing:
        click.echo("no setting of a model would change this: nothing to write", err=True)
        return code
    fixed = {setting.definition.name for setting in missing}
    others = any(found.level is Level.TROUBLE and found.about not in fixed for found in findings)
    return max(_fix(options_of(given), missing, yes), 2 if others else 0)


def _fix(options: Options, missing: list[MissingSetting], yes: bool) -> int:
    """Show the edits, ask, write them, judge their models: 0 if all of them are judged now, else 2."""
    from reconcile.model_check.missing_settings import edits
    from reconcile.model_check.run import check

    files, by_hand = edits(missing)
    for left in by_hand:
        click.echo(str(left))
    root = missing[0].root
    click.echo("".join(edit.diff(root) for edit in files), nl=False)
    named = ", ".join(edit.path.relative_to(root).as_posix() for edit in files)
    if not files or not (yes or _confirmed(named)):
        click.echo("nothing was written", err=True)
        return 2
    for edit in files:
        edit.write()
    left_out = {left.name for left in by_hand}
    names = tuple(s.definition.name for s in missing if s.definition.name not in left_out)
    report = check(replace(options, select=names, exclude=(), selector=None, state=None))
    for table in report.tables:
        click.echo(f"{table.name}: {table.verdict.value}{f' ({table.error})' if table.error else ''}")
    judged = all(table.verdict in (Verdict.LEVEL, Verdict.DRIFT) for table in report.tables)
    return 0 if judged and not by_hand else 2


def _confirmed(named: str) -> bool:
    if not sys.stdin.isatty():
        click.echo("stdin is not a terminal; pass --yes to write without asking", err=True)
        return False
    return click.confirm(f"Write {named}?", err=True)
