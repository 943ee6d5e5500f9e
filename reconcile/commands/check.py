"""check, diff, repair, undo."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path
from typing import Any

import click

from reconcile.commands.options import judging, options_of, output_options, project_options
from reconcile.errors import ReconcileError
from reconcile.report.model import KINDS, RepairOutcome, Report
from reconcile.report.progress import Watcher


@click.command()
@project_options
@click.option(
    "--fail-on", metavar="KINDS", help=f"Only these kinds exit with 1: {', '.join(KINDS)} (default: all but pending)."
)
@click.option(
    "--scope",
    type=click.Choice(["auto", "capture", "sweep", "keys"]),
    default="auto",
    show_default=True,
    help="What to look at: capture: changed keys; sweep: every row; keys: those of --keys; auto: the first that tells.",
)
@click.option("--keys", metavar="FILE", help="Only these keys: a csv, JSON lines or one a line; - is stdin.")
@click.option("--record", is_flag=True, help="Keep verdicts in the database too (reconcile.verdict), from now on.")
@output_options
def check(fail_on: str | None, scope: str, keys: str | None, record: bool, **given: Any) -> int:
    """Compare every selected incremental model with its own definition, row by row.

    \b
    reconcile check
    reconcile check -s outcomes --output json
    reconcile check -s tag:hourly --report junit=reconcile.xml
    reconcile check -s outcomes --keys ids.txt
    """
    if (scope == "keys") != (keys is not None) and scope != "auto":
        raise click.UsageError("--scope keys and --keys FILE belong together")
    kinds = tuple(kind.strip() for kind in (fail_on or "").split(",") if kind.strip())
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise click.UsageError(f"--fail-on {unknown[0]}: the kinds are {', '.join(KINDS)}")

    def run(watcher: Watcher) -> Report:
        from reconcile.compare.key_filter import read_keys
        from reconcile.model_check.judge_model import CheckRequest
        from reconcile.model_check.run import check as run_check

        asked = CheckRequest("keys", read_keys(keys)) if keys is not None else CheckRequest(scope)
        return run_check(options_of(given), kinds, watcher, asked, start_record=record)

    return judging("check", given, run)


@click.command()
@click.argument("left")
@click.argument("right")
@click.option("--key", default="", metavar="COLS", help="Columns that name a row, with commas; none: as a multiset.")
@click.option("--columns", metavar="COLS", help="Compare only these columns.")
@click.option("--ignore", default="", metavar="COLS", help="Do not compare these columns.")
@click.option("--tolerance", multiple=True, metavar="COL=EPS", help="Absolute tolerance of a column; repeatable.")
@click.option("--rename", multiple=True, metavar="RIGHT=LEFT", help="A column of RIGHT under LEFT's name; repeatable.")
@click.option("--where", metavar="SQL", help="Only the rows of both sides that it holds for.")
@click.option(
    "--project-dir", type=click.Path(path_type=Path), default=".", help="Where dbt_project.yml is (TARGET:...)."
)
@click.option("--profiles-dir", type=click.Path(path_type=Path), help="Where profiles.yml is.")
@output_options
def diff(left: str, right: str, **given: Any) -> int:
    """Compare two tables wherever they are: expected is LEFT, actual is RIGHT.

    LEFT and RIGHT: postgresql://user@host/db#schema.table, duckdb:FILE#schema.table, TARGET:schema.table of the dbt
    profile, or a .csv, .parquet or .jsonl file.

    \b
    reconcile diff prod:analytics.outcomes dev:analytics.outcomes --key decision_id
    reconcile diff embedded:analytics.tweet_metrics export.csv --key tweet_id --rename "Post id=tweet_id"
    reconcile diff before.parquet after.parquet --key id --tolerance revenue=0.01
    """

    def run(watcher: Watcher) -> Report:
        from reconcile.dbt.project import Options
        from reconcile.table_diff.run import DiffRequest
        from reconcile.table_diff.run import diff as run_diff

        asked = DiffRequest(
            left,
            right,
            key=_listed(given["key"]),
            columns=_listed(given["columns"]) if given["columns"] else None,
            ignore=_listed(given["ignore"]),
            tolerance={name: _number(value) for name, value in _pairs(given["tolerance"], "--tolerance")},
            renamed=dict(_pairs(given["rename"], "--rename")),
            where=given["where"],
        )
        options = Options(project_dir=given["project_dir"], profiles_dir=given["profiles_dir"])
        return run_diff(asked, options, watcher)

    return judging("diff", {**given, "target": right.split("#", maxsplit=1)[0].rsplit("@", maxsplit=1)[-1]}, run)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _pairs(values: tuple[str, ...], flag: str) -> list[tuple[str, str]]:
    pairs = [value.partition("=") for value in values]
    wrong = [value for value, (name, _, rest) in zip(values, pairs, strict=True) if not name or not rest]
    if wrong:
        raise ReconcileError(f"{flag} {wrong[0]}: give NAME=VALUE")
    return [(name, rest) for name, _, rest in pairs]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ReconcileError(f"--tolerance: {text!r} is no number") from None


@click.command()
@project_options
@click.option(
    "--plan", "plan_file", type=click.Path(path_type=Path), help="Write the plan here; with --apply, run this one."
)
@click.option("--apply", is_flag=True, help="Write to the tables.")
@click.option("--yes", is_flag=True, help="Do not ask before writing.")
@click.option("--allow-delete", is_flag=True, help="Let rows be deleted.")
@click.option(
    "--sql", "sql_file", type=click.Path(path_type=Path), help="Also write the statements here, to be reviewed."
)
@click.option(
    "--max-rows", type=click.IntRange(1), default=10_000, show_default=True, help="Most rows to write in a table."
)
@click.option(
    "--max-percent", type=click.FloatRange(0, 100), default=10.0, show_default=True, help="Most of a table to write."
)
@click.option(
    "--journal-days",
    type=click.IntRange(1),
    metavar="N",
    envvar="RECONCILE_JOURNAL_DAYS",
    show_envvar=True,
    help="Forget repairs older than this; without it the journal is kept for good.",
)
@output_options
def repair(**given: Any) -> int:
    """Plan how to make drifted models level again; with --apply, do it, journaled and compared again.

    \b
    reconcile repair -s outcomes                 plan only: writes nothing to the tables
    reconcile repair --plan p.json               the same, into that file
    reconcile repair --plan p.json --apply       run exactly that plan
    reconcile repair --sql p.sql                 the statements too, for review
    reconcile repair --apply --yes --allow-delete
    """

    def run(watcher: Watcher) -> Report:
        from reconcile.repair.run import RepairRequest, repair_run

        asked = RepairRequest(
            plan_file=given["plan_file"],
            apply=given["apply"],
            allow_delete=given["allow_delete"],
            max_rows=given["max_rows"],
            max_percent=given["max_percent"],
            sql_file=given["sql_file"],
            journal_days=given["journal_days"],
            confirm=(lambda planned: True) if given["yes"] else functools.partial(_confirm, given["no_color"]),
        )
        return repair_run(options_of(given), asked, watcher)

    return judging("repair", given, run)


def _confirm(no_color: bool, planned: RepairOutcome) -> bool:
    names = ", ".join(part.name for part in planned.tables)
    said = f"{planned.inserted} rows to insert, {planned.updated} to update, {planned.deleted} to delete in {names}"
    if not sys.stdin.isatty():
        raise ReconcileError(f"{said}: nobody is there to ask, say --yes to write")
    from rich.console import Console

    from reconcile.render.human import print_plan

    print_plan(planned, Console(stderr=True, no_color=no_color or None, highlight=False, emoji=False, markup=False))
    return click.confirm(f"{said}. Write it?", err=True)


@click.command()
@click.argument("run")
@project_options
@click.option("--apply", is_flag=True, help="Restore; without it only count what would be restored.")
@click.option("--output", type=click.Choice(["human", "json"]), default="human", show_default=True)
def undo(run: str, apply: bool, output: str, **given: Any) -> int:
    """Take the repair RUN back, where its rows are still as it left them. An undo can be undone."""
    from reconcile.model_check.run import open_project
    from reconcile.render.text import aim
    from reconcile.repair.undo import undo as run_undo

    try:
        done = run_undo(open_project(options_of(given)), run, apply)
    except ReconcileError as error:
        if output == "json":
            click.echo(json.dumps({"error": str(error), "exit_code": 2}))
        else:
            click.echo(f"Error: {error}", err=True)
        return 2
    code = 1 if done.stale or not apply else 0
    counts = {"insert": done.inserted, "update": done.updated, "delete": done.deleted}
    if output == "json":
        body = {"command": "undo", "undoes": run, "applied": apply, "run_id": done.run_id if apply else None}
        click.echo(json.dumps({**body, "rows": counts, "stale": done.stale, "exit_code": code}))
        return code
    said = ", ".join(f"{count} {action}" for action, count in counts.items())
    click.echo(f"{'restored' if apply else 'would restore'}: {said}; {done.stale} stale (changed since, left alone)")
    click.echo(f"next: reconcile undo {run if not apply else done.run_id} --apply{aim(given['target'])}", err=True)
    return code
