"""Break the tables as the old system broke them, and know exactly what a reconciler must then find."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import psycopg

from reconcile import Report

_LOST = 5
_ZEROED = 3


@dataclass(frozen=True)
class Broken:
    """What was broken: (table, kind, key) for every row, in words for people."""

    keys: frozenset[tuple[str, str, str]]
    said: tuple[str, ...]


def break_tables(conninfo: str) -> Broken:
    """Lose rows, put zeros over real values, fabricate a row, store a row twice; in one transaction.

    The fourth is only possible without a key, as the old tables had none: ``tweet_metrics`` loses its primary key
    here, and ``mend_key`` gives it back.
    """
    keys: set[tuple[str, str, str]] = set()
    with psycopg.connect(conninfo) as connection:
        lost = connection.execute(
            "delete from analytics.learning_posts where tweet_id in"
            " (select tweet_id from analytics.learning_posts order by md5(tweet_id) limit %s) returning tweet_id",
            [_LOST],
        ).fetchall()
        keys |= {("learning_posts", "missing", tweet_id) for (tweet_id,) in lost}
        zeroed = connection.execute(
            "update analytics.learning_posts set likes_count = 0, impressions_count = 0 where tweet_id in"
            " (select tweet_id from analytics.learning_posts where likes_count > 0 order by md5(tweet_id) limit %s)"
            " returning tweet_id",
            [_ZEROED],
        ).fetchall()
        keys |= {("learning_posts", "changed", tweet_id) for (tweet_id,) in zeroed}
        connection.execute(
            "insert into analytics.outcomes select (jsonb_populate_record(o, %s)).* from analytics.outcomes o"
            " order by decision_id limit 1",
            ['{"decision_id": "fabricated-1", "tweet_id": "1999999999999999999", "likes": 68000}'],
        )
        keys.add(("outcomes", "extra", "fabricated-1"))
        for (constraint,) in connection.execute(
            "select conname from pg_constraint where conrelid = 'analytics.tweet_metrics'::regclass and contype = 'p'"
        ).fetchall():
            drop = psycopg.sql.SQL("alter table analytics.tweet_metrics drop constraint {}")
            connection.execute(drop.format(psycopg.sql.Identifier(constraint)))
        twice = connection.execute(
            "insert into analytics.tweet_metrics select * from analytics.tweet_metrics order by md5(tweet_id) limit 1"
            " returning tweet_id"
        ).fetchall()
        keys |= {("tweet_metrics", "duplicate", tweet_id) for (tweet_id,) in twice}
    said = (
        f"{len(lost)} rows of learning_posts lost",
        f"{len(zeroed)} rows of learning_posts with zeros over real counters",
        "1 fabricated row in outcomes (68,000 likes, no snapshot behind it)",
        "1 row of tweet_metrics stored twice (its primary key dropped first: the old table had none)",
    )
    return Broken(frozenset(keys), said)


def mend_key(conninfo: str) -> None:
    """Give tweet_metrics its primary key back."""
    with psycopg.connect(conninfo) as connection:
        connection.execute("alter table analytics.tweet_metrics add primary key (tweet_id)")


def found_by(report: Report) -> frozenset[tuple[str, str, str]]:
    """What a report found, in the same form; with a marker where it counted more keys than it showed."""
    keys = [(t.name, s.kind, ", ".join(map(str, s.key.values()))) for t in report.tables for s in t.samples]
    shown = Counter(name for name, _, _ in keys)
    hidden = {(t.name, "not shown", "") for t in report.tables if t.drift.of_rows() + t.drift.schema != shown[t.name]}
    return frozenset(keys) | hidden
