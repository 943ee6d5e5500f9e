"""The command line. Data goes to stdout, everything else to stderr; expected errors become exit code 2 in one place."""

from __future__ import annotations

import functools
import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from reconcile import VERSION
from reconcile.errors import ReconcileError
from reconcile.report import KINDS, Report, TableReport

INTERRUPTED = 130
_REPORTS = ("json", "markdown", "junit", "html", "github")


def main() -> None:
    """Entry point of the console script ``reconcile``."""
    sys.exit(_run())


def _run() -> int:
    try:
        code = cli(_gathered(sys.argv[1:]), standalone_mode=False)
    except click.exceptions.Exit as left:
        return left.exit_code
    except click.ClickException as error:
        error.show()
        return 2
    except click.Abort:
        click.echo("Interrupted", err=True)
        return INTERRUPTED
    except KeyboardInterrupt:
        click.echo("Interrupted: no transaction was left open", err=True)
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return 2
    return code if isinstance(code, int) else 0


def _gathered(arguments: list[str]) -> list[str]:
    """dbt takes several values after one flag (``-s a b``): fold them into one value with spaces."""
    folded: list[str] = []
    values: list[str] | None = None
    for argument in arguments:
        if values is not None and not argument.startswith("-"):
            values.append(argument)
            continue
        if values is not None:
            folded.append(" ".join(values))
            values = None
        folded.append(argument)
        if argument in ("-s", "--select", "--exclude"):
            values = []
    return folded if values is None else [*folded, " ".join(values)]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(VERSION, prog_name="reconcile")
def cli() -> None:
    """Prove that incremental dbt models hold exactly what a full refresh would build.

    Exit codes: 0 level, 1 drift, 2 trouble or not judged, 130 interrupted.
    """


def project_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The flags that dbt has, under dbt's names."""
    options = [
        click.option("-s", "--select", multiple=True, metavar="SELECT", help="Models, in dbt's selection syntax."),
        click.option("--exclude", multiple=True, metavar="SELECT", help="Models to leave out."),
        click.option("--selector", metavar="NAME", help="A selector of selectors.yml."),
        click.option(
            "--state", type=click.Path(path_type=Path), help="Artefacts to compare with, for state: selection."
        ),
        click.option("-t", "--target", metavar="NAME", help="Target of the profile."),
        click.option("--profile", metavar="NAME", help="Profile to use."),
        click.option("--project-dir", type=click.Path(path_type=Path), default=".", help="Where dbt_project.yml is."),
        click.option("--profiles-dir", type=click.Path(path_type=Path), help="Where profiles.yml is."),
        click.option("--vars", metavar="YAML", help="Variables, as dbt takes them."),
        click.option("--threads", type=click.IntRange(1), help="Models judged at once."),
        click.option(
            "--upstream",
            type=click.Choice(["deep", "shallow"]),
            default="deep",
            show_default=True,
            help="Inline upstream models down to the sources, or take them as the tables they are.",
        ),
    ]
    return _with(command, options)


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    options = [
        click.option("--output", type=click.Choice(["human", "json"]), default="human", show_default=True),
        click.option(
            "--report", multiple=True, metavar="FORMAT=FILE", help=f"Also write a report: {', '.join(_REPORTS)}."
        ),
        click.option("--no-color", is_flag=True, help="No colour (NO_COLOR does the same)."),
        click.option("-q", "--quiet", is_flag=True, help="No progress."),
    ]
    return _with(command, options)


def _with(command: Callable[..., Any], options: list[Callable[..., Any]]) -> Callable[..., Any]:
    return functools.reduce(lambda wrapped, option: option(wrapped), reversed(options), command)


def _options(given: dict[str, Any]) -> Any:
    from reconcile.project import Options

    names = (
        "project_dir",
        "profiles_dir",
        "profile",
        "target",
        "select",
        "exclude",
        "selector",
        "state",
        "vars",
        "threads",
    )
    lists = {name: tuple(word for value in given[name] for word in value.split()) for name in ("select", "exclude")}
    return Options(**{**{name: given[name] for name in names}, **lists, "upstream": given["upstream"]})


def _judging(command: str, given: dict[str, Any], run: Callable[[Callable[[TableReport], None]], Report]) -> int:
    """Run a judging command, render its report, keep it, and turn what is expected to fail into exit code 2."""
    from reconcile import history

    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(message)s")
    targets = [_report_target(value) for value in given["report"]]

    def progress(table: TableReport) -> None:
        if not given["quiet"]:
            click.echo(f"{table.name}: {table.verdict.value} ({table.elapsed_ms / 1000:.2f} s)", err=True)

    try:
        report = run(progress)
        history.keep(report, given["project_dir"])
    except ReconcileError as error:
        report = _failed(command, given, str(error))
    for kind, path in targets:
        _write_report(report, kind, path)
    if given["output"] == "json":
        from reconcile.render import render_json

        click.echo(render_json(report), nl=False)
    elif report.error is not None:
        click.echo(f"Error: {report.error}", err=True)
    else:
        _print(report, given["no_color"])
    return report.exit_code


