"""What the commands share: dbt's flags, the flags of the output, and how a command that judges runs and ends."""

from __future__ import annotations

import functools
import json
import logging
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from reconcile.commands.logging import LEVELS, log_to_stderr
from reconcile.errors import ReconcileError
from reconcile.report.diagnosis import Diagnosis, Level
from reconcile.report.model import Report
from reconcile.report.progress import Watcher

if TYPE_CHECKING:
    from rich.console import Console

    from reconcile.api import ProjectArguments
    from reconcile.dbt.project import Options
    from reconcile.state.store import State

log = logging.getLogger("reconcile")
REPORTS = ("json", "markdown", "junit", "html", "github")


_PLACE = [
    click.option("-t", "--target", metavar="NAME", help="Target of the profile."),
    click.option("--profile", metavar="NAME", help="Profile to use."),
    click.option("--project-dir", type=click.Path(path_type=Path), default=".", help="Where dbt_project.yml is."),
    click.option("--profiles-dir", type=click.Path(path_type=Path), help="Where profiles.yml is."),
    click.option("--vars", metavar="YAML", help="Variables, as dbt takes them."),
]
_STATE = [
    click.option(
        "--state-dir",
        type=click.Path(path_type=Path),
        envvar="RECONCILE_STATE_DIR",
        show_envvar=True,
        help="Folder for build times, proofs and past runs (default: reconcile in dbt's target folder).",
    ),
    click.option(
        "--keep-days",
        type=click.IntRange(1),
        default=90,
        show_default=True,
        envvar="RECONCILE_KEEP_DAYS",
        show_envvar=True,
        help="How long schema reconcile of the database keeps them.",
    ),
]


def project_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The flags that dbt has too, under dbt's names."""
    options = [
        click.option("-s", "--select", multiple=True, metavar="SELECT", help="Models, in dbt's selection syntax."),
        click.option("--exclude", multiple=True, metavar="SELECT", help="Models to leave out."),
        click.option("--selector", metavar="NAME", help="A selector of selectors.yml."),
        click.option(
            "--state", type=click.Path(path_type=Path), help="Artefacts to compare with, for state: selection."
        ),
        *_PLACE,
        click.option("--threads", type=click.IntRange(1), help="Models judged at once."),
        click.option(
            "--lock-timeout",
            type=click.FloatRange(0.1),
            default=10.0,
            show_default=True,
            help="Seconds to wait for a table that another session has locked.",
        ),
        click.option(
            "--upstream",
            type=click.Choice(["deep", "shallow"]),
            default="deep",
            show_default=True,
            help="deep: inline upstream models down to the sources; shallow: read their tables.",
        ),
        *_STATE,
    ]
    return _with(command, options)


