"""The old system's thirty incidents, each replayed on a level warehouse of over 2,000 posts, and who catches it.

What the reconciler catches it also repairs: to the byte, and no other row is written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import dlt
import psycopg
import pytest

from extract.errors import ExtractError
from extract.reading.attempt import Attempt
from extract.reading.post_ids import snowflake
from extract.reading.record import Count, Counters, Reading, Status
from extract.staging.pipeline import make_pipeline, raw_tables
from extract.validate import Expected, Known, ReadingVerdict, judge
from reconcile import Refused, Report, apply_repair, diff, plan_repair, run_dbt, undo
from tests.extract.staging.test_pipeline import IDS, Scripted, collect, posted, read
from tests.support.incident_world import KEYS, Incident, samples

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
POSTED = NOW - timedelta(hours=5)
TWEET = snowflake(POSTED)
FIVE = "select {key} from analytics.{table} where {where} order by md5({key}) limit {limit}"


def some(incident: Incident, table: str, where: str = "true", limit: int = 5) -> set[str]:
    """A few keys of a table, the same ones in every run."""
    found = incident.keys(FIVE.format(key=KEYS[table], table=table, where=where, limit=limit))
    assert len(found) == limit
    return found


def listed(keys: set[str]) -> str:
    return ", ".join(f"'{key}'" for key in sorted(keys))


def repair(incident: Incident, **more: Any) -> Report:
    return apply_repair(allow_delete=True, **incident.where, **more)


@contextmanager
def reconciled(
    incident: Incident, table: str, kind: str, keys: set[str], columns: set[str] | None = None
) -> Iterator[Report]:
    """Hurt the tables before this: just these keys must be found, of this kind, in these columns, and be repaired.

    ``incident.before`` must hold the tables as they were.
    """
    report = incident.check()
    assert report.exit_code == 1
    found = samples(report, table, kind)
    assert set(found) == keys
    assert report.totals.of_rows() == len(keys)
    if columns is not None:
        assert {name for sample in found.values() for name in sample.columns} == columns
    yield report
    others = incident.untouched(table, keys)
    mended = repair(incident)
    assert (mended.exit_code, mended.verdict.value) == (0, "level")
    assert incident.untouched(table, keys) == others
    assert incident.all_contents() == incident.before


@pytest.mark.incident(1, "learning tables empty while scraping works", "reconciler: missing")
def test_readers_and_writers_that_use_different_tables(incident: Incident) -> None:
    rows = len(incident.contents("learning_posts"))
    assert rows > 2000
    incident.run("truncate analytics.learning_posts", "truncate analytics.tweet_metrics")
    report = incident.check()

    drift = {t.name: t.drift.missing for t in report.tables if t.drift.any()}
    assert drift == {"learning_posts": rows, "tweet_metrics": rows}
    with pytest.raises(Refused, match="--max-percent allows 10"):
        repair(incident)
    assert repair(incident, max_percent=100.0).exit_code == 0
    assert incident.all_contents() == incident.before


@pytest.mark.incident(2, "a fix deployed, and still no rows: a column is missing", "dbt contract; reconciler: schema")
def test_a_missing_column(incident: Incident) -> None:
    incident.run("alter table analytics.learning_posts drop column engagement_score")
    assert "learning_posts: " in incident.red("build", "-s", "learning_posts")

    table = next(t for t in incident.check().tables if t.name == "learning_posts")
    assert [(c.column, c.problem) for c in table.schema_changes] == [("engagement_score", "missing")]


@pytest.mark.incident(3, "no unique constraint matching ON CONFLICT", "dbt contract: primary keys")
def test_every_table_has_its_key(incident: Incident) -> None:
    for table, key in KEYS.items():
        with pytest.raises(psycopg.errors.UniqueViolation):
            incident.run(f"insert into analytics.{table} select * from analytics.{table} limit 1")
        with pytest.raises(psycopg.errors.NotNullViolation):
            incident.run(f"update analytics.{table} set {key} = null")


@pytest.fixture
def pipeline(incident: Incident) -> dlt.Pipeline:
    """The loader on the incident's warehouse."""
    database = incident.project.database
    assert database is not None
    address = f"postgresql://postgres:x@localhost:5432/{database.name}?host={database.host}"
    destination = dlt.destinations.postgres(address, create_indexes=False, destination_name="warehouse")
    return make_pipeline(destination, incident.project.folder / "pipelines")


