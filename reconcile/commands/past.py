"""history, show, report: what earlier runs found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click

from reconcile.commands.common import print_human, write_report
from reconcile.errors import ReconcileError
from reconcile.report import Report


@click.command()
@click.option("--project-dir", type=click.Path(path_type=Path), default=".", help="Where dbt_project.yml is.")
@click.option("--output", type=click.Choice(["human", "json"]), default="human", show_default=True)
def history(project_dir: Path, output: str) -> int:
    """List past runs, oldest first."""
    from reconcile import history as past
    from reconcile.render.text import kinds

    reports = past.read_all(project_dir)
    if output == "json":
        names = ("run_id", "command", "target", "started_at", "verdict", "totals")
        click.echo(json.dumps([{name: r.as_dict()[name] for name in names} for r in reports], indent=2))
        return 0
    for report in reports:
        run = f"{report.run_id}  {report.command:<7} {report.target:<10}"
        click.echo(f"{run} {report.verdict.value:<10} {kinds(report.totals)}")
    return 0


@click.command()
@click.argument("run", required=False)
@click.option("--project-dir", type=click.Path(path_type=Path), default=".", help="Where dbt_project.yml is.")
@click.option("--output", type=click.Choice(["human", "json"]), default="human", show_default=True)
@click.option("--no-color", is_flag=True, help="No colour (NO_COLOR does the same).")
def show(run: str | None, project_dir: Path, output: str, no_color: bool) -> int:
    """Show the report of a past RUN again (default: the latest)."""
    return _past(project_dir, run, lambda report: _shown(report, output, no_color))


def _shown(report: Report, output: str, no_color: bool) -> None:
    if output == "json":
        from reconcile.render import render_json

        click.echo(render_json(report), nl=False)
    else:
        print_human(report, no_color)


@click.command("report")
@click.argument("run", required=False)
@click.option("--project-dir", type=click.Path(path_type=Path), default=".", help="Where dbt_project.yml is.")
@click.option("--html", type=click.Path(path_type=Path), help="Write the HTML report here.")
@click.option("--markdown", type=click.Path(path_type=Path), help="Write the Markdown report here.")
@click.option("--junit", type=click.Path(path_type=Path), help="Write the JUnit report here.")
def report_command(run: str | None, project_dir: Path, **files: Path | None) -> int:
    """Render a past RUN (default: the latest) again, as HTML, Markdown or JUnit."""
    wanted = [(kind, path) for kind, path in files.items() if path is not None]
    if not wanted:
        raise click.UsageError("say where to: --html FILE, --markdown FILE or --junit FILE")

    def write(report: Report) -> None:
        for kind, path in wanted:
            write_report(report, kind, path)
            click.echo(str(path))

    return _past(project_dir, run, write)


def _past(project_dir: Path, run: str | None, use: Callable[[Report], None]) -> int:
    from reconcile import history as past

    try:
        use(past.read(project_dir, run))
    except ReconcileError as error:
        click.echo(f"Error: {error}", err=True)
        return 2
    return 0
