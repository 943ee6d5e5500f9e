"""What `levelset status` shows: the server, the last load, the last verdict, the schedule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import psycopg

from orchestrate.jobs.schedule import ScheduleState, read_state
from orchestrate.servers import postgres as warehouse
from orchestrate.targets import Target
from reconcile import history


@dataclass(frozen=True)
class PipelineStatus:
    """``database`` is a URL without a password; times are UTC; None where there is nothing to tell."""

    up: bool
    database: str
    data: str
    export: str | None
    snapshots: int | None
    last_load: str | None
    last_verdict: str | None
    schedule: ScheduleState | None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def lines(self) -> Iterator[str]:
        """For people: a line a field, and one a job of a schedule that runs."""
        for name, value in self.as_dict().items():
            if name != "schedule":
                yield f"{name.replace('_', ' '):<12} {value if value is not None else '-'}"
        if self.schedule is None:
            yield f"{'schedule':<12} -"
            return
        yield f"{'schedule':<12} process {self.schedule.pid} on {self.schedule.target}, since {self.schedule.since}"
        for name, job in self.schedule.jobs.items():
            now = f"running since {job.running_since}" if job.running_since else f"next {job.next_at or '-'}"
            last = f"last {job.last_at}, exit {job.exit_code}: {job.said}" if job.last_at else "not run yet"
            yield f"  {name:<13} every {job.every_minutes:g} min; {now}; {last}"


def find_status() -> PipelineStatus:
    """Look, and change nothing. Raises Trouble outside a project."""
    project = warehouse.main_project()
    server = warehouse.locate(project)
    up = warehouse.is_running(server)
    snapshots, last_load = _loaded(server) if up else (None, None)
    judged = (report for report in reversed(history(project_dir=project, database=False)) if report.undo is None)
    last_verdict = next((f"{one.verdict.value} ({one.target}, {one.finished_at})" for one in judged), None)
    url = Target("embedded", project).url
    return PipelineStatus(
        up, url, str(server.data), server.export_line, snapshots, last_load, last_verdict, read_state(project)
    )


def _loaded(server: warehouse.Server) -> tuple[int | None, str | None]:
    with psycopg.connect(server.conninfo) as connection:
        row = connection.execute("select to_regclass('staging.real_tweet_metrics')").fetchone()
        if row is None or row[0] is None:
            return None, None
        found = connection.execute("select count(*), max(collected_at) from staging.real_tweet_metrics").fetchone()
        assert found is not None
        return found[0], found[1].isoformat() if found[1] else None
