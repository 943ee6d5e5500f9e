"""Load a history of readings from Parquet, a million at once, judged as ``judge`` judges each.

DuckDB runs the rules over all rows at once (extract/bulk_rules.py). Rows on which none fires are accepted as they are;
``judge`` itself judges those on which one does, and all rows of posts that need more than that: where staging has
something of them already, where a row is to be rejected. Everything is written in one transaction: a load that was
killed has loaded nothing, and one that is run again adds nothing.
"""

from __future__ import annotations

import json
import logging
import os
import tempfile
import threading
import time
from bisect import insort
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import chain, groupby, islice
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Any, cast

import dlt
import duckdb

from extract.due import Candidate, Due
from extract.errors import ExtractError, innermost_line
from extract.reading.attempt import Attempt
from extract.reading.post_ids import PostId
from extract.reading.record import COUNTERS, READ, Count, Counters, Reading, Status
from extract.staging.bulk_rules import (
    READ_COLUMNS,
    SNAPSHOT_TYPES,
    SOURCE,
    BulkLoadRequest,
    accepted_sql,
    fast_sql,
    faulty_hours_sql,
    flagged_sql,
    held_sql,
    incoming_sql,
    named_sql,
    next_sql,
    quoted,
    twice_sql,
    zeros_sql,
)
from extract.staging.known_state import candidates, expectations, zeros_held
from extract.staging.tables import DATASET, snapshot_row
from extract.summary import Summary
from extract.validate import CLOCK_TOLERANCE, Expected, Held, Judgement, Known, ReadingVerdict, judge

_REAL, _HELD = "real_tweet_metrics", "quarantined_metrics"
_READ = ("snapshot_id", "tweet_id", "collected_at", "status", "author", "profile_clicks", *COUNTERS)
_POSTS_AT_ONCE = 500
_ROUNDS = 20  # beyond it, what is left of a post is quicker judged row by row
log = logging.getLogger("extract")

_Row = dict[str, Any]


def load_snapshots(pipeline: dlt.Pipeline, asked: BulkLoadRequest, summary: Summary) -> None:
    """Judge and load every row of a Parquet file, or of all in a folder; the counts go into ``summary``.

    Columns: ``tweet_id`` and ``collected_at``, any of the six counters, ``profile_clicks``, ``author``, ``status`` and
    ``snapshot_id``; others are left out. Rows of posts that content_metadata does not have, without an id or an
    instant, or with a counter that is no whole number are quarantined. A snapshot that staging has is not loaded again.

    Raises ExtractError where the file cannot be read or lacks a column, or where the warehouse refuses the rows.
    """
    posts = {post.tweet_id: post for post in candidates(pipeline, asked.network)}
    # both of our destinations speak SQL, which dlt's type of a client does not say
    with cast(Any, pipeline.destination_client()) as client, _scratch(client.sql_client) as scratch:
        bulk = _Bulk(scratch, asked, posts)
        try:
            bulk.read()
            bulk.note_stored(_stored(client.sql_client, bulk.first, bulk.last))
            bulk.note_zeros(zeros_held(pipeline))
            bulk.sort_out()
            with tempfile.TemporaryDirectory(prefix="levelset-") as folder:
                bulk.judge_odd_ones(pipeline, Path(folder) / "judged.jsonl")
            bulk.count_posts(summary)
        except duckdb.Error as error:
            raise ExtractError(f"cannot read {asked.path}: {innermost_line(error)}") from error
        summary.loaded = _write(client, scratch)
    again = bulk.total - sum(summary.loaded.values())
    log.info(
        "Read %s snapshots of %s: %s loaded, %s held in quarantine, %s loaded before or told twice",
        *(f"{bulk.total:,}", asked.path, f"{summary.loaded[_REAL]:,}", f"{summary.loaded[_HELD]:,}", f"{again:,}"),
    )