@pytest.mark.incident(4, "a column unknown to the table: every scrape lost", "loader: schema contract")
def test_a_new_column_loses_no_row(incident: Incident, pipeline: dlt.Pipeline) -> None:
    row = {"snapshot_id": "new", "tweet_id": TWEET, "likes": 5, "collected_at": NOW, "validation_passed": True}
    pipeline.run(raw_tables({"real_tweet_metrics": [{**row, "brand_new": 7}]}))

    assert incident.rows("select likes from staging.real_tweet_metrics where snapshot_id = 'new'") == [(5,)]
    incident.project.dbt("build", "-s", "stg_engagement__snapshots")


@pytest.mark.incident(5, "a dashboard of zeros: a fifth copy, never updated", "reconciler: diff of two tables")
def test_a_copy_that_is_never_updated(incident: Incident) -> None:
    keys = some(incident, "outcomes", "likes > 0 and views > 0")
    incident.run(
        "create table analytics.dashboard as select * from analytics.outcomes",
        f"update analytics.dashboard set likes = 0, views = 0 where decision_id in ({listed(keys)})",
    )
    sides = ("dev:analytics.outcomes", "dev:analytics.dashboard")
    folder = incident.project.folder
    table = diff(*sides, key="decision_id", project_dir=folder, profiles_dir=folder).tables[0]

    assert (table.drift.changed, table.drift.of_rows(), table.columns) == (5, 5, {"likes": 5, "views": 5})
    assert {s.key["decision_id"] for s in table.samples} == keys


@pytest.mark.incident(6, "placeholder rows that nothing ever replaced", "dbt test: a reading has a counter")
def test_a_placeholder(incident: Incident) -> None:
    incident.run(
        "update staging.real_tweet_metrics set likes = null, retweets = null, replies = null, quotes = null,"
        " bookmarks = null, views = null where snapshot_id = (select min(snapshot_id) from staging.real_tweet_metrics)"
    )
    assert "accepted_readings_have_a_counter" in incident.red("build", "-s", "stg_engagement__snapshots")


@pytest.mark.incident(7, '954 rows, 128 with data, called "normal"', "dbt test: completeness of values")
def test_rows_without_values(incident: Incident) -> None:
    incident.run("update analytics.learning_posts set likes_count = null where right(tweet_id, 1) <> '4'")
    assert "values_are_complete_learning_posts" in incident.red("test", "-s", "learning_posts")


@pytest.mark.incident(8, "zeros over real values", "validator: false_zero; reconciler: changed")
def test_zeros_over_real_values(incident: Incident) -> None:
    known = Known(NOW - timedelta(hours=1), reading().counters.values())
    assert judged(reading(likes=0), history=[known]) == (ReadingVerdict.SUSPECT, ["false_zero"])

    keys = some(incident, "learning_posts", "likes_count > 0 and impressions_count > 0")
    incident.run(
        f"update analytics.learning_posts set likes_count = 0, impressions_count = 0 where tweet_id in ({listed(keys)})"
    )
    with reconciled(incident, "learning_posts", "changed", keys, {"likes_count", "impressions_count"}):
        pass


def reading(tweet_id: str = TWEET, author: str = "me", **values: int) -> Reading:
    counts = {"likes": 40, "retweets": 8, "replies": 4, "quotes": 2, "bookmarks": 6, "views": 2000, **values}
    counters = Counters(**{name: Count(value, "test") for name, value in counts.items()})
    return Reading(Status.OK, tweet_id=tweet_id, counters=counters, author=author)


