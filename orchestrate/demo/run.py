"""``levelset demo``: the whole loop on real parts, then the old system's accidents, found and fixed."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from orchestrate.dbt import environment, run_dbt
from orchestrate.demo.breakage import break_tables, found_by, mend_key
from orchestrate.errors import Trouble
from orchestrate.servers import postgres as warehouse
from orchestrate.targets import Target

if TYPE_CHECKING:
    from reconcile import Report

_DAY_BEFORE = timedelta(hours=26)  # the first collection looks at yesterday, so that the second has something new
_STEPS = 10


@dataclass
class _Steps:
    """Numbers and times the steps, so that a run can always say where it is and what it cost."""

    console: Console
    number: int = 0

    @contextmanager
    def step(self, title: str) -> Iterator[Callable[[str], None]]:
        self.number += 1
        started = time.monotonic()
        said: list[str] = []
        label = f"[{self.number:>2}/{_STEPS}] {title}"
        # at a terminal the line is written over when the step is done; a log keeps both
        self.console.print(f"{label} …", end="\r" if self.console.is_terminal else "\n")
        yield said.append
        took = time.monotonic() - started
        self.console.print(f"{label}: {', '.join(said) or 'done'} ({took:.1f} s)")


def run_demo(project: Path, source: str | None = None) -> int:
    """Run the demo in a project; 0 when everything was found, fixed and level again.

    Starts from its own data: what an earlier demo loaded is dropped first. Raises Trouble where the warehouse holds
    anything else, or where a step fails.
    """
    from extract.settings import LOCAL, load_settings
    from extract.site.scene import Clock
    from extract.site.server import Site

    settings = load_settings()
    if settings.base_url != LOCAL:
        raise Trouble("the demo breaks tables on purpose and this project reads real posts: run it in another clone")
    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    steps = _Steps(console)
    started = time.monotonic()
    logging.getLogger("extract").setLevel(logging.WARNING)
    target = Target("embedded", project)
    with steps.step("warehouse") as said:
        server = warehouse.start(project)
        said(f"Postgres 18 on a socket in {server.socket}")
        _forget_last_demo(server, target)
    with Site(clock=Clock(datetime.now(UTC) - _DAY_BEFORE, speed=1.0)) as site:
        with steps.step("local site") as said:
            said(f"{len(site.account.posts(site.clock.now()))} posts of {site.account.days} days at {site.url}")
        with steps.step("collect yesterday's state of every post, load it") as said:
            said(_collect(target, site, "backfill", source, console))
        with steps.step("dbt build (full)") as said:
            said(run_dbt(target, "build", "--full-refresh").line())
        with steps.step("a day later: collect what is due, load it") as said:
            site.clock.advance(_DAY_BEFORE.total_seconds())
            said(_collect(target, site, "scheduled", source, console))
    with steps.step("dbt build (incremental: only what the load touched)") as said:
        said(run_dbt(target, "build").line())
    with environment(target.environment()):
        reports = _prove(steps, server, project)
    with steps.step("docs and reports") as said:
        run_dbt(target, "docs", "generate", "--static")
        folder = _write_reports(project, reports)
        said("offline pages")
    console.print(f"\nLevel again, {time.monotonic() - started:.0f} s in all. Look at:")
    console.print(f"  report    {folder / 'drift.html'}   (repair.html beside it; levelset report: the current state)")
    console.print(f"  docs      {project / 'target' / 'static_index.html'}")
    console.print(f"  database  {target.url}   (levelset status; levelset down stops it)")
    return 0


def _forget_last_demo(server: warehouse.Server, target: Target) -> None:
    """Drop what an earlier demo loaded, after making sure that nothing else would go with it."""
    from extract.site.account import Account

    with psycopg.connect(server.conninfo) as connection:
        row = connection.execute("select to_regclass('staging.content_metadata')").fetchone()
        if row is not None and row[0] is not None:
            posted = connection.execute("select tweet_id from staging.content_metadata where tweet_id is not null")
            account, now = Account(), datetime.now(UTC)
            if any(account.find(tweet_id, now) is None for (tweet_id,) in posted):
                raise Trouble(
                    "the embedded warehouse holds posts that are not the demo's, and the demo starts afresh: "
                    "run it in another clone"
                )
        connection.execute("drop schema if exists staging cascade")
    shutil.rmtree(target.pipelines_dir(), ignore_errors=True)


def _collect(target: Target, site: object, job: str, source: str | None, console: Console) -> str:

    from extract.run import collect
    from extract.settings import load_settings
    from extract.site.server import Site

    assert isinstance(site, Site)
    settings = load_settings(source=source)
    columns = (TextColumn("       {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("posts", total=None)

        def tick(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        summary = collect(target.destination(), target.pipelines_dir(), settings, job, site=site, tick=tick)
    if summary.wall:
        raise Trouble(f"the site stopped the collection: {summary.wall}")
    return f"{summary.updated} updated, {summary.skipped} skipped, {summary.failed} without counters"


def _write_reports(project: Path, reports: dict[str, Report]) -> Path:
    """The pages, with the way to the dbt docs, and the drift as JSON; their folder."""
    from reconcile import write_report

    folder = project / ".levelset" / "demo"
    for name, report in reports.items():
        write_report(report, "html", folder / f"{name}.html", project_dir=project)
    write_report(reports["drift"], "json", folder / "drift.json")
    return folder


def _prove(steps: _Steps, server: warehouse.Server, project: Path) -> dict[str, Report]:
    """Level, broken, found, fixed, level: the reports of the drift and of its repair."""
    from reconcile import ProjectArguments, Verdict, apply_repair, check, print_report

    where: ProjectArguments = {"project_dir": project, "profiles_dir": project, "target": "embedded"}
    with steps.step("reconcile check") as said:
        report = check(**where)
        said(f"{report.verdict.value}: {len(report.tables)} tables hold exactly what a full refresh would build")
        if report.verdict is not Verdict.LEVEL:
            print_report(report, steps.console)
            raise Trouble("the tables are not level before anything was broken: this is a bug, please report it")
    with steps.step("break the tables as the old system did") as said:
        broken = break_tables(server.conninfo)
        said("\n         ".join(["", *broken.said]))
    with steps.step("reconcile check, repair, check again") as said:
        drifted = check(**where)
        if found_by(drifted) != broken.keys:
            print_report(drifted, steps.console)
            raise Trouble("reconcile did not find exactly what was broken: this is a bug, please report it")
        print_report(drifted, steps.console)
        repaired = apply_repair(allow_delete=True, max_rows=100, **where)
        print_report(repaired, steps.console)
        mend_key(server.conninfo)
        if repaired.exit_code != 0:
            raise Trouble("the repair did not make the tables level again: this is a bug, please report it")
        said(f"found exactly the {len(broken.keys)} broken rows, repaired them, level again")
    return {"drift": drifted, "repair": repaired}
