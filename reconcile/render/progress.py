"""Progress on stderr: a bar a table at a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import sys
import threading
import time
from contextlib import AbstractContextManager, nullcontext

import click

from reconcile.report.model import TableReport
from reconcile.report.progress import Watcher

log = logging.getLogger("reconcile")
_EVERY = 2.0  # seconds between two lines of one table


def watcher_for(quiet: bool, no_color: bool, log_format: str) -> AbstractContextManager[Watcher]:
    """What to tell a run's user with: nothing, bars, lines, or lines of the log."""
    if quiet:
        return nullcontext(Watcher())
    if log_format == "json":
        return nullcontext(LogProgress())
    return BarProgress(no_color) if sys.stderr.isatty() else nullcontext(LineProgress())


def ended_line(table: TableReport) -> str:
    return f"{table.name}: {table.verdict.value} ({table.elapsed_ms / 1000:.2f} s)"


class _Pace:
    """When a table began and how far it is: what rate and time left are reckoned from."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.told = self.began

    def due(self) -> bool:
        """Whether the last word on it is long enough ago for another."""
        if time.monotonic() - self.told < _EVERY:
            return False
        self.told = time.monotonic()
        return True

    def rate(self, done: int, whole: int | None) -> str:
        """Keys done, and how many a second."""
        return f"{done:,}{f' of about {whole:,}' if whole else ''} keys, {done / self._seconds():,.0f}/s"

    def left(self, done: float, whole: float | None) -> str:
        """ ", 3 s left", as far as that can be reckoned."""
        return f", {max(whole - done, 0) * self._seconds() / done:.0f} s left" if whole and done else ""

    def _seconds(self) -> float:
        return max(time.monotonic() - self.began, 1e-3)


class LineProgress(Watcher):
    """One line per table every two seconds, and one when it is judged."""

    def __init__(self) -> None:
        self._paces: dict[str, _Pace] = {}

    def phase(self, said: str | None) -> None:
        if said is not None:
            self._say(said)

    def began(self, name: str) -> None:
        self._paces[name] = _Pace()

    def step(self, name: str, done: int, whole: int | None) -> None:
        if self._paces[name].due():
            pace = self._paces[name]
            self._say(f"{name}: {pace.rate(done, whole)}{pace.left(done, whole)}", model=name)

    def share(self, name: str, done: float) -> None:
        if self._paces[name].due():
            self._say(f"{name}: {done:.0%}{self._paces[name].left(done, 1)}", model=name)

    def ended(self, table: TableReport) -> None:
        found = {"keys_drifted": table.drift.of_rows(), "elapsed_ms": table.elapsed_ms}
        self._say(ended_line(table), model=table.name, verdict=table.verdict.value, **found)

    def _say(self, said: str, **fields: str | int) -> None:
        click.echo(said, err=True)


class LogProgress(LineProgress):
    """The same lines as records of the log, with what they tell of as fields."""

    def _say(self, said: str, **fields: str | int) -> None:
        log.info(said, extra={"fields": fields})


class BarProgress(Watcher, AbstractContextManager["BarProgress"]):
    """A bar a table that is being compared; judged ones leave a line."""

    def __init__(self, no_color: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

        console = Console(stderr=True, no_color=no_color or None, highlight=False, emoji=False, markup=False)
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[said]}"))
        self._progress = Progress(*columns, TimeRemainingColumn(), console=console, transient=True)
        self._tasks: dict[str, TaskID] = {}
        self._paces: dict[str, _Pace] = {}
        self._lock = threading.Lock()
        self._phase: TaskID | None = None

    def __enter__(self) -> BarProgress:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def phase(self, said: str | None) -> None:
        with self._lock:
            self._end_phase()
            if said is not None:
                self._phase = self._progress.add_task(said, total=None, said="")

    def _end_phase(self) -> None:
        if self._phase is not None:
            self._progress.remove_task(self._phase)
            self._phase = None

    def began(self, name: str) -> None:
        with self._lock:
            self._end_phase()
            self._paces[name] = _Pace()
            self._tasks[name] = self._progress.add_task(name, total=None, said="")

    def step(self, name: str, done: int, whole: int | None) -> None:
        said = self._paces[name].rate(done, whole)  # the bar has a column for the time left
        self._progress.update(self._tasks[name], completed=done, total=whole, said=said)

    def share(self, name: str, done: float) -> None:
        self._progress.update(self._tasks[name], completed=done, total=1.0, said=f"{done:.0%}")

    def ended(self, table: TableReport) -> None:
        with self._lock:
            task = self._tasks.pop(table.name, None)
        if task is not None:
            self._progress.remove_task(task)
        self._progress.console.print(ended_line(table))
