"""``levelset schedule``: the four jobs on their cadence, in one process that has dbt and dlt loaded.

A scheduler library says when; the main thread runs the jobs one after the other, since they share one lock anyway. A
job that becomes due while it waits or runs is not run twice: after a night's sleep of the machine each job runs once.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from extract.errors import ExtractError
from extract.process_lock import hold
from extract.setting_names import check_setting_names
from orchestrate.errors import Trouble
from orchestrate.targets import data_folder
from reconcile import write_file

log = logging.getLogger("orchestrate")
EVERY = {"scheduled": 10.0, "velocity": 30.0, "comprehensive": 30.0, "detailed": 120.0}  # minutes
_STOPS_WITHIN = 4.5  # seconds: what is not at an end by then is left; the databases roll it back


@dataclass
class JobState:
    """One job of a schedule; times are ISO 8601, UTC. ``exit_code`` and ``said`` are of its last run."""

    every_minutes: float
    next_at: str | None = None
    running_since: str | None = None
    last_at: str | None = None
    exit_code: int | None = None
    said: str | None = None
    runs: int = 0


@dataclass
class ScheduleState:
    """What ``levelset status`` tells of a schedule; ``pid`` is the process that runs it."""

    pid: int
    target: str
    since: str
    jobs: dict[str, JobState] = field(default_factory=dict)


def load_cadence() -> dict[str, float]:
    """Minutes between two runs, by job: ours, or those of ``[schedule]`` in .dlt/config.toml. 0 leaves a job out.

    Raises Trouble for what is no number of minutes, ExtractError for a job that there is not.
    """
    import dlt
    from dlt.common.configuration.exceptions import ConfigurationValueError

    check_setting_names("schedule", EVERY)
    found = {}
    for job, minutes in EVERY.items():
        try:
            value = dlt.config.get(f"schedule.{job}", expected_type=float)
        except ConfigurationValueError as error:
            raise Trouble(f"schedule.{job} must be a number of minutes") from error
        found[job] = minutes if value is None else value
        if not 0 <= found[job] < float("inf"):
            raise Trouble(f"schedule.{job} must be a number of minutes, not {found[job]}")
    if not any(found.values()):
        raise Trouble("nothing to do: [schedule] leaves every job out")
    return {job: minutes for job, minutes in found.items() if minutes}


class Schedule:
    """Runs jobs when they are due, until a signal. ``run`` runs one and tells its exit code and its line.

    ``after`` is called after each job. Both may raise; the schedule goes on. ``say`` is called once when it runs.
    """

    def __init__(
        self,
        project: Path,
        target: str,
        cadence: dict[str, float],
        run: Callable[[str], tuple[int, str]],
        after: Callable[[], None] = lambda: None,
        say: Callable[[str], None] = log.info,
    ) -> None:
        self._project = project
        self._run = run
        self._after = after
        self._say = say
        self._due: dict[str, None] = {}  # a queue without repeats: the order in which they became due
        self._changed = threading.Condition()
        self._leaving: threading.Timer | None = None
        self._state = ScheduleState(os.getpid(), target, _now(), {job: JobState(cadence[job]) for job in cadence})

    def run_until_stopped(self) -> int:
        """0 after SIGTERM, 130 after Ctrl-C. Raises ExtractError where another schedule runs in this project."""
        from apscheduler.schedulers.background import BackgroundScheduler

        who = f"levelset schedule --target {self._state.target}"
        refusal = f"another `levelset schedule` is at work in {self._project}: stop it first"
        with hold(data_folder(self._project) / "schedule.lock", who, refusal):
            timer = BackgroundScheduler(
                timezone=UTC, job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
            )
            for job, state in self._state.jobs.items():
                at = {"id": job, "args": [job], "next_run_time": datetime.now(UTC)}
                timer.add_job(self._enqueue, "interval", minutes=state.every_minutes, **at)
            before = {}
            try:
                for number in (signal.SIGTERM, signal.SIGINT):
                    before[number] = signal.signal(number, self._stop)
                timer.start()
                cadence = ", ".join(f"{job} every {each.every_minutes:g} min" for job, each in self._state.jobs.items())
                self._say(f"{cadence}: SIGTERM or Ctrl-C stops")
                while True:
                    self._run_one(self._next(), timer)
            except _Stopped as stopped:
                log.info("Stopped: what was half done is rolled back, the next start goes on")
                return stopped.exit_code
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)
                if timer.running:
                    timer.shutdown(wait=False)
                state_path(self._project).unlink(missing_ok=True)
                gc.unfreeze()
                if self._leaving is not None:
                    self._leaving.cancel()

    def _stop(self, number: int, _frame: object) -> None:
        """End what runs; where it does not end in time, leave it."""
        exit_code = 0 if number == signal.SIGTERM else 130
        if self._leaving is None:
            self._leaving = threading.Timer(_STOPS_WITHIN, _leave, [exit_code])
            self._leaving.daemon = True
            self._leaving.start()
        raise _Stopped(exit_code)

    def _enqueue(self, job: str) -> None:
        with self._changed:
            self._due.setdefault(job)
            self._changed.notify()

    def _next(self) -> str:
        with self._changed:
            while not self._due:
                self._changed.wait(1.0)  # a signal's handler runs between two waits
            job = next(iter(self._due))
            del self._due[job]
            return job

    def _run_one(self, job: str, timer: Any) -> None:
        state = self._state.jobs[job]
        state.running_since = _now()
        self._keep(timer)
        try:
            state.exit_code, state.said = self._run(job)
        except (Trouble, ExtractError) as error:
            state.exit_code, state.said = 2, str(error)
            log.error("%s: %s", job, error)
        except Exception as error:  # a job's bug must not end the others
            state.exit_code, state.said = 2, f"{type(error).__name__}: {error}"[:300]
            log.exception("%s failed: please report this", job)
        state.runs += 1
        state.last_at, state.running_since = state.running_since, None
        try:
            self._after()
        except (Trouble, ExtractError) as error:
            log.error("after %s: %s", job, error)
        except Exception:  # nor one in what follows it
            log.exception("what follows %s failed: please report this", job)
        self._keep(timer)
        if sum(each.runs for each in self._state.jobs.values()) == 1:
            gc.collect()
            gc.freeze()  # what dbt and dlt have loaded stays: looking through it at each collection is for nothing

    def _keep(self, timer: Any) -> None:
        for entry in timer.get_jobs():
            self._state.jobs[entry.id].next_at = entry.next_run_time.isoformat(timespec="seconds")
        try:
            text = json.dumps(asdict(self._state), indent=1)
            write_file(state_path(self._project), text)
        except OSError as error:
            log.warning("the schedule's state could not be kept (%s): levelset status shows an old one", error.strerror)


class _Stopped(KeyboardInterrupt):
    """dbt, dlt and reconcile end what they do at a KeyboardInterrupt, and pass it on."""

    def __init__(self, exit_code: int) -> None:
        self.exit_code = exit_code


def _leave(exit_code: int) -> None:
    log.warning("The job did not end in time and is left: nothing is half-loaded, the next start goes on")
    sys.stderr.flush()
    os._exit(exit_code)


def state_path(project: Path) -> Path:
    return data_folder(project) / "schedule.json"


def read_state(project: Path) -> ScheduleState | None:
    """The state of the schedule that runs in this project; None where none does, or its file is no such thing."""
    try:
        found = json.loads(state_path(project).read_text(encoding="utf-8"))
        jobs = {name: JobState(**state) for name, state in found.pop("jobs").items()}
        state = ScheduleState(**found, jobs=jobs)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    try:
        os.kill(state.pid, 0)
    except PermissionError:
        return state  # another user's process: it lives
    except OSError:
        return None
    return state


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
