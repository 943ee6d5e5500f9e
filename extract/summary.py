"""What a run came to, post by post."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from extract.errors import ExtractError
from extract.reading.record import Status

_ALARM_SHARE = 0.2  # of the posts read: beyond it a layout has changed, and no single page is odd
_ALARM_LEAST = 3
# what a post itself cannot be blamed for
_TROUBLES = (Status.TIMEOUT, Status.OVERLOADED, Status.NO_DATA, Status.LAYOUT_CHANGED, Status.BLOCKED)


class LayoutAlarm(ExtractError):
    """The site's pages are not read as they used to be. What was read is loaded; the reader needs a look."""


@dataclass
class Summary:
    """What a run came to. ``updated``: posts with an accepted reading; ``held``: suspect or rejected ones only;
    ``failed``: nothing was read.

    ``disagreeing``: posts that two ways of reading one page tell differently; ``fell_back``: posts whose answer was
    not there or not understood, read off the page's labels or not at all.
    """

    job: str
    run_id: str
    due: int = 0
    updated: int = 0
    held: int = 0
    failed: int = 0
    reread: int = 0
    disagreeing: int = 0
    fell_back: int = 0
    content_rows: int = 0
    content_refused: int = 0
    wall: str | None = None
    failures: dict[str, int] = field(default_factory=dict)
    trouble: ExtractError | None = None
    loaded: dict[str, int] = field(default_factory=dict)

    @property
    def skipped(self) -> int:
        """Due, but not asked for: the site's wall came first. Held readings count too: they update nothing."""
        return self.due - self.updated - self.failed

    def told(self) -> dict[str, Any]:
        """The counts as plain values, for the load's trace and for logs."""
        return {name: value for name, value in asdict(self).items() if name != "trouble"}

    def line(self) -> str:
        ending = f" (stopped: {self.wall})" if self.wall else ""
        held = f", {self.held} of them held in quarantine" if self.held else ""
        counts = f"{self.updated} updated, {self.skipped} skipped{held}, {self.failed} failed"
        return f"Metrics collection complete: {counts}{ending}"

    def check(self) -> None:
        """Raise what a user must hear of a run whose readings are loaded: a source that failed on the way, posts of
        which none could be read, a layout that has changed (LayoutAlarm).
        """
        if self.trouble is not None:
            raise self.trouble
        self._check_layout()
        troubled = sum(count for status, count in self.failures.items() if status in _TROUBLES)
        if self.failed and troubled == self.failed and self.updated + self.held == 0 and self.wall is None:
            told = ", ".join(f"{count} {status}" for status, count in sorted(self.failures.items()))
            raise ExtractError(
                f"none of {self.failed} posts could be read ({told}): see detail in staging.real_tweet_metrics; "
                "they stay due"
            )

    def _check_layout(self) -> None:
        """More than a fifth of the posts, three at least, were not read as they should be."""
        asked = self.updated + self.held + self.failed
        for count, what in (
            (self.fell_back, "came without an answer that is understood"),
            (self.disagreeing, "differ between two ways of reading one page"),
        ):
            if count >= _ALARM_LEAST and count > _ALARM_SHARE * asked:
                raise LayoutAlarm(
                    f"{count} of {asked} posts {what}: the site's layout has changed. What was read is loaded; see "
                    "validation_warnings and selector_used in staging, and report the page's new shape"
                )