class _Bulk:
    """The work inside DuckDB. Its relations, in the order in which they come to be:

    ``incoming``: the file's rows with our names and types, ``bad`` saying why a row cannot be judged at all;
    ``known``: the posts of content_metadata, ``plain`` where nothing of the post itself calls for a closer look;
    ``stored``: the snapshots that staging has, by table; ``zeros``: the posts that fell to 0, and when; ``slow``: the
    posts to judge row by row; ``open_rows``: the rows of those where only some need a look; ``judged``: the rows that
    had one; ``accepted`` and ``held``: what is to be loaded into each table.
    """

    def __init__(self, scratch: duckdb.DuckDBPyConnection, asked: BulkLoadRequest, posts: dict[str, Candidate]) -> None:
        self._scratch = scratch
        self._asked = asked
        self._posts = posts
        self.total = 0
        self.first: datetime | None = None
        self.last: datetime | None = None

    def read(self) -> None:
        """Make ``incoming`` and ``known``."""
        path = self._asked.path
        if not path.exists():
            raise ExtractError(f"{path} does not exist: fix sources.engagement.file or --file")
        pattern = path / "**" / "*.parquet" if path.is_dir() else path
        source = f"read_parquet({quoted(str(pattern))}, union_by_name = true)"
        described = self._scratch.execute(f"describe select * from {source}").fetchall()
        types = {str(name).lower(): str(kind) for name, kind, *_ in described}
        self._has_ids = "snapshot_id" in types
        self._scratch.execute(f"create or replace temp view incoming as {incoming_sql(path, types, source)}")
        if unread := sorted(set(types) - READ_COLUMNS):
            log.info("Columns of %s that are not read: %s", path, ", ".join(unread))
        [[self.total, self.first, self.last]] = self._scratch.execute(
            "select count(*), min(collected_at), max(collected_at) from incoming"
        ).fetchall()
        rows = [
            (number, post.tweet_id, post.decision_id, post.posted_at.isoformat(), self._plain(post))
            for number, post in enumerate(self._posts.values())
        ]
        columns = "number integer, tweet_id varchar, decision_id varchar, posted_at timestamptz, plain boolean"
        self._fill(f"known({columns})", rows)

    def _plain(self, post: Candidate) -> bool:
        """Whether ``judge`` finds nothing in the post itself, and staging has nothing of it to compare with."""
        off = abs(PostId(post.tweet_id, self._asked.network).made_at() - post.posted_at)
        return post.last_collected_at is None and post.target_tweet_id != post.tweet_id and off <= CLOCK_TOLERANCE

    def note_stored(self, ids: list[tuple[str, bool]]) -> None:
        """Make ``stored``: (snapshot id, whether it is in quarantine)."""
        self._fill("stored(snapshot_id varchar, quarantined boolean)", ids)

    def note_zeros(self, held: list[tuple[str, datetime]]) -> None:
        """Make ``zeros``, the falls to 0 of the file and those that staging ``held``, and ``faulty_hours`` of them."""
        found = self._scratch.execute(zeros_sql()).fetchall()
        self._zeros = sorted({*found, *held}, key=itemgetter(1))
        self._fill("zeros(tweet_id varchar, fell_at timestamptz)", self._zeros)
        self._scratch.execute(f"create or replace temp table faulty_hours as {faulty_hours_sql('zeros')}")

    def sort_out(self) -> None:
        """Make ``slow``, the posts to judge row by row, and ``open_rows``: those of posts on which a rule may fire."""
        self._scratch.execute(f"create or replace temp table flagged as {flagged_sql(self._asked)}")
        self._scratch.execute(
            "create or replace temp table slow as select tweet_id from known where not plain "
            "or tweet_id in (select tweet_id from flagged where odd)"
            + (f" or tweet_id in ({twice_sql()})" if self._has_ids else "")
        )
        self._scratch.execute(
            "create or replace temp table open_rows as "
            + named_sql(
                "select * from incoming semi join (select tweet_id from flagged where fires) using (tweet_id) "
                "anti join slow using (tweet_id) where bad is null"
            )
        )

    def judge_odd_ones(self, pipeline: dlt.Pipeline, into: Path) -> None:
        """Make ``judged``, and what is to be loaded of it and of all others. By way of a file: its rows may be many."""
        count = 0
        with into.open("w", encoding="utf-8") as file:
            for row in chain(self._judged_in_rounds(), self._judged_row_by_row(pipeline)):
                file.write(json.dumps(row, default=datetime.isoformat) + "\n")
                count += 1
        log.info("Judged %s of them one by one", f"{count:,}")
        types = ", ".join(f"{name}: '{kind}'" for name, kind in SNAPSHOT_TYPES.items())
        self._scratch.execute(
            f"create or replace temp table judged as select * from read_json({quoted(str(into))}, "
            f"format = 'newline_delimited', columns = {{{types}}})"
        )
        self._scratch.execute(f"create or replace temp view fast as {fast_sql(self._asked)}")
        self._scratch.execute(f"create or replace temp view accepted as {accepted_sql()}")
        self._scratch.execute(f"create or replace temp view held as {held_sql(self._asked)}")

    def count_posts(self, summary: Summary) -> None:
        """How many posts of ours the file has, and what became of them."""
        [[fast]] = self._scratch.execute(
            "select count(*) from known anti join slow using (tweet_id) "
            "anti join (select tweet_id from flagged) using (tweet_id) "
            "where tweet_id in (select tweet_id from incoming where bad is null)"
        ).fetchall()
        [[judged, accepted, held]] = self._scratch.execute("""
            select count(*), count(*) filter (accepted), count(*) filter (held and not accepted)
            from (
                select tweet_id, bool_or(verdict = 'accepted') as accepted, bool_or(verdict <> 'none') as held
                from (select tweet_id, verdict from judged union all select tweet_id, 'accepted' from open_rows)
                group by tweet_id
            )
        """).fetchall()
        summary.due, summary.updated, summary.held = fast + judged, fast + accepted, held
        summary.failed = judged - accepted - held

    def _judged_in_rounds(self) -> Iterator[_Row]:
        """The rows on which a rule fires that compares them: of each post the first, then the first after it, ...

        All rows before the first are accepted, and the one after it is compared with the last of them where it is
        held. A post that turns out to need more than that (a fall of its views that is confirmed is compared with
        their maximum from then on; or many rounds) becomes slow.
        """
        judged: defaultdict[str, list[_Row]] = defaultdict(list)
        held: defaultdict[str, list[Held]] = defaultdict(list)
        self._scratch.execute("create or replace temp table playing as select distinct tweet_id from open_rows")
        self._fill("upto(tweet_id varchar, decided timestamptz)", [])
        for turn in range(_ROUNDS):
            found = self._scratch.execute(next_sql(", ".join(_READ))).fetchall()
            decided, out, slow = [], [], []
            for values in found:
                row = dict(zip(_READ, values, strict=False))
                tweet_id = row["tweet_id"]
                history = _before(row["collected_at"], *values[len(_READ) :])
                expected = replace(self._expected(tweet_id), history=history, held=held[tweet_id])
                judgement, made = self._judge(row, expected)
                judged[tweet_id].append(made)
                decided.append((tweet_id, row["collected_at"]))
                if judgement.verdict is ReadingVerdict.SUSPECT:
                    held[tweet_id].append(Held(row["collected_at"], _counters(row), judgement.reasons))
                    out.append((row["snapshot_id"],))
                if turn == _ROUNDS - 1 or any(warning.startswith("confirmed: ") for warning in judgement.warnings):
                    slow.append((tweet_id,))
                    del judged[tweet_id]
            self._play_on(decided, out, slow)
            if not found:
                break
        for rows in judged.values():
            yield from rows

    def _play_on(self, decided: list[tuple[Any, ...]], out: list[tuple[Any, ...]], slow: list[tuple[Any, ...]]) -> None:
        """Go on with the posts that had a row to decide, but for those that are slow now."""
        self._fill("decided(tweet_id varchar, decided timestamptz)", decided)
        self._fill("out_now(snapshot_id varchar)", out)
        self._fill("slow_now(tweet_id varchar)", slow)
        for statement in (
            "insert into slow select tweet_id from slow_now",
            "delete from open_rows where tweet_id in (select tweet_id from slow_now)",
            "delete from open_rows where snapshot_id in (select snapshot_id from out_now)",
            "create or replace temp table playing as select tweet_id from decided anti join slow_now using (tweet_id)",
            "create or replace temp table upto as select * from decided",
        ):
            self._scratch.execute(statement)

    def _judged_row_by_row(self, pipeline: dlt.Pipeline) -> Iterator[_Row]:
        stored = self._scratch.execute("select snapshot_id from stored where not quarantined").fetchall()
        done = {snapshot_id for (snapshot_id,) in stored}
        found = self._scratch.execute(
            f"select {', '.join(_READ)} from "
            f"({named_sql('select * from incoming semi join slow using (tweet_id) where bad is null')}) "
            "order by tweet_id, collected_at, snapshot_id"
        )
        rows = (dict(zip(_READ, row, strict=True)) for row in iter(found.fetchone, None))
        by_post = ((tweet_id, list(of_it)) for tweet_id, of_it in groupby(rows, key=itemgetter("tweet_id")))
        while batch := list(islice(by_post, _POSTS_AT_ONCE)):
            posts = [self._posts[tweet_id] for tweet_id, _ in batch]
            known = expectations(pipeline, posts, self._asked.account, self._zeros, self._asked.network)
            for tweet_id, of_it in batch:
                new = {row["snapshot_id"]: row for row in of_it if row["snapshot_id"] not in done}
                done.update(new)
                yield from self._judged_post(known[tweet_id], new.values())

    def _judged_post(self, expected: Expected, rows: Iterable[_Row]) -> Iterator[_Row]:
        """A post's rows, oldest first, each judged with the ones before it and what staging has of that time."""
        history, held = list(expected.history), list(expected.held)
        expected = replace(expected, history=history, held=held)
        for row in rows:
            judgement, made = self._judge(row, expected)
            if judgement.verdict is ReadingVerdict.ACCEPTED:
                insort(history, Known(row["collected_at"], _counters(row)), key=attrgetter("observed_at"))
            elif judgement.verdict is ReadingVerdict.SUSPECT:
                held.append(Held(row["collected_at"], _counters(row), judgement.reasons))
            yield made

    def _judge(self, row: _Row, expected: Expected) -> tuple[Judgement, _Row]:
        """A row's judgement, and what staging keeps of it."""
        attempt = Attempt(row["tweet_id"], _reading(row), row["collected_at"])
        judgement = judge(attempt, expected, self._asked.now)
        due = Due(self._posts[row["tweet_id"]], "backfill", "a row of the file")
        made = snapshot_row(attempt, due, judgement, SOURCE, self._asked.run_id)
        return judgement, {**made, "snapshot_id": row["snapshot_id"], "provenance": self._asked.provenance}

    def _expected(self, tweet_id: str) -> Expected:
        post = self._posts[tweet_id]
        return Expected(
            tweet_id=tweet_id,
            account=self._asked.account,
            posted_at=post.posted_at,
            target_tweet_id=post.target_tweet_id,
            network=self._asked.network,
            zeros_elsewhere=[at for post_at_zero, at in self._zeros if post_at_zero != tweet_id],
        )

    def _fill(self, table: str, rows: list[tuple[Any, ...]]) -> None:
        """A temporary table, ``name(columns with types)``, with rows; as lists: one by one is slow in DuckDB."""
        self._scratch.execute(f"create or replace temp table {table}")
        if rows:
            columns = [list(column) for column in zip(*rows, strict=True)]
            name, places = table.split("(", 1)[0], ", ".join(["unnest(?)"] * len(columns))
            self._scratch.execute(f"insert into {name} select {places}", columns)


