"""Read the posts that are due, judge each reading, and read once more, another way, what does not look right."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from extract.due import Due
from extract.errors import ExtractError
from extract.reading.attempt import Attempt, Now, PostSource, Profile
from extract.reading.record import COUNTERS, DISAGREEMENT, READ, Status
from extract.staging.tables import TABLES, follower_row, snapshot_row
from extract.summary import Summary
from extract.validate import Expected, Judgement, Known, ReadingVerdict, judge

_TOLD_EACH = 50  # a scheduled job tells every post; a backfill of thousands does not
log = logging.getLogger("extract")

Rows = list[dict[str, Any]]
Tick = Callable[[int, int], None]


@dataclass
class ValidatedReading:
    """The rows of a run by table, and what became of each post. Nothing is dropped: each attempt is one row.

    A recording may hold one reading twice (a pinned post): it is one snapshot.
    """

    rows: dict[str, Rows] = field(default_factory=lambda: {name: [] for name in TABLES})
    outcomes: dict[str, ReadingVerdict] = field(default_factory=dict)
    statuses: dict[str, Status] = field(default_factory=dict)
    snapshots: set[str] = field(default_factory=set)


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
    counts, and the suspect one stays in quarantine. Where the source fails on the way, what it had read by then is
    returned, and ``summary.trouble`` is the failure.
    """
    by_id = {item.candidate.tweet_id: item for item in chosen}
    judged = ValidatedReading()
    told = logging.INFO if len(chosen) <= _TOLD_EACH else logging.DEBUG

    def take(items: Iterator[Attempt | Profile], again: bool) -> None:
        for item in items:
            if isinstance(item, Profile):
                judged.rows["follower_snapshots"].append(follower_row(item, source.name, summary.run_id))
                continue
            log.debug("Scraping %s", item.wanted)
            judgement = judge(item, known[item.wanted], now())
            _keep(judged, item, by_id[item.wanted], judgement, source.name, summary.run_id, told)
            if judgement.verdict is ReadingVerdict.ACCEPTED:
                expected = known[item.wanted]
                read = Known(item.observed_at, item.reading.counters.values())
                known[item.wanted] = replace(expected, history=[*expected.history, read])
            if not again:
                _count_layout(item, summary)
            tick(len(judged.outcomes), len(chosen))

    try:
        take(source.collect(list(by_id)), again=False)
        suspect = [tweet_id for tweet_id, verdict in judged.outcomes.items() if verdict is ReadingVerdict.SUSPECT]
        if suspect and source.wall is None:
            take(iter(source.reread(suspect)), again=True)
            summary.reread = len(suspect)
    except ExtractError as error:
        summary.trouble = error
    verdicts = list(judged.outcomes.values())
    summary.updated = verdicts.count(ReadingVerdict.ACCEPTED)
    summary.failed = verdicts.count(ReadingVerdict.NONE)
    summary.held = len(verdicts) - summary.updated - summary.failed
    failures = [judged.statuses[i].value for i, verdict in judged.outcomes.items() if verdict is ReadingVerdict.NONE]
    summary.failures = dict(Counter(failures))
    return {name: rows for name, rows in judged.rows.items() if rows}


def _keep(
    judged: ValidatedReading, attempt: Attempt, due: Due, judgement: Judgement, source: str, run_id: str, told: int
) -> None:
    row = snapshot_row(attempt, due, judgement, source, run_id)
    if row["snapshot_id"] in judged.snapshots:
        return
    judged.snapshots.add(row["snapshot_id"])
    held = judgement.verdict in (ReadingVerdict.SUSPECT, ReadingVerdict.REJECTED)
    judged.rows["quarantined_metrics" if held else "real_tweet_metrics"].append(row)
    before = judged.outcomes.get(attempt.wanted)
    if before is None or judgement.verdict is ReadingVerdict.ACCEPTED or (before is ReadingVerdict.NONE and held):
        judged.outcomes[attempt.wanted] = judgement.verdict
        judged.statuses[attempt.wanted] = attempt.reading.status
    names = ("tweet_id", "status", "verdict", *COUNTERS, "selector_used", "latency_ms")
    fields = {"fields": {name: row[name] for name in names}}
    if held:
        log.warning("Held %s: %s", attempt.wanted, "; ".join(judgement.reasons), extra=fields)
    elif attempt.reading.status in READ:
        log.log(told, "Updated %s: %s likes, %s views", attempt.wanted, row["likes"], row["views"], extra=fields)
    else:
        log.log(told, "No counters for %s: %s", attempt.wanted, attempt.reading.status.value, extra=fields)


def _count_layout(attempt: Attempt, summary: Summary) -> None:
    reading = attempt.reading
    summary.disagreeing += any(warning.startswith(DISAGREEMENT) for warning in reading.warnings)
    summary.fell_back += reading.selector == "labels" or reading.status in (Status.LAYOUT_CHANGED, Status.NO_DATA)
