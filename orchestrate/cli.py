"""The command lines ``levelset`` and ``extract``."""

from __future__ import annotations

import csv
import json
import logging
import signal
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from extract import VERSION
from orchestrate.errors import Trouble
from orchestrate.jobs.steps import log_to_stderr, say_trouble
from orchestrate.server_commands import copy, down, psql, up

if TYPE_CHECKING:
    from extract.reading.record import Reading


def main() -> None:
    """Entry point of the console script ``levelset``."""
    sys.exit(_leave(levelset))


def extract_main() -> None:
    """Entry point of the console script ``extract``."""
    sys.exit(_leave(extract))


def _leave(group: click.Group) -> int:
    def run() -> int:
        try:
            code = group(standalone_mode=False)
        except click.exceptions.Exit as left:
            return left.exit_code
        except click.ClickException as error:
            error.show()
            return 2
        except click.Abort:
            raise KeyboardInterrupt from None
        return code if isinstance(code, int) else 0

    return say_trouble(run)


_SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@click.group(context_settings=_SETTINGS)
@click.version_option(VERSION, prog_name="levelset")
def levelset() -> None:
    """Engagement metrics whose tables provably agree: the embedded warehouse and the demo."""


for _command in (up, down, psql, copy):
    levelset.add_command(_command)


@levelset.command()
@click.option("--target", "-t", metavar="NAME", help="Target of profiles.yml (default: as dbt chooses).")
@click.option("--output", type=click.Choice(["human", "json"]), default="human", show_default=True)
@click.option(
    "--prometheus", type=click.Path(path_type=Path), metavar="FILE", help="Write a text file collector's file."
)
def health(target: str | None, output: str, prometheus: Path | None) -> int:
    """Tell whether all is well: posts overdue, loads, quarantine, open drift, slots, disk.

    \b
    Exit codes: 0 healthy (warnings are shown), 1 something fails, 2 it cannot be measured.
    Limits: [health] of .dlt/config.toml; a change is posted to the secret health.webhook.
    """
    import dlt

    from orchestrate.monitoring.health import find_health, keep, tell_change
    from orchestrate.servers.postgres import main_project
    from orchestrate.targets import choose

    log_to_stderr(logging.WARNING)
    where = choose(main_project(), target)
    found = find_health(where)
    if output == "json":
        click.echo(json.dumps(found.as_dict(), indent=2))
    else:
        for finding in found.findings:
            click.echo(f"{finding.state.value:<5} {finding.check:<12} {finding.said}")
    if prometheus is not None:
        keep(prometheus, found.prometheus())
    webhook: object = dlt.secrets.get("health.webhook")
    tell_change(found, where.project, str(webhook) if webhook else None)
    return found.exit_code


@levelset.command()
@click.option("--output", type=click.Choice(["human", "json"]), default="human", show_default=True)
def status(output: str) -> int:
    """Show the embedded warehouse, the last load and the last verdict. Exits with 1 where it is not up."""
    from orchestrate.monitoring.status import find_status

    found = find_status()
    if output == "json":
        click.echo(json.dumps(found.as_dict(), indent=2))
    else:
        for line in found.lines():
            click.echo(line)
    return 0 if found.up else 1


@levelset.command()
@click.option("--source", type=click.Choice(["browser", "http"]), help="How posts are read (default: as configured).")
def demo(source: str | None) -> int:
    """Run the whole loop on made-up posts: scrape, load, build, reconcile; then break the tables and fix them."""
    from orchestrate.demo.run import run_demo
    from orchestrate.servers import postgres as warehouse

    log_to_stderr(logging.WARNING)
    return run_demo(warehouse.main_project(), source)


@levelset.command()
@click.argument("job", type=click.Choice(["scheduled", "velocity", "comprehensive", "detailed"]))
@click.option("--target", "-t", metavar="NAME", help="Target of profiles.yml (default: as dbt chooses).")
@click.option(
    "--wait", type=click.FloatRange(min=0), default=600.0, show_default=True, help="Seconds to wait for another run."
)
def run(job: str, target: str | None, wait: float) -> int:
    """Run one job end to end: collect what is due, load it, build what it concerns, prove that it is level.

    \b
    Exit codes: 0 level, 1 drift, 2 trouble or not judged, 3 stopped at a wall of the site, 130 interrupted.
    """
    from rich.console import Console

    from orchestrate.jobs.run_job import run_job
    from orchestrate.servers.postgres import main_project
    from orchestrate.targets import choose
    from orchestrate.tracing import traced
    from reconcile import LogProgress, print_report

    log_to_stderr()
    with traced():
        done = run_job(choose(main_project(), target), job, wait, LogProgress())
    if done.report.exit_code:
        print_report(done.report, Console(stderr=True, highlight=False, emoji=False, markup=False))
    click.echo(done.line())
    return done.exit_code