def judged(found: Reading, **more: Any) -> tuple[ReadingVerdict, list[str]]:
    expected = Expected(**{"tweet_id": TWEET, "account": "me", "posted_at": POSTED, **more})
    judgement = judge(Attempt(TWEET, found, NOW), expected, NOW)
    return judgement.verdict, [reason.split(":")[0] for reason in judgement.reasons]


@pytest.mark.incident(9, "68K likes on a 31-follower account", "validator: wrong_post, likes_above_views")
def test_a_neighbours_article() -> None:
    assert judged(reading(tweet_id=snowflake(POSTED, 9), likes=68_000)) == (ReadingVerdict.REJECTED, ["wrong_post"])
    assert judged(reading(likes=68_000)) == (ReadingVerdict.SUSPECT, ["likes_above_views"])


@pytest.mark.incident(10, "foreign tweets stored as own", "validator and dbt test: snowflake clock")
def test_a_foreign_tweet(incident: Incident) -> None:
    assert judged(reading(), posted_at=POSTED + timedelta(hours=4))[1][-1] == "snowflake_clock"

    decision = next(iter(some(incident, "outcomes", limit=1)))
    foreign = snowflake(POSTED - timedelta(days=900), 3)
    incident.run(f"update staging.content_metadata set tweet_id = '{foreign}' where decision_id = '{decision}'")
    assert "snowflake_clock_int_posts_tweet_id" in incident.red("build", "-s", "int_posts")


@pytest.mark.incident(11, "a wrong handle in the URL", "validator: wrong_author")
def test_a_wrong_author() -> None:
    assert judged(reading(author="neighbour")) == (ReadingVerdict.REJECTED, ["wrong_author"])


@pytest.mark.incident(12, "a reply shows its parent's metrics", "validator: wrong_post; dbt test")
def test_a_replys_parent(incident: Incident) -> None:
    parent = snowflake(POSTED - timedelta(hours=2))
    assert judged(reading(tweet_id=parent), target_tweet_id=parent)[0] is ReadingVerdict.REJECTED

    incident.run("update staging.content_metadata set target_tweet_id = tweet_id where decision_type = 'reply'")
    assert "no_reply_is_measured_as_its_parent" in incident.red("build", "-s", "stg_engagement__decisions")


@pytest.mark.incident(13, "34 tweet ids over 56 rows", "dbt test: unique; reconciler: duplicate")
def test_duplicates(incident: Incident) -> None:
    keys = some(incident, "tweet_metrics", limit=34)
    incident.run(
        *drop_key(incident, "tweet_metrics"),
        f"insert into analytics.tweet_metrics select * from analytics.tweet_metrics where tweet_id in ({listed(keys)})",
        "insert into analytics.tweet_metrics select distinct on (tweet_id) * from analytics.tweet_metrics"
        f" where tweet_id in ({listed(keys)}) order by tweet_id limit 22",
    )
    assert "unique_tweet_metrics_tweet_id" in incident.red("test", "-s", "tweet_metrics")
    with reconciled(incident, "tweet_metrics", "duplicate", keys):
        pass


def drop_key(incident: Incident, table: str) -> list[str]:
    """A table without its primary key accepts what the old ones accepted."""
    found = incident.rows(
        f"select conname from pg_constraint where conrelid = 'analytics.{table}'::regclass and contype = 'p'"
    )
    return [f'alter table analytics.{table} drop constraint "{name}"' for (name,) in found]


@pytest.mark.incident(14, "decision_id holding a row id", "dbt tests: uuid format, relationships")
def test_a_row_id_for_a_decision(incident: Incident) -> None:
    decision = next(iter(some(incident, "outcomes", limit=1)))
    incident.run(f"update staging.content_metadata set decision_id = '70' where decision_id = '{decision}'")

    assert "uuid_format_stg_engagement__decisions" in incident.red("build", "-s", "stg_engagement__decisions")
    assert "relationships_outcomes_decision_id" in incident.red("test", "-s", "outcomes")


