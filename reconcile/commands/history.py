"""``reconcile history``, ``show`` and ``report``: what earlier runs found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconcile.commands.options import (
    console,
    options_of,
    output_format,
    past_options,
    past_state,
    print_human,
    project_options,
)
from reconcile.report.model import Report

if TYPE_CHECKING:
    from reconcile.state.store import State


@click.command()
@past_options
@output_format
def history(output: str, **given: Any) -> int:
    """List past runs, oldest first: those in the state folder, and in schema reconcile of the target's database."""
    from reconcile.render.text import kinds, undone

    reports = past_state(given).reports()
    if output == "json":
        names = ("run_id", "command", "target", "started_at", "verdict", "totals", "undo")
        bodies = [report.as_dict() for report in reports]
        click.echo(json.dumps([{name: body[name] for name in names if name in body} for body in bodies], indent=2))
        return 0
    for report in reports:
        run = f"{report.run_id}  {report.command:<7} {report.target:<10}"
        found = f"{report.verdict.value:<10} {kinds(report.totals)}" if report.undo is None else undone(report.undo)
        click.echo(f"{run} {found}")
    return 0


@click.command()
@click.argument("run", required=False)
@past_options
@output_format
@click.option("--no-color", is_flag=True, help="No colour (NO_COLOR does the same).")
def show(run: str | None, output: str, no_color: bool, **given: Any) -> int:
    """Show the report of a past RUN again (default: the latest)."""
    report = _past(past_state(given), run)
    if output == "json":
        from reconcile.render import render_json

        click.echo(render_json(report), nl=False)
    else:
        print_human(report, no_color)
    return 0


@click.command("report")
@click.argument("run", required=False)
@project_options
@click.option("--html", type=click.Path(path_type=Path), help="Write the page here.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Write the Markdown report here (needs RUN).")
@click.option("--junit", type=click.Path(path_type=Path), help="Write the JUnit report here (needs RUN).")
@output_format
@click.option("--no-color", is_flag=True, help="No colour (NO_COLOR does the same).")
def report_command(run: str | None, html: Path | None, markdown: Path | None, junit: Path | None, **given: Any) -> int:
    """The state of the project over time; with a RUN (an id, or "latest") that run's report again.

    \b
    reconcile report                          open drift, time to repair, fresh sources
    reconcile report --html status.html       the same as a page
    reconcile report latest --html drift.html
    reconcile report latest --junit reconcile.xml
    """
    files = {"html": html, "markdown": markdown, "junit": junit}
    wanted = [(kind, path) for kind, path in files.items() if path is not None]
    if run is None:
        if markdown or junit:
            raise click.UsageError("--markdown and --junit render one run: reconcile report latest --junit FILE")
        return _over_time(given, html)
    if not wanted:
        raise click.UsageError(f"give --html FILE, --markdown FILE or --junit FILE (or: reconcile show {run})")
    from reconcile.render.report_file import write_report

    state = past_state(given)
    report = _past(state, run)
    for kind, path in wanted:
        write_report(report, kind, path, given["project_dir"], state)
        click.echo(str(path))
    return 0


def _over_time(given: dict[str, Any], html: Path | None) -> int:
    from reconcile.overview.assemble import overview
    from reconcile.render.overview import print_overview, render_overview
    from reconcile.render.report_file import write_text

    found = overview(options_of(given))
    if html is not None:
        write_text(html, "html", render_overview(found))
        click.echo(str(html))
    elif given["output"] == "json":
        click.echo(json.dumps(found.as_dict(), ensure_ascii=False, indent=2))
    else:
        print_overview(found, console(given["no_color"]))
    return 0


def _past(state: State, run: str | None) -> Report:
    from reconcile.state import past_runs

    return past_runs.read(state, None if run == "latest" else run)
