"""Definitions whose rows the clock decides (``where day >= current_date - 30``): judged as of the model's last build.

What the clock showed to that build is known only as an interval, from when dbt began the model to when it had ended it.
So the definition is evaluated with the clock at either end: where both give the same rows, they are those of the build.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from reconcile.compare.align import Prepared, stored_sql
from reconcile.compare.comparison import Compared
from reconcile.compare.sql import Counts, counts_sql
from reconcile.definition.model import Build, BuildClock, Definition, SplicedSql
from reconcile.engines.base import Engine
from reconcile.engines.volatility import Instant, RunValue, at_instant, reads_clock, run_values, with_stand_ins
from reconcile.errors import EvaluationFailed
from reconcile.model_check.prepare_definition import NO_FUNCTION, NotSettled, build_columns, prepare_definition
from reconcile.model_check.ties import differing_keys
from reconcile.report.model import KINDS

_CLOCKS_APART = timedelta(seconds=1)  # how far dbt's clock and the server's may be apart, beside what is measured


def as_of_last_build(engine: Engine, definition: Definition) -> Definition:
    """``definition``; if the clock decides its rows or values, as the model's last build would have evaluated it.

    To be called outside a transaction. Raises NotSettled if nothing tells when that was, or if the clock passed a bound
    of its rows meanwhile.
    """
    if definition.sql is None or definition.clock or not any(map(reads_clock, run_values(definition.sql))):
        return definition
    try:
        prepare_definition(engine, definition)
    except NotSettled as unsettled:
        return _as_built(engine, definition, unsettled)
    return definition


def _as_built(engine: Engine, definition: Definition, unsettled: NotSettled) -> Definition:
    if not engine.tells_instants or definition.respliced is None:
        raise unsettled
    reading = [part for part in definition.parts if any(map(reads_clock, engine.run_values(part.sql)))]
    stamps = build_columns(engine, definition)
    # a key that is the clock's (current_date as day): every build adds rows, and no one build would make them all
    if not reading or stamps & set(definition.key):
        raise unsettled
    definition = replace(definition, stamps=stamps - definition.settings.ignore)
    present = dict.fromkeys(definition.builds, datetime.now(UTC))
    present_day = _at(engine, definition, reading, present)
    if not _settles(engine, definition, present_day):
        raise unsettled
    builds = {name: _build_of(definition, part, unsettled) for part in reading for name in part.built_by}
    margin = _margin(engine)
    low = _at(engine, definition, reading, {name: build.began - margin for name, build in builds.items()})
    high = _at(engine, definition, reading, {name: _ended(build) + margin for name, build in builds.items()})
    what = str(unsettled).removesuffix(f": {NO_FUNCTION}")
    began, ended = min(b.began for b in builds.values()), max(map(_ended, builds.values()))
    if differing := _differing_at_ends(engine, low, high):
        unit = "keys" if high.key else "rows"
        raise NotSettled(
            f"the clock passed a bound of its rows while it was built ({what}, between {began.isoformat()} and "
            f"{ended.isoformat()}): {differing:,} {unit} differ",
            (*unsettled.hints, "to avoid it, compare whole days (current_date) or take bounds from the data"),
            unsettled.columns,
        )
    sql_now = present_day.sql if present_day.sql != high.sql else None
    return replace(high, clock=BuildClock(began, ended, what, sql_now))


def why_later_build(engine: Engine, definition: Definition, prepared: Prepared, found: Compared) -> str | None:
    """Why rows that differ may be those of a build that was not noted here; None if the clock does not explain them.

    Such a build leaves rows that a later clock decides, and lacks those that it excludes. To be called in the snapshot
    of the comparison.
    """
    clock = definition.clock
    if clock is None or clock.sql_now is None or not found.drift.of_rows():
        return None
    now = engine.given(stored_sql(clock.sql_now, dict(definition.contract)))
    if prepared.comparison.key:
        later = Counts(*engine.one(counts_sql(replace(prepared.comparison, as_of=now)))[:10]).pending
    else:
        later = differing_keys(engine, prepared, prepared.comparison.expected, now)
    if not later:
        return None
    counts = ", ".join(f"{getattr(found.drift, kind):,} {kind}" for kind in KINDS if getattr(found.drift, kind))
    return (
        f"{clock.what}, and a build after {clock.began.isoformat(timespec='seconds')}, the last one noted here, may "
        f"have written rows that differ ({counts}): check in the folder in which dbt builds it, or build it here"
    )


def _build_of(definition: Definition, part: SplicedSql, unsettled: NotSettled) -> Build:
    """The one build in which a part is evaluated. Raises NotSettled where there are several, or its time is unknown."""
    name, *others = part.built_by
    build = definition.builds.get(name)
    where = "" if part.unique_id == definition.unique_id else f" in {part.name}"
    if others:
        raise NotSettled(
            f"{unsettled}; the clock{where} is read in the builds of several models", unsettled.hints, unsettled.columns
        )
    if build is None or build.ended is None:
        built = name.split(".", 2)[-1]
        hint = (
            f"no build of {built} is noted here: after `dbt build -s {built}` in this folder the model is judged as of "
            "the time of that build"
        )
        why = f"{unsettled}; the clock is read{where}" if where else str(unsettled)
        raise NotSettled(why, (*unsettled.hints, hint), unsettled.columns)
    return build


def _ended(build: Build) -> datetime:
    assert build.ended is not None
    return build.ended


def _margin(engine: Engine) -> timedelta:
    """How far the clock of the server may be from the one of dbt: both were read just now."""
    here = datetime.now(UTC).timestamp()
    there = float(engine.one("select extract(epoch from now())")[0])
    return max(_CLOCKS_APART, timedelta(seconds=abs(there - here)))


def _at(
    engine: Engine, definition: Definition, reading: Sequence[SplicedSql], moments: Mapping[str, datetime]
) -> Definition:
    """``definition`` with the clock of each model's build at a moment: unique id -> moment."""
    assert definition.respliced is not None
    instants = {moment: _instant(engine, moment) for moment in set(moments.values())}
    changed = {part.unique_id: _replaced(engine, part.sql, instants[moments[part.built_by[0]]]) for part in reading}
    other = definition.respliced(changed)
    return replace(definition, sql=other.sql, as_of_sql=other.as_of_sql, over=other.over, parts=other.parts)