@levelset.command()
@click.option("--target", "-t", metavar="NAME", help="Target of profiles.yml (default: as dbt chooses).")
def schedule(target: str | None) -> int:
    """Run the four jobs on their cadence until SIGTERM: every 10, 30, 30 and 120 minutes ([schedule] of the config).

    \b
    One job at a time, in one process; a line each on stdout. `levelset status` shows the next and the last runs.
    Exit codes: 0 stopped by SIGTERM, 2 it cannot start, 130 by Ctrl-C.
    """
    import dlt

    from orchestrate.jobs.run_job import run_job
    from orchestrate.jobs.schedule import Schedule, load_cadence
    from orchestrate.monitoring.health import find_health, tell_change
    from orchestrate.servers.postgres import main_project
    from orchestrate.targets import choose
    from orchestrate.tracing import traced
    from reconcile import LogProgress

    log_to_stderr()
    where = choose(main_project(), target)
    webhook: object = dlt.secrets.get("health.webhook")

    def run(job: str) -> tuple[int, str]:
        done = run_job(where, job, 600.0, LogProgress())
        say(done.line())
        return done.exit_code, done.line()

    def tell_health() -> None:
        if webhook:
            tell_change(find_health(where), where.project, str(webhook))

    def say(line: str) -> None:
        click.echo(line)
        sys.stdout.flush()

    with traced():
        return Schedule(where.project, where.name, load_cadence(), run, tell_health, say).run_until_stopped()


@levelset.command()
@click.argument("address", required=False, metavar="[URL]")
@click.option("--schema", metavar="NAME", help="Schema of the old tables (default: the connection's own).")
@click.option("--table", "tables", multiple=True, metavar="NAME", help="Only this table; can be repeated.")
@click.option("--target", "-t", metavar="NAME", help="Target of profiles.yml to copy into (default: as dbt chooses).")
def backfill(address: str | None, schema: str | None, tables: tuple[str, ...], target: str | None) -> int:
    """Copy the old outcomes, learning_posts and tweet_metrics into schema legacy, to compare ours with.

    Without a URL the database is dlt's secret sources.legacy.credentials. See docs/how-to/migrate.md.
    """
    from orchestrate.backfill import TABLES, backfill
    from orchestrate.servers.postgres import main_project
    from orchestrate.targets import choose

    log_to_stderr(logging.WARNING)
    where = choose(main_project(), target)
    found = backfill(where.destination(), where.pipelines_dir(), address, schema, tables or TABLES)
    for name, rows in found.rows.items():
        click.echo(f"legacy.{name}: {rows:,} rows")
    click.echo(f"next: dbt build -s legacy_differences --vars '{{legacy: [{', '.join(found.rows)}]}}'")
    return 0


@levelset.command()
@click.option("--target", "-t", metavar="NAME", help="Target of profiles.yml (default: as dbt chooses).")
@click.option("--open", "show", is_flag=True, help="Open the page in the browser.")
def docs(target: str | None, show: bool) -> int:
    """Build the dbt docs: one page that works offline (target/static_index.html)."""
    from orchestrate.jobs.steps import docs_command

    click.echo("reading the warehouse and building the page …", err=True)
    page = docs_command(target)
    click.echo(page)
    if show and click.launch(str(page)) != 0:
        raise Trouble(f"no browser could be opened: open {page} yourself")
    return 0


@levelset.command()
@click.option("--target", "-t", metavar="NAME", help="Target of profiles.yml (default: as dbt chooses).")
@click.option("--no-open", is_flag=True, help="Write the page and say where, without opening it.")
def report(target: str | None, no_open: bool) -> int:
    """Write and open the page of the current state: open drift, time to repair, fresh sources, extraction."""
    from orchestrate.jobs.steps import report_command

    page = report_command(target)
    click.echo(page)
    if not no_open and sys.stdout.isatty() and click.launch(str(page)) != 0:
        raise Trouble(f"no browser could be opened: open {page} yourself")
    return 0


@click.group(context_settings=_SETTINGS)
@click.version_option(VERSION, prog_name="extract")
def extract() -> None:
    """Read posts' engagement. `dlt pipeline engagement run` collects and loads; these commands look."""


@extract.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, allow_dash=True))
@click.option("--json", "as_json", is_flag=True, help="JSON lines, one object a record.")
def read(files: tuple[Path, ...], as_json: bool) -> int:
    """Read recorded answers and print one record for each post in them ("-": standard input).

    \b
    A file is an answer of X, Bluesky or Mastodon (JSON or a page), JSON lines, a HAR file, a part of the archive
    of an X account (tweets.js), the official export (CSV), any of these packed by gzip, or a folder of them.

    Exits with 1 where no post was read, 2 where a file cannot be read.
    """
    from extract.answers.reader import read_file_content
    from extract.errors import ExtractError
    from extract.reading.record import READ, Status
    from extract.sources.files import files_of, read_recording

    code, read_any = 0, False
    for file in (inner for path in files for inner in files_of(path)):
        try:
            stdin = str(file) == "-"
            answers = read_file_content(sys.stdin.buffer.read()) if stdin else read_recording(file)
        except ExtractError as error:
            click.echo(f"Error: {error}", err=True)
            code = 2
            continue
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            click.echo(f"Error: cannot read {file}: {getattr(error, 'strerror', None) or error}", err=True)
            code = 2
            continue
        readings = [reading for answer in answers for reading in answer.readings]
        count = sum(reading.status in READ - {Status.REPOST} for reading in readings)
        read_any = read_any or count > 0
        kinds = ", ".join(dict.fromkeys(answer.kind for answer in answers))
        if not as_json:
            click.echo(f"{file}: {kinds}: {count} posts read, {len(readings) - count} not")
        for reading in readings:
            _print_reading(reading, as_json)
    return code or int(not read_any)


