"""What a run tells while it runs. The command line shows it; a library user may pass another Watcher."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from reconcile.engines.base import Engine
from reconcile.report.model import TableReport

_POLLED = 0.5  # seconds


class Watcher:
    """Told of each table from threads of the run; this one says nothing."""

    def phase(self, said: str | None) -> None:
        """What the run does now, where that is no single table; None: it waits, for an answer perhaps."""

    def began(self, name: str) -> None:
        """A table is about to be compared."""

    def step(self, name: str, done: int, whole: int | None) -> None:
        """``done`` rows of a table were compared, of about ``whole``."""

    def share(self, name: str, done: float) -> None:
        """About this share of a table's statement is done, from 0 to 1, where the engine counts no rows."""

    def ended(self, table: TableReport) -> None:
        """A table was judged."""


@contextmanager
def polled(engine: Engine, name: str, watcher: Watcher) -> Iterator[None]:
    """Ask an engine that tells the progress of its statements, while the block runs."""
    over = threading.Event()

    def ask() -> None:
        while not over.wait(_POLLED):
            done = engine.progress()
            if done is not None:
                watcher.share(name, done)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