def past_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The flags of a command that reads past runs: where the project, its database and its files are."""
    return _with(command, [*_PLACE, _STATE[0]])


def project_state(given: dict[str, Any]) -> State:
    """Where the runs of ``project_options`` are kept."""
    from reconcile.dbt.project_state import state_of

    return state_of(options_of(given))


def past_state(given: dict[str, Any]) -> State:
    """Where the runs of ``past_options`` are."""
    from reconcile.dbt.project_state import state_of

    return state_of(past_options_of(given))


def past_options_of(given: dict[str, Any]) -> Options:
    from reconcile.dbt.project import Options

    names = ("project_dir", "profiles_dir", "profile", "target", "vars", "state_dir")
    return Options(**{name: given[name] for name in names})


output_format = click.option("--output", type=click.Choice(["human", "json"]), default="human", show_default=True)


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    options = [
        output_format,
        click.option(
            "--report", multiple=True, metavar="FORMAT=FILE", help=f"Also write a report: {', '.join(REPORTS)}."
        ),
        click.option("--no-color", is_flag=True, help="No colour (NO_COLOR does the same)."),
        click.option("-q", "--quiet", is_flag=True, help="No progress."),
        click.option(
            "--log-format",
            type=click.Choice(["text", "json"]),
            default="text",
            help="Form of logs and progress on stderr.",
        ),
        click.option("--log-level", type=click.Choice(LEVELS), help="Lowest level of logs (default: warning)."),
    ]
    return _with(command, options)


def limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    options = [
        click.option(
            "--max-rows",
            type=click.IntRange(1),
            default=10_000,
            show_default=True,
            help="Most rows to write per table.",
        ),
        click.option(
            "--max-percent",
            type=click.FloatRange(0, 100),
            default=10.0,
            show_default=True,
            help="Largest share of a table's rows to write.",
        ),
    ]
    return _with(command, options)


def _with(command: Callable[..., Any], options: list[Callable[..., Any]]) -> Callable[..., Any]:
    return functools.reduce(lambda wrapped, option: option(wrapped), reversed(options), command)


def arguments_of(given: dict[str, Any]) -> ProjectArguments:
    """The flags of ``project_options`` as the Python API takes them."""
    from reconcile.api import ProjectArguments

    return cast("ProjectArguments", {name: given[name] for name in ProjectArguments.__annotations__})


def options_of(given: dict[str, Any]) -> Options:
    from reconcile.api import project_options as options

    return options(arguments_of(given))


def print_findings(findings: Iterable[Diagnosis], output: str) -> int:
    """Print what doctor, setup or teardown found, each at once; 2 if one of them is trouble, else 0."""
    found: list[Diagnosis] = []
    try:
        for finding in findings:
            found.append(finding)
            if output == "human":
                click.echo(finding.line())
    except ReconcileError as error:
        found.append(Diagnosis(Level.TROUBLE, "project", str(error)))
        click.echo(f"Error: {error}", err=True)
    code = 2 if any(finding.level is Level.TROUBLE for finding in found) else 0
    if output == "json":
        click.echo(json.dumps({"findings": [finding.as_dict() for finding in found], "exit_code": code}, indent=2))
    return code


def judging(
    command: str, given: dict[str, Any], run: Callable[[Watcher], Report], find_state: Callable[[], State]
) -> int:
    """Run a command that judges, keep and print its report; an expected failure becomes a report with an error."""
    from reconcile.render.progress import watcher_for
    from reconcile.report.run_id import named_run

    find_state = functools.cache(find_state)
    targets = [_report_target(value) for value in given["report"]]
    with named_run() as run_id:
        log_to_stderr(given["log_format"], given["log_level"], run_id)
        try:
            with watcher_for(given["quiet"], given["no_color"], given["log_format"]) as watcher:
                report = run(watcher)
            if (given["project_dir"] / "dbt_project.yml").exists():
                find_state().keep_report(report)
        except ReconcileError as error:
            report = _failed(command, given, str(error))
    from reconcile.render.report_file import write_report

    for kind, path in targets:
        write_report(report, kind, path, given["project_dir"], find_state())
    if given["output"] == "json":
        from reconcile.render import render_json

        click.echo(render_json(report), nl=False)
    elif report.error is not None:
        if given["log_format"] == "json":
            log.error(report.error)
        else:
            click.echo(f"Error: {report.error}", err=True)
    else:
        print_human(report, given["no_color"])
    return report.exit_code


def _failed(command: str, given: dict[str, Any], error: str) -> Report:
    from reconcile.report.run_id import new_run_id, now

    at = now()
    return Report(new_run_id(), command, given["target"] or "", at, at, (), error=error)


def print_human(report: Report, no_color: bool) -> None:
    from reconcile.render.human import print_report

    print_report(report, console(no_color))


def console(no_color: bool) -> Console:
    """A console as wide as the terminal; without one, 120 columns (or COLUMNS)."""
    from rich.console import Console

    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 120
    return Console(no_color=no_color or None, width=width, highlight=False, emoji=False, markup=False)


def _report_target(value: str) -> tuple[str, Path]:
    kind, separator, path = value.partition("=")
    if not separator or not path or kind not in REPORTS:
        raise click.UsageError(f"--report {value}: give FORMAT=FILE, FORMAT one of {', '.join(REPORTS)}")
    return kind, Path(path)
