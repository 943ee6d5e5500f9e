"""What staging already knows: the posts there are, and what was read of them before."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import dlt
from dlt.destinations.exceptions import DatabaseUndefinedRelation

from extract.due import Candidate, Gone
from extract.reading.post_ids import Network, PostId
from extract.reading.record import COUNTERS
from extract.staging.tables import DATASET
from extract.validate import FALSE_ZERO, Expected, Held, Known, way_of_reading

_POSTED = f"""
    select tweet_id, decision_id, decision_type, posted_at, target_tweet_id, thread_tweet_ids
    from {DATASET}.content_metadata
    where status = 'posted' and tweet_id is not null and posted_at is not null
    order by created_at, decision_id
"""
_TAKEN = f"""
    select tweet_id, collection_phase, validation_passed, min(collected_at), max(collected_at)
    from {DATASET}.real_tweet_metrics
    group by tweet_id, collection_phase, validation_passed
"""
_GONE = f"""
    with read_last as (
        select tweet_id, max(collected_at) as at from {DATASET}.real_tweet_metrics where validation_passed
        group by tweet_id
    )
    select
        gone.tweet_id, gone.selector_used, cast(gone.collected_at as date), min(gone.collected_at),
        max(gone.collected_at)
    from {DATASET}.real_tweet_metrics as gone
    left join read_last on gone.tweet_id = read_last.tweet_id
    where gone.status in ('deleted', 'protected') and (read_last.at is null or gone.collected_at > read_last.at)
    group by 1, 2, 3
"""
_COUNTERS = ", ".join(COUNTERS)
_HISTORY = f"""
    select tweet_id, collected_at, {_COUNTERS}
    from {DATASET}.real_tweet_metrics
    where validation_passed and tweet_id in ({{ids}})
    order by tweet_id, collected_at
"""
_HELD = f"""
    select tweet_id, collected_at, {_COUNTERS}, anomaly_reasons, selector_used
    from {DATASET}.quarantined_metrics
    where verdict = 'suspect' and tweet_id in ({{ids}})
    order by tweet_id, collected_at
"""
_IS_ZERO = f"strpos(cast(anomaly_reasons as varchar), '{FALSE_ZERO}:') > 0"
_TRIED = f"""
    select tweet_id, verdict, verdict = 'suspect' and {_IS_ZERO}, max(collected_at)
    from {DATASET}.quarantined_metrics
    group by 1, 2, 3
"""
_ZEROS = f"""
    select tweet_id, collected_at from {DATASET}.quarantined_metrics
    where verdict = 'suspect' and {_IS_ZERO}
    order by collected_at
