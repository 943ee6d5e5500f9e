"""Read the posts that are due, judge each reading, and read once more, another way, what does not look right."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

from extract.due import Due
from extract.errors import ExtractError
from extract.reading.attempt import Attempt, Now, PostSource, Profile
from extract.reading.record import COUNTERS, DISAGREEMENT, READ, Status
from extract.staging.tables import TABLES, follower_row, snapshot_row
from extract.summary import Summary
from extract.validate import FALSE_ZERO, Expected, Held, Judgement, Known, ReadingVerdict, judge

_TOLD_EACH = 50  # a scheduled job tells every post; a backfill of thousands does not
log = logging.getLogger("extract")

Rows = list[dict[str, Any]]
Tick = Callable[[int, int], None]


def read_and_judge(
    source: PostSource,
    chosen: list[Due],
    known: dict[str, Expected],
    now: Now,
    summary: Summary,
    tick: Tick = lambda done, total: None,
) -> dict[str, Rows]:
    """Every due post read and judged; the rows to load by table, and the counts in ``summary``.

    A suspect reading is read again at once by the source's other strategy: where that one is accepted, it is what
    counts, and the suspect one stays in quarantine. A fall to 0 from a small number is judged last, when it is known
    whether other posts fell to 0 in this run. Where the source fails on the way, what it had read by then is returned,
    and ``summary.trouble`` is the failure.
    """
    judged = _Judged(source.name, chosen, known, now, summary, tick)
    try:
        judged.take(source.collect(list(judged.due)), again=False)
        judged.take_put_off()
        suspect = [tweet_id for tweet_id, verdict in judged.outcomes.items() if verdict is ReadingVerdict.SUSPECT]
        if suspect and source.wall is None:
            judged.take(iter(source.reread(suspect)), again=True)
            summary.reread = len(suspect)
    except ExtractError as error:
        summary.trouble = error
    finally:
        judged.take_put_off()
    verdicts = list(judged.outcomes.values())
    summary.updated = verdicts.count(ReadingVerdict.ACCEPTED)
    summary.failed = verdicts.count(ReadingVerdict.NONE)
    summary.held = len(verdicts) - summary.updated - summary.failed
    failures = [judged.statuses[i].value for i, verdict in judged.outcomes.items() if verdict is ReadingVerdict.NONE]
    summary.failures = dict(Counter(failures))
    fell = sorted({post for post, _ in judged.zeros})
    if len(fell) > 1:
        named = ", ".join(fell[:5]) + (", ..." if len(fell) > 5 else "")
        log.warning("The site is at fault: %d posts fell to 0 in this run (%s); each is held", len(fell), named)
    return {name: rows for name, rows in judged.rows.items() if rows}


class _Judged:
    """The rows of a run by table, and what became of each post. Nothing is dropped: each attempt is one row.

    A recording may hold one reading twice (a pinned post): it is one snapshot. ``zeros``: the posts that were held for
    a fall to 0, and when.
    """

    def __init__(
        self, source: str, chosen: list[Due], known: dict[str, Expected], now: Now, summary: Summary, tick: Tick
    ) -> None:
        self.due = {item.candidate.tweet_id: item for item in chosen}
        self.rows: dict[str, Rows] = {name: [] for name in TABLES}
        self.outcomes: dict[str, ReadingVerdict] = {}
        self.statuses: dict[str, Status] = {}
        self.zeros: list[tuple[str, datetime]] = []
        self._source, self._known, self._now, self._summary, self._tick = source, known, now, summary, tick
        self._told = logging.INFO if len(chosen) <= _TOLD_EACH else logging.DEBUG
        self._snapshots: set[str] = set()
        self._put_off: list[Attempt] = []

    def take(self, items: Iterator[Attempt | Profile], again: bool) -> None:
        for item in items:
            if isinstance(item, Profile):
                row = follower_row(item, self._source, self._summary.run_id)
                self.rows["follower_snapshots"].append(row)
                _tell_lost(item, row)
                continue
            log.debug("Scraping %s", item.wanted)
            if not again:
                _count_layout(item, self._summary)
            expected = self._expected(item)
            judgement = judge(item, expected, self._now())
            with_others_at_zero = replace(expected, zeros_elsewhere=[item.observed_at])
            if judgement.verdict is judge(item, with_others_at_zero, self._now()).verdict:
                self._decide(item, judgement)
            else:
                self._put_off.append(item)

    def take_put_off(self) -> None:
        """Judge the readings that depend on whether other posts fell to 0."""
        waiting, self._put_off = self._put_off, []
        for item in waiting:
            self._decide(item, judge(item, self._expected(item), self._now()))

    def _expected(self, item: Attempt) -> Expected:
        """What is known of the post, with what this run found of others."""
        expected = self._known[item.wanted]
        elsewhere = [at for post, at in self.zeros if post != item.wanted]
        return replace(expected, zeros_elsewhere=sorted([*expected.zeros_elsewhere, *elsewhere]))

    def _decide(self, item: Attempt, judgement: Judgement) -> None:
        expected, values = self._known[item.wanted], item.reading.counters.values()
        self._keep(item, judgement)
        if judgement.verdict is ReadingVerdict.ACCEPTED:
            expected = replace(expected, history=[*expected.history, Known(item.observed_at, values)])
        elif judgement.verdict is ReadingVerdict.SUSPECT:
            held = Held(item.observed_at, values, judgement.reasons, item.reading.selector)
            expected = replace(expected, held=[*expected.held, held])
            if FALSE_ZERO in held.rules:
                self.zeros.append((item.wanted, item.observed_at))
        self._known[item.wanted] = expected
        self._tick(len(self.outcomes), len(self.due))

    def _keep(self, attempt: Attempt, judgement: Judgement) -> None:
        row = snapshot_row(attempt, self.due[attempt.wanted], judgement, self._source, self._summary.run_id)
        if row["snapshot_id"] in self._snapshots:
            return
        self._snapshots.add(row["snapshot_id"])
        held = judgement.verdict in (ReadingVerdict.SUSPECT, ReadingVerdict.REJECTED)
        self.rows["quarantined_metrics" if held else "real_tweet_metrics"].append(row)
        before = self.outcomes.get(attempt.wanted)
        if before is None or judgement.verdict is ReadingVerdict.ACCEPTED or (before is ReadingVerdict.NONE and held):
            self.outcomes[attempt.wanted] = judgement.verdict
            self.statuses[attempt.wanted] = attempt.reading.status
        names = ("tweet_id", "status", "verdict", *COUNTERS, "selector_used", "latency_ms")
        fields = {"fields": {name: row[name] for name in names}}
        if held:
            log.warning("Held %s: %s", attempt.wanted, "; ".join(judgement.reasons), extra=fields)
        elif attempt.reading.status in READ:
            log.log(
                self._told, "Updated %s: %s likes, %s views", attempt.wanted, row["likes"], row["views"], extra=fields
            )
        else:
            log.log(self._told, "No counters for %s: %s", attempt.wanted, attempt.reading.status.value, extra=fields)


def _tell_lost(profile: Profile, row: dict[str, Any]) -> None:
    read = (("followers", "follower_count"), ("following", "following_count"), ("tweets", "tweet_count"))
    for name, column in read:
        value = getattr(profile, name)
        if value is not None and row[column] is None:
            log.warning("The profile of %s says %s %s, beyond 64 bits: stored as unknown", profile.account, value, name)


def _count_layout(attempt: Attempt, summary: Summary) -> None:
    reading = attempt.reading
    summary.disagreeing += any(warning.startswith(DISAGREEMENT) for warning in reading.warnings)
    summary.fell_back += reading.selector == "labels" or reading.status in (Status.LAYOUT_CHANGED, Status.NO_DATA)
