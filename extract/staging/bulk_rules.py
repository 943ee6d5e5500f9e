"""The validator's rules as SQL over all rows of a history at once, to find the posts on which none of them fires.

They say only *whether* a rule fires, where every earlier row of the post was accepted; what a rule found, and what
becomes of the row, is ``extract.validate``'s to say. Only warnings, which hold no row, are spelled here too.
tests/extract/staging/test_bulk_load.py holds the two against each other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlglot import exp

from extract import VERSION
from extract.errors import ExtractError
from extract.reading.post_ids import Network
from extract.reading.record import COUNTERS, READ, Status
from extract.staging.tables import TABLES
from extract.validate import A_ZERO, FAULTY_AROUND, FUTURE_TOLERANCE, ZERO_LASTS_IF_OTHERS_RISE

SOURCE = "parquet"
_WHOLE = ("BIGINT", "TINYINT", "SMALLINT", "INTEGER", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "HUGEINT")
_NUMBERS = (*_WHOLE, "DOUBLE", "FLOAT")  # pandas makes a column of whole numbers with gaps one of floats
_ZONELESS = ("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS")  # taken for UTC
_INSTANT = ("TIMESTAMP WITH TIME ZONE", *_ZONELESS)
_FITTING = {
    "tweet_id": ("VARCHAR", *_WHOLE),  # as a float an id has lost its last digits
    "collected_at": _INSTANT,
    **dict.fromkeys((*COUNTERS, "profile_clicks"), _NUMBERS),
    **dict.fromkeys(("author", "status", "snapshot_id"), ("VARCHAR",)),
}
# what Python and Spark hold too, in any time zone; neither is infinity
_IN_RANGE = (
    "coalesce(try_cast(collected_at as timestamptz) "
    "between timestamptz '0001-01-02 00:00:00+00' and timestamptz '9999-12-30 00:00:00+00', false)"
)
READ_COLUMNS = frozenset(_FITTING)
_TYPES = {"text": "VARCHAR", "timestamp": "TIMESTAMPTZ", "double": "DOUBLE", "bigint": "BIGINT", "bool": "BOOLEAN"}
# the columns of a snapshot, with DuckDB's type of each
SNAPSHOT_TYPES = {name: _TYPES.get(kind, "JSON") for name, kind in TABLES["real_tweet_metrics"][1].items()}


@dataclass(frozen=True)
class BulkLoadRequest:
    """A file, or a folder of them; whose posts these are, when it is now (aware, UTC), and the run that loads them."""

    path: Path
    account: str
    now: datetime
    run_id: str
    network: Network = Network.X

    @property
    def provenance(self) -> dict[str, str]:
        """Where a row's numbers are from: all of them are in the file as they are."""
        return {"file": self.path.name}


def quoted(text: str) -> str:
    """A text as a literal of SQL."""
    return exp.Literal.string(text).sql("duckdb")