"""
_BATCH = 500  # ids a query


def candidates(pipeline: dlt.Pipeline, network: Network = Network.X) -> list[Candidate]:
    """Every tweet of every posted decision (each part of a thread), with what was taken of it so far.

    A tweet that several decisions claim belongs to the oldest. Ids that are none of the network's cannot be asked for
    and are left out; dbt's tests name them.
    """
    try:
        with pipeline.sql_client() as client:
            posted = client.execute_sql(_POSTED) or []
            taken_rows = client.execute_sql(_TAKEN) or []
            tried_rows = client.execute_sql(_TRIED) or []
            gone_rows = client.execute_sql(_GONE) or []
    except DatabaseUndefinedRelation:
        return []
    taken: defaultdict[str, set[tuple[str, datetime]]] = defaultdict(set)
    last: dict[str, datetime] = {}
    held: dict[str, datetime] = {}
    zeros: dict[str, datetime] = {}
    for tweet_id, verdict, zero, at in tried_rows:
        last[tweet_id] = max(at, last.get(tweet_id, at))
        if verdict == "suspect":
            (zeros if zero else held)[tweet_id] = at
    for tweet_id, phase, passed, first_at, last_at in taken_rows:
        last[tweet_id] = max(last_at, last.get(tweet_id, last_at))
        if passed:
            taken[tweet_id] |= {(phase, first_at), (phase, last_at)}
    read = {tweet_id: max(at for _, at in snapshots) for tweet_id, snapshots in taken.items()}
    gone = _found_gone(gone_rows)
    found: dict[str, Candidate] = {}
    for root, decision_id, decision_type, posted_at, target, thread in posted:
        parts = json.loads(thread) if isinstance(thread, str) else thread
        for tweet_id in dict.fromkeys([root, *(parts or [])]):
            if tweet_id not in found and PostId(str(tweet_id), network).valid:
                found[tweet_id] = Candidate(
                    tweet_id=tweet_id,
                    decision_id=decision_id,
                    decision_type=decision_type,
                    posted_at=posted_at,
                    target_tweet_id=target,
                    last_collected_at=last.get(tweet_id),
                    taken=tuple(taken.get(tweet_id, ())),
                    held_at=_later(held.get(tweet_id), read.get(tweet_id)),
                    zero_at=_later(zeros.get(tweet_id), read.get(tweet_id)),
                    gone=gone.get(tweet_id),
                )
    return list(found.values())


def _found_gone(rows: Iterable[Sequence[Any]]) -> dict[str, Gone]:
    """By post; ``rows`` are of ``_GONE``: post, selector, day, first and last time on that day."""
    of_post: defaultdict[str, list[Sequence[Any]]] = defaultdict(list)
    for tweet_id, *found in rows:
        of_post[tweet_id].append(found)
    return {
        tweet_id: Gone(
            first=min(first for *_, first, _ in days),
            last=max(last for *_, last in days),
            ways=len({way_of_reading(selector) for selector, *_ in days} - {None}),
            days=len({day for _, day, *_ in days}),
        )
        for tweet_id, days in of_post.items()
    }


def _later(held: datetime | None, read: datetime | None) -> datetime | None:
    """When a post was held, where nothing was accepted of it since."""
    return held if held is not None and (read is None or held > read) else None


def expectations(
    pipeline: dlt.Pipeline,
    chosen: Iterable[Candidate],
    account: str,
    zeros: Sequence[tuple[str, datetime]],
    network: Network = Network.X,
) -> dict[str, Expected]:
    """What the validator must know of each chosen post: its clock, its accepted history, its held readings.

    ``zeros``: the posts that were held for a fall to 0, and when, in the order of time.
    """
    posts = {candidate.tweet_id: candidate for candidate in chosen}
    history: defaultdict[str, list[Known]] = defaultdict(list)
    held: defaultdict[str, list[Held]] = defaultdict(list)
    ids = list(posts)
    with pipeline.sql_client() as client:
        for start in range(0, len(ids), _BATCH):
            batch = ids[start : start + _BATCH]
            places = ", ".join(["%s"] * len(batch))
            for tweet_id, at, *values in client.execute_sql(_HISTORY.format(ids=places), *batch) or []:
                history[tweet_id].append(Known(at, dict(zip(COUNTERS, values, strict=True))))
            for tweet_id, at, *values, reasons, selector in client.execute_sql(_HELD.format(ids=places), *batch) or []:
                counters = dict(zip(COUNTERS, values, strict=True))
                held[tweet_id].append(Held(at, counters, tuple(_listed(reasons)), selector))
    return {
        tweet_id: Expected(
            tweet_id=tweet_id,
            account=account,
            posted_at=candidate.posted_at,
            target_tweet_id=candidate.target_tweet_id,
            network=network,
            history=history[tweet_id],
            held=held[tweet_id],
            zeros_elsewhere=[at for post, at in zeros if post != tweet_id],
        )
        for tweet_id, candidate in posts.items()
    }


def zeros_held(pipeline: dlt.Pipeline) -> list[tuple[str, datetime]]:
    """The posts that were held for a fall to 0, and when, in the order of time."""
    with pipeline.sql_client() as client:
        return [(str(tweet_id), at) for tweet_id, at in client.execute_sql(_ZEROS) or []]


def _listed(value: Any) -> list[str]:
    loaded = json.loads(value) if isinstance(value, str) else value
    return [str(item) for item in loaded or []]