def _print_reading(reading: Reading, as_json: bool) -> None:
    record = reading.as_json()
    if as_json:
        click.echo(json.dumps(record, ensure_ascii=False))
        return
    counters = " ".join(f"{k}={'-' if v is None else v}" for k, v in reading.counters.values().items())
    why = f" ({reading.detail})" if reading.detail else ""
    click.echo(f"{record['tweet_id'] or '(no id)'} {record['status']} {counters}{why}")
    for warning in reading.warnings:
        click.echo(f"  {warning}")


@extract.command()
@click.option("--job", default="scheduled", show_default=True, help="The job whose posts to list.")
@click.option("-t", "--target", help="Target of profiles.yml (default: $DBT_TARGET, embedded).")
@click.option("--json", "as_json", is_flag=True, help="JSON lines, one object a post.")
def due(job: str, target: str | None, as_json: bool) -> int:
    """List the posts that a job would collect now, and why."""
    from extract.due import JOBS
    from extract.due import due as find_due
    from extract.settings import load_settings
    from extract.staging.known_state import candidates
    from extract.staging.pipeline import make_pipeline
    from orchestrate.servers.postgres import main_project
    from orchestrate.targets import choose

    if job not in JOBS:
        raise Trouble(f"no job {job!r}: one of {', '.join(JOBS)}")
    where = choose(main_project(), target)
    settings = load_settings()
    known = candidates(make_pipeline(where.destination(), where.pipelines_dir()), settings.network)
    found = find_due(job, known, datetime.now(UTC), settings.schedule, settings.budget)
    for item in found:
        post = item.candidate
        read_at = post.last_reading.isoformat() if post.last_reading else None
        what = {"tweet_id": post.tweet_id, "type": post.decision_type, "posted_at": post.posted_at.isoformat()}
        record = {**what, "phase": item.phase, "reason": item.reason, "last_reading": read_at}
        click.echo(json.dumps(record) if as_json else "  ".join(str(value or "-") for value in record.values()))
    if not found and not as_json:
        click.echo(f"nothing is due for {job}", err=True)
    return 0


@extract.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True, help="0 takes a free one.")
@click.option("--now", metavar="ISO", help="Freeze the site's clock here (default: real time).")
@click.option("--speed", type=click.FloatRange(min=0), help="Run the clock this many times as fast.")
@click.option("--seed", type=int, default=7, show_default=True, help="Another seed is another account.")
@click.option("--days", type=click.IntRange(1), default=40, show_default=True, help="How far back the posts go.")
@click.option("--generation", type=click.Choice(["a", "b", "c", "ld"]), default="a", show_default=True)
@click.option("--language", default="en", show_default=True, help="What the pages are written in: en, de, ja, ar, ...")
@click.option("--network", type=click.Choice(["x", "bluesky", "mastodon"]), default="x", show_default=True)
def site(
    port: int, now: str | None, speed: float | None, seed: int, days: int, generation: str, language: str, network: str
) -> int:
    """Serve the local site, with made-up posts, on this machine only, until interrupted."""
    from extract.reading.post_ids import Network
    from extract.site.account import HANDLE, Account
    from extract.site.languages import LANGUAGES
    from extract.site.scene import Clock
    from extract.site.server import Site

    try:
        instant = datetime.fromisoformat(now) if now else None
    except ValueError:
        raise Trouble(f"--now {now} is no ISO time, as 2026-11-24T12:00:00+00:00") from None
    if language not in LANGUAGES:
        raise Trouble(f"no language {language!r}: one of {', '.join(LANGUAGES)}")
    if instant is not None and instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    try:
        account = Account(seed, days, network=Network(network))
        served = Site(account, Clock(instant, speed), port, generation, language)
    except OSError as error:
        raise Trouble(f"port {port} cannot be opened ({error.strerror}): take another with --port, or 0") from error
    with served:
        stopped = _stop_signals()  # before the line that says so: whoever reads it may send one at once
        click.echo(f"{served.url}/{HANDLE}   (Ctrl-C stops)")
        stopped.wait()
    return 0


def _stop_signals() -> threading.Event:
    """Set by SIGINT and SIGTERM."""
    stopped = threading.Event()
    handler: Callable[..., None] = lambda *_: stopped.set()  # noqa: E731
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handler)
    return stopped