def incoming_sql(path: Path, types: Mapping[str, str], source: str) -> str:
    """The file's rows with our names and types. ``types``: its columns (lower case), ``source``: how DuckDB reads it.

    Raises ExtractError where a column is missing or of a type that cannot hold it.
    """
    for name in ("tweet_id", "collected_at"):
        if name not in types:
            raise ExtractError(f"{path} has no column {name}: a history names the post and the instant of each reading")
    for name, fitting in _FITTING.items():
        if name in types and types[name] not in fitting:
            raise ExtractError(f"column {name} of {path} is {types[name]}: make it {fitting[0].lower()}")
    counts = {name: _count(name, types.get(name)) for name in (*COUNTERS, "profile_clicks")}
    values = ",\n".join(f"{value} as {name}" for name, (value, _) in counts.items())
    not_whole = [f"when {odd} then 'not_a_count: {name} is ' || {name}" for name, (_, odd) in counts.items() if odd]
    any_read = f"coalesce({', '.join(name for name in COUNTERS if name in types) or 'null'}) is not null"
    status = f"case when {any_read} then 'ok' else 'no_data' end"
    if "status" in types:
        status = f"coalesce(status, {status})"
    statuses = ", ".join(quoted(status.value) for status in Status)
    read = ", ".join(quoted(status.value) for status in READ)
    instant = "collected_at at time zone 'UTC'" if types["collected_at"] in _ZONELESS else "collected_at"
    with_nul = [
        f"when contains({name}, chr(0)) then 'not_a_text: {name} holds a NUL character'"
        for name in ("tweet_id", "author", "status", "snapshot_id")
        if types.get(name) == "VARCHAR"
    ]
    return f"""
        select
            {_text("cast(tweet_id as varchar)")} as tweet_id,
            case when {_IN_RANGE} then cast({instant} as timestamptz) end as collected_at,
            {values},
            {"author" if "author" in types else "cast(null as varchar)"} as author,
            {_text(status)} as status,
            {_text("snapshot_id") if "snapshot_id" in types else "cast(null as varchar)"} as file_id,
            case
                {" ".join(with_nul)}
                when tweet_id is null then 'bad_id: the row names no post'
                when collected_at is null then 'no_instant: the row does not say when it was read'
                when not {_IN_RANGE}
                    then 'no_instant: ' || cast(collected_at as varchar) || ' is not within the years 1 to 9999'
                when {status} not in ({statuses}) then 'not_a_status: ' || {status}
                when {status} not in ({read}) and {any_read}
                    then 'not_a_reading: counters of a post that is ' || {status}
                {" ".join(not_whole)}
            end as bad
        from {source}
    """


def _text(value: str) -> str:
    """A text with NUL, which Postgres does not hold, written out as ``\\x00``."""
    return f"replace({value}, chr(0), '\\x00')"


def named_sql(rows: str) -> str:
    """Rows of ``incoming`` with their snapshot ids: the file's own, or a function of all that a row says.

    Two readings of one instant are two snapshots where they differ. Named last: a million digests are a third of the
    time that the rules take.
    """
    parts = ", ".join(f"ifnull({name}, -1)" for name in COUNTERS)
    made = f"md5(concat_ws('|', tweet_id, epoch_us(collected_at), {parts}, status))"
    return f"select *, coalesce(file_id, {made}) as snapshot_id from ({rows})"


def _count(name: str, kind: str | None) -> tuple[str, str | None]:
    """A counter as a bigint, and the condition on which its value is none (None: its type leaves no doubt)."""
    if kind is None:
        return "cast(null as bigint)", None
    if kind in _WHOLE:
        sure = kind not in ("UBIGINT", "HUGEINT")
        cast = f"try_cast({name} as bigint)"
        return (f"cast({name} as bigint)", None) if sure else (cast, f"{name} is not null and {cast} is null")
    whole = f"case when {name} = trunc({name}) then try_cast({name} as bigint) end"
    return whole, f"{name} is not null and not isnan({name}) and ({whole}) is null"


def flagged_sql(asked: BulkLoadRequest) -> str:
    """The posts of ``known`` on a row of which a rule fires: ``odd`` where one that looks at the row alone and keeps it
    out of the sequence does, ``fires`` where one does that compares it with the reading before.
    """
    latest = (asked.now + FUTURE_TOLERANCE).isoformat()
    alone = f"""
        select
            number as post, epoch_us(collected_at) as instant, {", ".join(COUNTERS)},
            status not in ('ok', 'partial')
            or collected_at < posted_at or collected_at > timestamptz '{latest}'
            or coalesce(lower(author) <> {quoted(asked.account.lower())}, false)
            or least({", ".join(COUNTERS)}) < 0 as odd
        from incoming inner join known using (tweet_id)
        where bad is null
    """
    return f"""
        with found as (
            select post, bool_or(odd or since_before = 0) as odd, bool_or({_fires_sql()}) as fires
            from ({_sequence_sql(alone)})
            where odd or since_before = 0 or {_fires_sql()}
            group by post
        )
        select tweet_id, odd, fires from found inner join known on post = number
    """