def _replaced(engine: Engine, sql: str, instant: Instant) -> str:
    values = [value for value in engine.run_values(sql) if reads_clock(value)]

    def stand_in(place: int, value: RunValue) -> str:
        text = at_instant(sql, value, instant, engine.ages_at_midnight)
        return text if text is not None else sql[value.start : value.end]

    return with_stand_ins(sql, values, stand_in)


def _instant(engine: Engine, moment: datetime) -> Instant:
    zoned = f"cast('{moment.isoformat(' ')}' as timestamp with time zone)"
    day, local = engine.one(f"select cast({zoned} as date), cast({zoned} as timestamp)")
    return Instant(moment, local, day)


def _settles(engine: Engine, definition: Definition, other: Definition) -> bool:
    """Whether a definition is settled once its clock is replaced, with the columns that it has with the clock."""
    try:
        prepare_definition(engine, other)
        return engine.query_columns(definition.sql or "") == engine.query_columns(other.sql or "")
    except (NotSettled, EvaluationFailed):
        return False


def _differing_at_ends(engine: Engine, low: Definition, high: Definition) -> int:
    """How many keys differ between the definitions with the clock at the two ends of the builds."""
    if low.sql == high.sql:
        return 0
    contract = dict(high.contract)
    one, other = (engine.given(stored_sql(sql or "", contract)) for sql in (low.sql, high.sql))
    with engine.snapshot():
        prepared = prepare_definition(engine, high)
        return differing_keys(engine, prepared, one, other) if prepared is not None else 0
