"""What would have spared the drift, or would make the next check cheaper: said beside the verdict, never part of it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from reconcile.compare.align import Prepared
from reconcile.definition.model import Definition
from reconcile.engines.base import Engine
from reconcile.engines.identifiers import quote
from reconcile.model_check.causes import Cause
from reconcile.report.model import Sample

_WORTH_AN_INDEX = 10_000  # rows of a table: below, scanning it costs next to nothing
_COVERED_SHARE = 0.9  # the share of late rows that the second, shorter look-back covers


def hints_for(
    engine: Engine, definition: Definition, prepared: Prepared, rows: int, samples: Sequence[Sample], late: int
) -> Iterator[str]:
    """Sentences for the report. ``late`` counts the late keys; the sampled ones say how late."""
    if late:
        yield from _look_back(engine, definition, samples, late)
    key = [part.name for part in prepared.comparison.key]
    if key and rows >= _WORTH_AN_INDEX and engine.has_index(definition.relation_name, key) is False:
        yield (
            "no index begins with the key: builds and checks by key read the whole table; "
            f"add {index_config(key)} to the config of {definition.path}"
        )


def index_config(key: Sequence[str]) -> str:
    """A model's config that makes a unique index on its key."""
    columns = ", ".join(f"'{name}'" for name in key)
    return f"indexes=[{{'columns': [{columns}], 'unique': true}}]"


def watermark_of(incremental_sql: str, relation_name: str) -> str | None:
    """The column whose maximum in the model's own table bounds what its next build takes; None without one."""
    own = re.escape(relation_name)
    match = re.search(
        rf"""select\s+(?:coalesce\s*\(\s*)?max\s*\(\s*(?:\w+\.)?"?(?P<column>\w+)"?\s*\)[^()]*(?:\([^()]*\)[^()]*)?\)?
             \s*(?:as\s+\w+\s+)?from\s+{own}""",
        incremental_sql,
        re.IGNORECASE | re.VERBOSE,
    )
    return match["column"] if match else None


def _look_back(engine: Engine, definition: Definition, samples: Sequence[Sample], late: int) -> Iterator[str]:
    sql = definition.incremental_sql()
    column = watermark_of(sql, definition.relation_name) if sql else None
    if column is None:
        return
    watermark = _moment(str(engine.one(f"select max({quote(column)}) from {definition.relation_name}")[0]))
    cells = (sample.columns.get(column) for sample in samples if sample.cause == Cause.LATE)
    values = [_moment(cell.expected) for cell in cells if cell is not None]
    behind = sorted(
        watermark.value - value.value for value in values if watermark and value and watermark.kind == value.kind
    )
    if watermark is None or not behind or behind[-1] < 0:
        return
    every = f"all {late:,} late keys" if late > 1 else "the late key"
    of = every if len(behind) == late else f"the {len(behind):,} late keys looked at, of {late:,}"
    wide = _spelled(behind[-1], watermark.kind)
    said = f"the filter on {column} passed over them: a look-back of {wide} would have caught {of}"
    most = behind[int(len(behind) * _COVERED_SHARE) - 1]
    if len(behind) >= 10 and most < behind[-1]:
        said += f", {_spelled(most, watermark.kind)} {_COVERED_SHARE:.0%} of them"
    yield said


@dataclass(frozen=True)
class _Moment:
    """A point on a scale: seconds of naive or zoned time, or plain numbers."""

    value: Decimal
    kind: str


def _moment(text: str | None) -> _Moment | None:
    """A timestamp, date or number as printed by an engine; None for anything else."""
    if text is None:
        return None
    with suppress(InvalidOperation):
        return _Moment(Decimal(text), "number")
    try:
        # Python wants +00:00 where the engines print +00
        at = datetime.fromisoformat(re.sub(r"(:\d\d(?:\.\d+)?[+-]\d\d)$", r"\1:00", text))
    except ValueError:
        return None
    kind = "zoned" if at.tzinfo else "naive"
    return _Moment(Decimal(str(at.replace(tzinfo=at.tzinfo or UTC).timestamp())), kind)


def _spelled(behind: Decimal, kind: str) -> str:
    if kind == "number":
        return f"{behind:,}"
    minutes, seconds = divmod(math.ceil(behind), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = ((days, "day"), (hours, "hour"), (minutes, "minute"), (seconds, "second"))
    told = [f"{n} {unit}{'s' if n > 1 else ''}" for n, unit in parts if n][:2]
    return " ".join(told) or "1 second"