def zeros_sql() -> str:
    """When a counter of a post of ours is 0 that was ``A_ZERO`` or more when it was last above 0, some days before."""
    longest = ZERO_LASTS_IF_OTHERS_RISE // _MICROSECOND
    fell = " or ".join(
        f"({name} = 0 and {name}_above >= {A_ZERO} and instant - {name}_at <= {longest})" for name in COUNTERS
    )
    once = " or ".join(f"(min({name}) = 0 and max({name}) >= {A_ZERO})" for name in COUNTERS)
    above = ", ".join(
        f"last_value(nullif({name}, 0) ignore nulls) over of_post as {name}_above,"
        f" last_value(case when {name} > 0 then instant end ignore nulls) over of_post as {name}_at"
        for name in COUNTERS
    )
    return f"""
        with ours as (
            select *, epoch_us(collected_at) as instant from incoming semi join known using (tweet_id) where bad is null
        )
        select distinct tweet_id, collected_at from (
            select *, {above}
            from ours semi join (select tweet_id from ours group by tweet_id having {once}) using (tweet_id)
            window of_post as (partition by tweet_id order by instant)
        )
        where {fell}
        order by collected_at
    """


def faulty_hours_sql(zeros: str) -> str:
    """The hours since 1970 on which the site is at fault, and one more. ``zeros``: a table with ``fell_at``."""
    around = FAULTY_AROUND // timedelta(hours=1) + 1
    return f"""
        select distinct epoch_us(fell_at) // {_HOUR} + away as faulty
        from {zeros}, (select unnest(range(-{around}, {around + 1})) as away)
    """


def twice_sql() -> str:
    """The posts of which the file has a snapshot id twice."""
    return """
        select distinct tweet_id from incoming
        where file_id in (select file_id from incoming group by file_id having count(*) > 1)
    """


def next_sql(values: str) -> str:
    """Of each post in play, the first row after ``upto`` on which a rule fires, with the accepted reading before it,
    what each counter was when last read, and the most views of all before it. ``open_rows``: their rows that are not
    held, ``upto``: until when each is decided.
    """
    in_play = """
        select *, tweet_id as post, epoch_us(collected_at) as instant from open_rows semi join playing using (tweet_id)
    """
    last_read = ", ".join(
        f"arg_max({name}, collected_at) filter ({name} is not null) as {name}_known" for name in COUNTERS
    )
    return f"""
        with sequence as ({_sequence_sql(in_play)}),
        firing as (
            select sequence.* from sequence left join upto using (tweet_id)
            where {_fires_sql()} and (upto.decided is null or collected_at > upto.decided)
            qualify row_number() over (partition by post order by instant) = 1
        )
        select
            {values}, since_before, {", ".join(f"{name}_before" for name in COUNTERS)},
            {", ".join(f"{name}_known" for name in COUNTERS)}, most_views
        from firing left join lateral (
            select max(views) as most_views, {last_read}
            from open_rows
            where open_rows.tweet_id = firing.tweet_id and open_rows.collected_at < firing.collected_at
        ) on true
    """


def _sequence_sql(rows: str) -> str:
    """Each row beside the one of its post before it. ``rows`` have ``post``, ``instant`` (in microseconds) and the
    counters; the fewer and narrower their other columns, the faster they are sorted.
    """
    before = ", ".join(f"lag({name}) over of_post as {name}_before" for name in COUNTERS)
    return f"""
        select
            *, {before},
            instant // {_HOUR} in (select faulty from faulty_hours) as at_fault,
            instant - lag(instant) over of_post as since_before,
            lag(views ignore nulls) over of_post as views_last
        from ({rows})
        window of_post as (partition by post order by instant)
    """


def _fires_sql() -> str:
    """Whether a rule may hold a row; any fall of the views is looked at, which rules on their maximum, and any 0 after
    a reading without that counter.
    """
    below = f"case when at_fault then 1 else {A_ZERO} end"
    fell = [
        f"({name} = 0 and since_before is not null and coalesce({name}_before, {A_ZERO}) >= {below})"
        for name in COUNTERS
    ]
    fell += [
        f"({name}_before - {name} > greatest(3, 0.1e0 * {name}_before) and since_before <= {_micros(days=3)})"
        for name in COUNTERS
        if name != "views"
    ]
    jumped = f"views > 1000 and views > 50 * greatest(views_before, 1) and since_before <= {_micros(minutes=10)}"
    return f"coalesce(likes > views or {' or '.join(fell)} or views < views_last or ({jumped}), false)"


