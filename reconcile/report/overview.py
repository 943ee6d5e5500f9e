"""The state of a project over time, as data: what `reconcile report` shows without a run."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import Any

from reconcile.report.model import PastRun, PastTable, Verdict, worst


@dataclass(frozen=True)
class ModelOverTime:
    """One model in the latest runs, oldest first. Times are ISO 8601 in UTC, durations seconds.

    ``open_since``: when the drift that is still there was first found. ``repaired_in``: how long each earlier drift
    lasted, from the run that found it to the run that found it gone.
    """

    name: str
    verdict: Verdict
    last_at: str
    keys: int
    open_since: str | None
    repaired_in: tuple[float, ...]
    runs: tuple[tuple[str, PastTable | None], ...]

    @property
    def time_to_repair(self) -> float | None:
        """The median, in seconds; None where no drift was ever repaired."""
        return statistics.median(self.repaired_in) if self.repaired_in else None


@dataclass(frozen=True)
class SourceFreshness:
    """How old the newest row of a source is (``age``, seconds), and what dbt's rule calls that.

    ``status``: pass, warn or error; "empty" where it holds no row, "unknown" where it could not be read.
    """

    name: str
    status: str
    loaded_at: str | None
    age: float | None
    warn_after: str | None
    error_after: str | None


@dataclass(frozen=True)
class Panel:
    """A table of the project that it wants shown (``meta.reconcile.panel``): its first rows, as text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | None, ...], ...]
    cut: bool


@dataclass(frozen=True)
class Overview:
    """What `reconcile report` shows without a run. ``notices``: what could not be looked at, and why."""

    target: str
    at: str
    runs: tuple[PastRun, ...]
    models: tuple[ModelOverTime, ...]
    sources: tuple[SourceFreshness, ...]
    panels: tuple[Panel, ...]
    notices: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst of the models' latest verdicts."""
        return worst([model.verdict for model in self.models])

    def as_dict(self) -> dict[str, Any]:
        body = asdict(self)
        for model, entry in zip(self.models, body["models"], strict=True):
            entry["time_to_repair"] = model.time_to_repair
        return {**body, "verdict": self.verdict.value}