def _counters(row: _Row) -> dict[str, int | None]:
    return {name: row[name] for name in COUNTERS}


def _before(at: datetime, since: int | None, *told: int | None) -> list[Known]:
    """The accepted readings that ``judge`` looks at: the last one, ``since`` microseconds before, one with what each
    counter was when it was last read, and one with the most views (``told``: those, in this order).
    """
    if since is None:
        return []
    before = at - timedelta(microseconds=since)
    last, known, [most_views] = told[: len(COUNTERS)], told[len(COUNTERS) : -1], told[-1:]
    most = {**dict.fromkeys(COUNTERS), "views": most_views}
    return [Known(before, most), *(Known(before, dict(zip(COUNTERS, values, strict=True))) for values in (known, last))]


def _reading(row: _Row) -> Reading:
    status = Status(row["status"])
    told = {name: Count(row[name], SOURCE) for name in COUNTERS if row[name] is not None}
    return Reading(
        status,
        tweet_id=row["tweet_id"] if status in READ else None,
        counters=Counters(**told),
        author=row["author"],
        selector=SOURCE,
        profile_clicks=row["profile_clicks"],
    )


@contextmanager
def _scratch(sql_client: Any) -> Iterator[duckdb.DuckDBPyConnection]:
    """Where the work is done: in the warehouse itself where that is DuckDB, else in memory."""
    if isinstance(sql_client.native_connection, duckdb.DuckDBPyConnection):
        yield sql_client.native_connection
    else:
        with duckdb.connect() as connection:
            yield connection