_MICROSECOND = timedelta(microseconds=1)
_HOUR = timedelta(hours=1) // _MICROSECOND


def _micros(**span: int) -> int:
    return timedelta(**span) // _MICROSECOND


def _warnings_sql() -> str:
    """What ``judge`` warns of, as a JSON list."""
    told = {
        "likes > 0.2e0 * views and views <> 0": "'like_rate_high: ' || likes || ' of ' || views || ' views'",
        "quotes > 3 * retweets": "'quotes_high: ' || quotes || ' quotes, ' || retweets || ' retweets'",
        "likes > 100 and replies > 0.5e0 * likes": "'replies_high: ' || replies || ' replies, ' || likes || ' likes'",
    }
    texts = ", ".join(f"case when {rule} then {text} end" for rule, text in told.items())
    any_of_them = " or ".join(f"({rule})" for rule in told)
    return f"case when {any_of_them} then to_json(list_filter([{texts}], lambda t: t is not null)) else '[]' end"


def fast_sql(asked: BulkLoadRequest) -> str:
    """The rows that no rule holds, as ``snapshot_row`` would make them: all that were not judged one by one."""
    values = {
        "posted_at": "posted_at",
        "decision_id": "decision_id",
        "hours_after_post": "round((epoch_us(collected_at) - epoch_us(posted_at)) / 3.6e9, 6)",
        "collection_phase": "'backfill'",
        "verdict": "'accepted'",
        "validation_passed": "true",
        "validation_warnings": _warnings_sql(),
        "anomaly_detected": "false",
        "anomaly_reasons": "'[]'",
        **_told_of_all(asked),
    }
    rows = "select * from incoming inner join known using (tweet_id) anti join slow using (tweet_id) where bad is null"
    return f"""
        select {_columns(values)}
        from ({named_sql(rows)}) anti join (select snapshot_id from judged) using (snapshot_id)
    """


def accepted_sql() -> str:
    """What goes into real_tweet_metrics: all but what is there by now."""
    return """
        select * from fast anti join (select snapshot_id from stored where not quarantined) using (snapshot_id)
        union all by name
        select * from judged where verdict in ('accepted', 'none')
    """


def held_sql(asked: BulkLoadRequest) -> str:
    """What goes into quarantined_metrics: suspect and rejected rows, and those that could not be judged."""
    unknown = "'unknown_post: content_metadata has no posted decision of it'"
    values = {
        "verdict": "'rejected'",
        "validation_passed": "false",
        "validation_warnings": "'[]'",
        "anomaly_detected": "true",
        "anomaly_reasons": f"to_json([coalesce(bad, {unknown})])",
        "collection_phase": "'backfill'",
        **_told_of_all(asked),
    }
    cannot = """
        select incoming.* from incoming left join (select tweet_id as ours from known) on ours = tweet_id
        where bad is not null or ours is null
    """
    return f"""
        select distinct on (snapshot_id) * from (
            select * from judged where verdict in ('suspect', 'rejected')
            union all by name
            select {_columns(values)} from ({named_sql(cannot)})
        )
        anti join (select snapshot_id from stored where quarantined) using (snapshot_id)
    """


def _told_of_all(asked: BulkLoadRequest) -> dict[str, str]:
    return {
        "provenance": quoted(json.dumps(asked.provenance)),
        "selector_used": quoted(SOURCE),
        "data_source": quoted(SOURCE),
        "scraper_version": quoted(VERSION),
        "attempts": "1",
        "run_id": quoted(asked.run_id),
    }


def _columns(values: Mapping[str, str]) -> str:
    """Every column of a snapshot: as ``values`` say, else as the row has it, else NULL."""
    read = ("snapshot_id", "tweet_id", "collected_at", *COUNTERS, "profile_clicks", "status")
    told = {name: name for name in read} | dict(values)
    return ", ".join(f"cast({told.get(name, 'null')} as {kind}) as {name}" for name, kind in SNAPSHOT_TYPES.items())