@pytest.mark.incident(15, "posted without an id, or live though failed", "dbt test: status and id agree")
@pytest.mark.parametrize("change", ["tweet_id = null", "status = 'failed'"])
def test_a_status_that_lies(incident: Incident, change: str) -> None:
    decision = next(iter(some(incident, "outcomes", limit=1)))
    incident.run(f"update staging.content_metadata set {change} where decision_id = '{decision}'")
    assert "decisions_agree_with_their_status" in incident.red("build", "-s", "stg_engagement__decisions")


@pytest.mark.incident(16, "posted_at set to the time of recovery", "dbt test: snowflake clock")
def test_a_time_of_recovery(incident: Incident) -> None:
    decision = next(iter(some(incident, "outcomes", limit=1)))
    incident.run(f"update staging.content_metadata set posted_at = now() where decision_id = '{decision}'")
    assert "snowflake_clock_int_posts_tweet_id" in incident.red("build", "-s", "int_posts")


@pytest.mark.incident(17, "pseudo ids: posted_*, mock_*, verified_*", "dbt test: id format")
@pytest.mark.parametrize("table", ["content_metadata", "real_tweet_metrics"])
def test_a_pseudo_id(incident: Incident, table: str) -> None:
    decision = next(iter(some(incident, "outcomes", limit=1)))
    incident.run(f"update staging.{table} set tweet_id = 'mock_1751' where decision_id = '{decision}'")
    assert "tweet_id_format_stg" in incident.red("build", "-s", "staging")


@pytest.mark.incident(18, "numeric overflow of a rate", "types: wide numeric, green and exact")
def test_a_rate_beyond_ten(incident: Incident) -> None:
    [(tweet_id, at)] = incident.rows("select tweet_id, collected_at from analytics.outcomes order by tweet_id limit 1")
    later = str(at + timedelta(minutes=1))  # type: ignore[operator]
    incident.run(
        "insert into staging.real_tweet_metrics (snapshot_id, tweet_id, collected_at, status, validation_passed, likes,"
        f" retweets, replies, views, _dlt_load_id, _dlt_id) values ('odd', '{tweet_id}', '{later}+00', 'ok', true,"
        f" 2000000000, 0, 0, 1, '{datetime.now(UTC).timestamp():.3f}', 'odd')"
    )
    incident.project.dbt("run", "-s", "marts.engagement")

    rate = Decimal(2_000_000_000)
    assert incident.rows(f"select engagement_rate from analytics.outcomes where tweet_id = '{tweet_id}'") == [(rate,)]


@pytest.mark.incident(19, "parts of threads unmeasured", "reconciler: missing")
def test_parts_of_threads(incident: Incident) -> None:
    keys = some(incident, "tweet_metrics", "thread_position > 0", 60)
    incident.run(f"delete from analytics.tweet_metrics where tweet_id in ({listed(keys)})")
    with reconciled(incident, "tweet_metrics", "missing", keys):
        pass


@pytest.mark.incident(20, "queue time used as a post's age", "dbt test: a post is younger than its decision")
def test_a_queue_time(incident: Incident) -> None:
    decision = next(iter(some(incident, "outcomes", limit=1)))
    incident.run(
        "update staging.content_metadata set created_at = posted_at + interval '2 hours'"
        f" where decision_id = '{decision}'"
    )
    assert "no_post_is_older_than_its_decision" in incident.red("build", "-s", "stg_engagement__decisions")


@pytest.mark.incident(21, "rows never refreshed after their first day", "dbt test: freshness by age")
def test_rows_that_are_never_read_again(incident: Incident) -> None:
    incident.run(
        "delete from staging.real_tweet_metrics where collected_at between posted_at + interval '2 hours'"
        " and posted_at + interval '160 hours'"
    )
    assert "posts_are_measured_as_they_age" in incident.red("build", "-s", "int_posts", "stg_engagement__snapshots")


