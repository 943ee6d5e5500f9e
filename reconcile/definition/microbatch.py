"""Microbatch models: which rows of its inputs a full refresh of such a model reads.

dbt adds these bounds to a model's refs only while it runs batch after batch, from ``begin`` to the batch that now is
in; what it compiles has none. A definition takes all batches as one: dbt asks of a microbatch model that each of its
rows comes of one batch. See https://docs.getdbt.com/docs/build/incremental-microbatch
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from reconcile.definition.splice import until


def batches_of(node: Any, manifest: Any) -> dict[str, str]:
    """Relation -> predicate, for each input of a microbatch model that has an event_time; empty for other models."""
    config = node.config
    if config.materialized != "incremental" or getattr(config, "incremental_strategy", None) != "microbatch":
        return {}
    size = str(getattr(config.batch_size, "value", config.batch_size))
    begin = config.begin if isinstance(config.begin, datetime) else datetime.fromisoformat(str(config.begin))
    first, end = batch_start(begin.replace(tzinfo=begin.tzinfo or UTC), size), batch_end(datetime.now(UTC), size)
    found = {}
    for unique_id in node.depends_on.nodes:
        parent = manifest.sources.get(unique_id) or manifest.nodes.get(unique_id)
        event_time = getattr(parent.config, "event_time", None) if parent is not None else None
        if event_time and parent.relation_name:
            found[parent.relation_name] = f"{event_time} >= '{first}' and {event_time} < {until(str(end))}"
    return found


def batch_start(at: datetime, size: str) -> datetime:
    """The start of the batch that ``at`` is in. ``size``: hour, day, month or year."""
    at = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    if size != "hour":
        at = at.replace(hour=0)
    if size in ("month", "year"):
        at = at.replace(day=1)
    return at.replace(month=1) if size == "year" else at


def batch_end(at: datetime, size: str) -> datetime:
    """The start of the next batch."""
    longest = {"hour": timedelta(hours=1), "day": timedelta(days=1), "month": timedelta(days=31)}
    return batch_start(batch_start(at, size) + longest.get(size, timedelta(days=366)), size)