def _stored(sql_client: Any, first: datetime | None, last: datetime | None) -> list[tuple[str, bool]]:
    """The snapshots that staging has of the file's time, and whether they are in quarantine."""
    found = []
    for table in (_REAL, _HELD):
        told = sql_client.execute_sql(
            f"select snapshot_id from {DATASET}.{table} where collected_at between %s and %s or collected_at is null",
            *(first, last),
        )
        found += [(snapshot_id, table == _HELD) for (snapshot_id,) in told or []]
    return found


def _write(client: Any, scratch: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Insert ``accepted`` and ``held`` and note the load, all in one transaction. The rows that went into each."""
    sql_client, load_id = client.sql_client, str(time.time())
    columns = ", ".join((*SNAPSHOT_TYPES, "_dlt_load_id", "_dlt_id"))
    loaded = {}
    try:
        with sql_client.begin_transaction():
            for table, view in ((_REAL, "accepted"), (_HELD, "held")):
                rows = f"select {', '.join(SNAPSHOT_TYPES)}, {quoted(load_id)}, snapshot_id from {view}"
                into = f"{DATASET}.{table} ({columns})"
                if scratch is sql_client.native_connection:
                    [[loaded[table]]] = scratch.execute(f"insert into {into} {rows}").fetchall()
                else:
                    loaded[table] = _copy(sql_client.native_connection, into, scratch, rows)
            client.complete_load(load_id)
    except ExtractError:
        raise
    except Exception as error:
        raise ExtractError(f"the warehouse refused the rows, none is loaded: {innermost_line(error)}") from error
    return loaded


def _copy(connection: Any, into: str, scratch: duckdb.DuckDBPyConnection, rows: str) -> int:
    """Stream a query's rows from DuckDB into a Postgres table: one writes CSV into a pipe, the other reads it."""
    reading, writing = os.pipe()
    failed: list[duckdb.Error] = []

    def write() -> None:
        try:
            scratch.execute(f"copy ({rows}) to '/dev/fd/{writing}' (format csv, header false, use_tmp_file false)")
        except duckdb.Error as error:
            failed.append(error)
        finally:
            os.close(writing)

    writer = threading.Thread(target=write, name="levelset-bulk")
    with os.fdopen(reading, "rb") as pipe, connection.cursor() as cursor:
        writer.start()
        try:
            cursor.copy_expert(f"copy {into} from stdin (format csv)", pipe)
        finally:
            pipe.close()  # a writer whose reader has failed ends with an error, not never
            writer.join()
        if failed:
            raise ExtractError(f"the rows could not be read to their end, none is loaded: {innermost_line(failed[0])}")
        return int(cursor.rowcount)