@pytest.mark.incident(22, "the scraper silent for 28 hours", "dbt source freshness")
def test_a_silent_scraper(incident: Incident) -> None:
    silent = (datetime.now(UTC) - timedelta(hours=28)).timestamp()
    incident.run(f"update staging.real_tweet_metrics set _dlt_load_id = '{silent:.3f}'")
    assert "real_tweet_metrics" in incident.red("source", "freshness")


@pytest.mark.incident(23, "one of two alias columns NULL in every row", "dbt test: aliases agree; reconciler: changed")
def test_an_alias_that_is_null(incident: Incident) -> None:
    keys = some(incident, "outcomes", "quote_tweets is not null", 90)
    incident.run(f"update analytics.outcomes set quote_tweets = null where decision_id in ({listed(keys)})")
    assert "columns_agree_outcomes" in incident.red("test", "-s", "outcomes")
    with reconciled(incident, "outcomes", "changed", keys, {"quote_tweets"}):
        pass


@pytest.mark.incident(24, "fabricated numbers", "reconciler: extra, changed")
@pytest.mark.parametrize("how", ["a row with no reading behind it", "impressions of thirty times the likes"])
def test_fabricated_numbers(incident: Incident, how: str) -> None:
    if how.startswith("impressions"):
        keys = some(incident, "learning_posts", "impressions_count > 0 and impressions_count <> 30 * likes_count")
        incident.run(
            "update analytics.learning_posts set impressions_count = 30 * likes_count"
            f" where tweet_id in ({listed(keys)})"
        )
        with reconciled(incident, "learning_posts", "changed", keys, {"impressions_count"}):
            pass
        return
    invented = snowflake(NOW, 77)
    incident.run(
        "insert into analytics.learning_posts select (jsonb_populate_record(l, "
        f"'{json.dumps({'tweet_id': invented, 'likes_count': 68_000})}')).* from analytics.learning_posts l limit 1"
    )
    with reconciled(incident, "learning_posts", "extra", {invented}):
        pass


@pytest.mark.incident(25, "a clean-up that deleted a whole table", "repair: guards, undo")
def test_a_clean_up_too_broad(incident: Incident) -> None:
    incident.run("delete from analytics.outcomes")
    with pytest.raises(Refused, match="--max-percent allows 10"):
        repair(incident)
    restored = repair(incident, max_percent=100.0)
    assert incident.all_contents() == incident.before
    # the same mistake made by a repair: its definition has lost its sources
    incident.run("create table kept as select * from staging.content_metadata", "delete from staging.content_metadata")
    with pytest.raises(Refused, match="would empty it"):
        repair(incident, max_percent=100.0)
    assert incident.all_contents() == incident.before

    assert restored.repair is not None
    undone = undo(restored.repair.run_id or "", apply=True, **incident.where)
    assert undone.deleted == len(incident.before["outcomes"])
    assert incident.contents("outcomes") == []


@pytest.mark.incident(26, "insert errors logged as success", "loader: rows in are rows out")
def test_a_load_that_fails_says_so_and_loses_nothing(incident: Incident, pipeline: dlt.Pipeline) -> None:
    before = incident.rows("select count(*) from staging.real_tweet_metrics")[0][0]
    incident.run("alter table staging.real_tweet_metrics add constraint low check (likes < 1000000) not valid")
    source = Scripted({IDS[0]: read(IDS[0], likes=2_000_000, views=9_000_000)})
    with pytest.raises(ExtractError, match=r'violates check constraint "low"') as refused:
        collect(pipeline, source, content=posted)
    folder = Path(str(refused.value).split("kept in ")[1].split(", and its")[0])
    assert any("2000000" in file.read_text() for file in folder.iterdir())

    incident.run("alter table staging.real_tweet_metrics drop constraint low")
    collect(pipeline, source, content=posted)

    kept = incident.rows(
        f"select likes from staging.real_tweet_metrics where tweet_id = '{IDS[0]}' and likes is not null"
    )
    assert kept == [(2_000_000,)]
    assert incident.rows("select count(*) from staging.real_tweet_metrics")[0][0] > before  # type: ignore[operator]