def _failed(command: str, given: dict[str, Any], error: str) -> Report:
    from reconcile.check import new_run_id, now

    at = now()
    return Report(new_run_id(), command, given["target"] or "", at, at, (), error=error)


def _print(report: Report, no_color: bool) -> None:
    from rich.console import Console

    from reconcile.render.human import print_report

    width = None if sys.stdout.isatty() else 120
    print_report(report, Console(no_color=no_color or None, width=width, highlight=False, emoji=False, markup=False))


def _report_target(value: str) -> tuple[str, Path]:
    kind, separator, path = value.partition("=")
    if not separator or not path or kind not in _REPORTS:
        raise click.UsageError(f"--report {value}: give FORMAT=FILE, FORMAT one of {', '.join(_REPORTS)}")
    return kind, Path(path)


def _write_report(report: Report, kind: str, path: Path) -> None:
    from reconcile.render import FORMATS

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(FORMATS[kind](report), encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"cannot write the {kind} report to {path}: {error.strerror}") from error


@cli.command()
@project_options
@click.option(
    "--fail-on", metavar="KINDS", help=f"Only these kinds exit with 1: {', '.join(KINDS)} (default: all but pending)."
)
@output_options
def check(fail_on: str | None, **given: Any) -> int:
    """Compare every selected incremental model with its own definition, row by row.

    \b
    reconcile check
    reconcile check -s outcomes --output json
    reconcile check -s tag:hourly --report junit=reconcile.xml
    """
    kinds = tuple(kind.strip() for kind in (fail_on or "").split(",") if kind.strip())
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise click.UsageError(f"--fail-on {unknown[0]}: the kinds are {', '.join(KINDS)}")

    def run(progress: Callable[[TableReport], None]) -> Report:
        from reconcile.check import check as run_check

        return run_check(_options(given), kinds, progress)

    return _judging("check", given, run)


@cli.command()
@project_options
@click.option(
    "--plan", "plan_file", type=click.Path(path_type=Path), help="Write the plan here; with --apply, run this one."
)
@click.option("--apply", is_flag=True, help="Write to the tables.")
@click.option("--yes", is_flag=True, help="Do not ask before writing.")
@click.option("--allow-delete", is_flag=True, help="Let rows be deleted.")
@click.option(
    "--max-rows", type=click.IntRange(1), default=10_000, show_default=True, help="Most rows to write in a table."
)
@click.option(
    "--max-percent", type=click.FloatRange(0, 100), default=10.0, show_default=True, help="Most of a table to write."
)
@output_options
def repair(**given: Any) -> int:
    """Plan how to make drifted models level again; with --apply, do it, journaled and compared again.

    \b
    reconcile repair -s outcomes                 plan only: writes nothing to the tables
    reconcile repair --plan p.json               the same, into that file
    reconcile repair --plan p.json --apply       run exactly that plan
    reconcile repair --apply --yes --allow-delete
    """

    def run(progress: Callable[[TableReport], None]) -> Report:
        from reconcile.repairing import Asked, repair_run

        asked = Asked(
            plan_file=given["plan_file"],
            apply=given["apply"],
            allow_delete=given["allow_delete"],
            max_rows=given["max_rows"],
            max_percent=given["max_percent"],
            confirm=(lambda said: True) if given["yes"] else _confirm,
        )
        return repair_run(_options(given), asked, progress)

    return _judging("repair", given, run)


def _confirm(said: str) -> bool:
    if not sys.stdin.isatty():
        raise ReconcileError(f"{said}: nobody is there to ask, say --yes to write")
    return click.confirm(f"{said}. Write it?", err=True)


@cli.command()
@click.argument("run")
@project_options
@click.option("--apply", is_flag=True, help="Restore; without it only count what would be restored.")
@click.option("--output", type=click.Choice(["human", "json"]), default="human", show_default=True)
def undo(run: str, apply: bool, output: str, **given: Any) -> int:
    """Take the repair RUN back, where its rows are still as it left them. An undo can be undone."""
    from reconcile.check import open_project
    from reconcile.repair import undo as run_undo

    try:
        done = run_undo(open_project(_options(given)), run, apply)
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
    click.echo(f"next: reconcile undo {run if not apply else done.run_id} --apply", err=True)
    return code


@cli.command()
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


@cli.command()
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
        _print(report, no_color)


@cli.command("report")
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
            _write_report(report, kind, path)
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
