"""``levelset run JOB``: collect, load, build and prove, as one run with one lock, one line and one exit code."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from extract.process_lock import hold
from orchestrate.dbt import environment, parse, run_dbt
from orchestrate.errors import Trouble
from orchestrate.jobs.steps import WALL
from orchestrate.targets import Target, data_folder
from orchestrate.tracing import span
from reconcile import ReconcileError, Report, Verdict, Watcher

if TYPE_CHECKING:
    from extract.site.server import Site

log = logging.getLogger("orchestrate")
_EXCLUDED = "--exclude-resource-type"
# unit tests are of the SQL and not of the data: they belong to CI. Data tests are most of a small build's cost: the
# job that builds everything runs them all, the frequent ones are proven by the check
WITHOUT = {
    **dict.fromkeys(("scheduled", "velocity", "comprehensive"), (_EXCLUDED, "unit_test", _EXCLUDED, "test")),
    "detailed": (_EXCLUDED, "unit_test"),
}


@dataclass(frozen=True)
class JobRun:
    """What a run came to, part by part; ``seconds`` by part, in the order in which they ran."""

    job: str
    collected: str
    wall: str | None
    built: str
    report: Report
    seconds: dict[str, float]

    @property
    def exit_code(self) -> int:
        """2 not judged, 1 drift, 3 stopped at a wall of the site with everything else well, 0 all well."""
        return self.report.exit_code or (WALL if self.wall else 0)

    def line(self) -> str:
        level = sum(table.verdict is Verdict.LEVEL for table in self.report.tables)
        verdict = f"{self.report.verdict.value} ({level} of {len(self.report.tables)} tables level)"
        parts = ", ".join(f"{name} {took:.1f} s" for name, took in self.seconds.items())
        wall = f" (stopped: {self.wall})" if self.wall else ""
        return f"{self.job}: {self.collected}{wall}; {self.built}; {verdict}; {parts}"


def run_job(
    target: Target,
    job: str,
    wait: float,
    watcher: Watcher = Watcher(),  # noqa: B008
    site: Site | None = None,
) -> JobRun:
    """Run one job, alone in this project; the job is a selector of selectors.yml too.

    Raises Trouble or ExtractError where a part cannot be done.
    ``wait``: seconds to wait for another run to end; then it leaves. What was loaded stays loaded: the next run's build
    takes it. ``site``: a local site that runs already, for the ``base_url`` "local" (None: one is started for the run).
    """
    from extract.run import collect
    from extract.settings import load_settings

    seconds: dict[str, float] = {}

    @contextmanager
    def part(name: str) -> Iterator[None]:
        log.info("%s: %s", job, name)
        began = time.monotonic()
        with span(name):
            yield
        seconds[name] = time.monotonic() - began

    refusal = f"another `levelset run` is at work in {target.project}: run again later, or --wait longer"
    # the loader and dbt must not overlap
    lock = data_folder(target.project) / "run.lock"
    with span(f"run {job}", target=target.name) as whole, hold(lock, f"levelset run {job}", refusal, wait):
        with part("collect"):
            read = collect(target.destination(), target.pipelines_dir(), load_settings(), job, site=site)
        with part("build"):
            manifest = parse(target)
            built = run_dbt(target, "build", "--selector", job, *WITHOUT[job], manifest=manifest)
        with part("check"), environment(target.environment()):
            report = _check(target, job, watcher, manifest)
        whole.set_attribute("posts.updated", read.updated)
        whole.set_attribute("posts.failed", read.failed)
        whole.set_attribute("verdict", report.verdict.value)
    collected = f"{read.updated} updated, {read.skipped} skipped, {read.failed} failed"
    return JobRun(job, collected, read.wall, built.line(), report, seconds)


def _check(target: Target, job: str, watcher: Watcher, manifest: Any) -> Report:
    from reconcile import check

    try:
        return check(
            project_dir=target.project,
            profiles_dir=target.project,
            target=target.name,
            selector=job,
            watcher=watcher,
            manifest=manifest,
        )
    except ReconcileError as error:
        raise Trouble(str(error)) from error