@pytest.mark.incident(27, "a missing baseline: the whole account gained", "dbt test; reconciler: changed")
def test_a_missing_baseline(incident: Incident) -> None:
    keys = some(incident, "outcomes")
    incident.run(
        "update analytics.outcomes set followers_before = null, followers_gained = followers_after,"
        f" follows = followers_after where decision_id in ({listed(keys)})"
    )
    assert "no_followers_are_gained_without_two_readings" in incident.red("test", "-s", "outcomes")
    with reconciled(incident, "outcomes", "changed", keys, {"followers_before", "followers_gained", "follows"}):
        pass


@pytest.mark.incident(28, "ten writers on one table, the last one wins", "reconciler: cause manual_edit")
def test_a_writer_that_is_not_the_model(incident: Incident) -> None:
    keys = some(incident, "tweet_metrics", "likes_count is not null")
    incident.run(f"update analytics.tweet_metrics set likes_count = likes_count + 7 where tweet_id in ({listed(keys)})")
    with reconciled(incident, "tweet_metrics", "changed", keys, {"likes_count"}) as report:
        table = next(t for t in report.tables if t.name == "tweet_metrics")
        assert table.causes == {"manual_edit": 5}


def test_a_real_build_between_plan_and_apply_wins(incident: Incident, tmp_path: Path) -> None:
    keys = some(incident, "learning_posts", "likes_count > 0")
    incident.run(f"update analytics.learning_posts set likes_count = 0 where tweet_id in ({listed(keys)})")
    plan = tmp_path / "plan.json"
    planned = plan_repair(plan_file=plan, **incident.where)
    assert planned.repair is not None
    assert (planned.exit_code, planned.repair.updated) == (1, 5)

    incident.project.dbt("run", "--full-refresh", "-s", "learning_posts")
    applied = apply_repair(plan_file=plan, allow_delete=True, **incident.where)
    assert applied.repair is not None
    assert (applied.repair.updated, applied.repair.stale) == (0, 5)
    assert (applied.verdict.value, applied.exit_code) == ("level", 1)  # level, and not by us
    assert incident.all_contents() == incident.before


@pytest.mark.incident(29, "base tables scheduled for deletion", "dbt lineage: exposures; reconciler: extra")
def test_a_base_table_that_is_needed(incident: Incident) -> None:
    folder = str(incident.project.folder)
    asked = ["ls", "-s", "source:engagement.real_tweet_metrics+", "--resource-type", "exposure", "--quiet"]
    readers = run_dbt([*asked, "--project-dir", folder, "--profiles-dir", folder]).result
    assert len(readers) == 7

    incident.run("drop table staging.real_tweet_metrics cascade")
    incident.project.dbt("run", "-s", "staging", "int_posts")  # recreated, empty: the drop alone stops no build
    assert {t.name for t in incident.check().tables if t.drift.extra} == set(KEYS)
    with pytest.raises(Refused, match="would empty it"):
        repair(incident, max_percent=100.0)


@pytest.mark.incident(30, "replies mixed into the post optimizers", "reconciler: changed; dbt test: accepted values")
def test_replies_among_posts(incident: Incident) -> None:
    keys = some(incident, "learning_posts", "decision_type = 'reply'", 20)
    incident.run(f"update analytics.learning_posts set decision_type = 'post' where tweet_id in ({listed(keys)})")
    assert "accepted_values_learning_posts_decision_type" in incident.red("test", "-s", "learning_posts")
    with reconciled(incident, "learning_posts", "changed", keys, {"decision_type"}):
        pass
