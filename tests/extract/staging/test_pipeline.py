"""The pipeline on both warehouses: what is read is loaded once, what is held is kept apart, nothing is lost."""

from __future__ import annotations

import json
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dlt
import pytest
import yaml

from extract.errors import ExtractError
from extract.reading.attempt import Attempt, Profile
from extract.reading.post_ids import Network, snowflake
from extract.reading.record import Count, Counters, Reading, Status
from extract.sources.files import ExportSource
from extract.staging.content_columns import ContentRow, ContentScreen, read_content
from extract.staging.pipeline import make_pipeline, run
from extract.staging.tables import TABLES
from extract.summary import Summary
from tests.conftest import ROOT

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
IDS = [snowflake(NOW - timedelta(hours=h)) for h in (2, 3, 4, 30)]


def content() -> list[tuple[int, str, dict[str, Any] | None]]:
    rows = []
    for line, (tweet_id, hours) in enumerate(zip(IDS, (2, 3, 4, 30), strict=True), start=1):
        posted = NOW - timedelta(hours=hours)
        row = {"decision_id": f"d{line}", "decision_type": "single", "status": "posted", "tweet_id": tweet_id}
        times = {"created_at": (posted - timedelta(hours=1)).isoformat(), "posted_at": posted.isoformat()}
        rows.append((line, json.dumps(row), {**row, **times, "updated_at": posted.isoformat()}))
    return rows


def posted() -> Iterator[ContentRow]:
    return iter(content())


class Scripted:
    """A source that answers as told: counters by tweet id, a status for the others."""

    name = "scripted"
    network = Network.X

    def __init__(self, answers: dict[str, Reading], at: datetime = NOW) -> None:
        self.wall: Reading | None = None
        self._answers = answers
        self._at = at

    def collect(self, wanted: Sequence[str]) -> Iterator[Attempt | Profile]:
        yield Profile("me", self._at, 100, 5, 9)
        for tweet_id in wanted:
            if tweet_id in self._answers:
                yield Attempt(tweet_id, self._answers[tweet_id], self._at)
            else:
                yield Attempt(tweet_id, Reading(Status.DELETED), self._at)

    def reread(self, wanted: Sequence[str]) -> Iterator[Attempt]:
        return iter(())


def read(tweet_id: str, **values: int) -> Reading:
    counts = {"likes": 40, "retweets": 8, "replies": 6, "quotes": 2, "bookmarks": 7, "views": 2000, **values}
    return Reading(Status.OK, tweet_id=tweet_id, counters=Counters(**{k: Count(v, "x") for k, v in counts.items()}))


def open_pipeline(address: str, folder: Path) -> dlt.Pipeline:
    if address.endswith(".duckdb"):
        destination: Any = dlt.destinations.duckdb(address, destination_name="warehouse")
    else:
        destination = dlt.destinations.postgres(address, create_indexes=False, destination_name="warehouse")
    return make_pipeline(destination, folder / "pipelines")


def rows(pipeline: dlt.Pipeline, query: str) -> list[tuple[Any, ...]]:
    with pipeline.sql_client() as client:
        return [tuple(row) for row in client.execute_sql(query) or []]


def collect(
    pipeline: dlt.Pipeline, source: Scripted, job: str = "backfill", at: datetime = NOW, **more: Any
) -> Summary:
    return run(pipeline, source, job=job, account="me", now=lambda: at, **more)


def test_every_attempt_is_one_row_and_the_summary_counts_them(pipeline: dlt.Pipeline) -> None:
    source = Scripted({IDS[0]: read(IDS[0]), IDS[1]: read(IDS[1], likes=0), IDS[2]: read("1234567890123")})
    summary = collect(pipeline, source, content=posted)

    found = rows(
        pipeline, "select tweet_id, status, verdict, likes from staging.real_tweet_metrics order by tweet_id desc"
    )
    held = rows(pipeline, "select tweet_id, verdict, likes from staging.quarantined_metrics")
    assert found == [
        (IDS[0], "ok", "accepted", 40),
        (IDS[1], "ok", "accepted", 0),
        (IDS[3], "deleted", "none", None),
    ]
    assert held == [(IDS[2], "rejected", 40)]
    assert rows(pipeline, "select account_id, follower_count from staging.follower_snapshots") == [("me", 100)]
    assert (summary.updated, summary.held, summary.failed) == (2, 1, 1)
    assert summary.line() == "Metrics collection complete: 2 updated, 1 skipped, 1 of them held in quarantine, 1 failed"


def test_a_false_zero_is_held_until_days_have_passed(pipeline: dlt.Pipeline) -> None:
    """What confirms it comes from the quarantine table, where each run finds what the runs before it held."""
    taken = f"select replies from staging.real_tweet_metrics where tweet_id = '{IDS[0]}' order by collected_at"
    collect(pipeline, Scripted({IDS[0]: read(IDS[0], replies=37)}, NOW), content=posted)
    for hours in (1, 24, 48, 72):
        at = NOW + timedelta(hours=hours)
        collect(pipeline, Scripted({IDS[0]: read(IDS[0], replies=0)}, at), at=at)
        assert rows(pipeline, taken) == [(37,)]
    at = NOW + timedelta(hours=73)
    collect(pipeline, Scripted({IDS[0]: read(IDS[0], replies=0)}, at), at=at)
    assert rows(pipeline, taken) == [(37,), (0,)]


def test_zeros_of_several_posts_are_the_sites_fault(pipeline: dlt.Pipeline, caplog: pytest.LogCaptureFixture) -> None:
    """Then a fall from a small number is held too, whichever post was read first; the day after it is believed."""
    small, large, other = IDS[:3]
    known = {small: read(small, replies=3), large: read(large, replies=37), other: read(other, replies=8)}
    collect(pipeline, Scripted(known, NOW), content=posted)
    at = NOW + timedelta(hours=1)
    zeros = {small: read(small, replies=0), large: read(large, replies=0), other: read(other)}
    collect(pipeline, Scripted(zeros, at), at=at)
    held = "select tweet_id, anomaly_reasons from staging.quarantined_metrics"
    assert {tweet_id for tweet_id, _ in rows(pipeline, held)} == {small, large}
    assert "The site is at fault: 2 posts fell to 0 in this run" in caplog.text

    taken = f"select replies from staging.real_tweet_metrics where tweet_id = '{small}' order by collected_at"
    for hours, found in ((20, [(3,)]), (26, [(3,), (0,)])):
        at = NOW + timedelta(hours=hours)
        collect(pipeline, Scripted({small: read(small, replies=0)}, at), at=at)
        assert rows(pipeline, taken) == found


def test_content_that_does_not_fit_is_kept_and_the_rest_is_loaded(pipeline: dlt.Pipeline) -> None:
    bad = [(9, "{oops", None), (10, "x", {"decision_id": "d9", "posted_at": "yesterday"}), (11, "y", {"content": "z"})]
    collect(pipeline, Scripted({}), content=lambda: iter([*content(), *bad]))

    refused = rows(pipeline, "select line, reason from staging.quarantined_content order by line")
    assert [line for line, _ in refused] == [9, 10, 11]
    assert refused[1][1] == "posted_at is 'yesterday', which is no timestamp"
    assert rows(pipeline, "select count(*) from staging.content_metadata") == [(4,)]


def test_a_reading_that_no_warehouse_holds_is_quarantined_and_others_load(pipeline: dlt.Pipeline) -> None:
    bad = {
        IDS[0]: read(IDS[0], likes=10**20),
        IDS[1]: replace(read(IDS[1], views=10**400), profile_clicks=2**63),
        IDS[2]: replace(read(IDS[2]), detail="a\x00b", author="me", canonical_id="\ud800"),
        IDS[3]: read(IDS[3], likes=2**63 - 1, views=2**63 - 1),
    }
    summary = collect(pipeline, Scripted(bad), content=posted)

    held = rows(
        pipeline,
        "select tweet_id, verdict, likes, retweets, views, profile_clicks, detail, canonical_id, anomaly_reasons, "
        "provenance from staging.quarantined_metrics",
    )
    found = {row[0]: (*row[1:8], *(json.loads(x) if isinstance(x, str) else x for x in row[8:])) for row in held}
    assert set(found) == {IDS[0], IDS[1], IDS[2]}
    assert {row[0] for row in found.values()} == {"rejected"}
    assert found[IDS[0]][1:4] == (None, 8, 2000)
    assert found[IDS[0]][-2] == [f"not_a_count: likes is {10**20}"]
    assert found[IDS[0]][-1]["likes"]["value"] == str(10**20)
    assert found[IDS[1]][3:5] == (None, None)
    assert found[IDS[1]][-2] == [f"not_a_count: views is {10**400}", f"not_a_count: profile_clicks is {2**63}"]
    assert found[IDS[2]][5:7] == ("a\\x00b", "\\ud800")
    assert found[IDS[2]][-2] == [
        "not_a_text: canonical_id holds half a character (a lone surrogate)",
        "not_a_text: detail holds a NUL character",
    ]
    assert rows(pipeline, "select tweet_id, likes from staging.real_tweet_metrics") == [(IDS[3], 2**63 - 1)]
    assert (summary.updated, summary.held) == (1, 3)

    later = NOW + timedelta(hours=1)
    assert collect(pipeline, Scripted({i: read(i) for i in IDS[:3]}, later), at=later).updated == 3


def test_words_of_a_failed_attempt_that_no_warehouse_holds_are_written_out(pipeline: dlt.Pipeline) -> None:
    failed = Reading(Status.NO_DATA, detail="cut\x00off \udcff", selector="s\x00", warnings=("w\x00",))
    collect(pipeline, Scripted({IDS[0]: failed, IDS[1]: read(IDS[1])}), content=posted)

    query = f"select detail, selector_used from staging.real_tweet_metrics where tweet_id = '{IDS[0]}'"
    assert rows(pipeline, query) == [("cut\\x00off \\udcff", "s\\x00")]


def test_a_followers_count_that_no_warehouse_holds_is_unknown_and_is_told(
    pipeline: dlt.Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    class Huge(Scripted):
        def collect(self, wanted: Sequence[str]) -> Iterator[Attempt | Profile]:
            yield Profile("me", NOW, 10**20, 5, 9)
            yield Attempt(wanted[0], read(wanted[0]), NOW)

    assert collect(pipeline, Huge({}), content=posted).updated == 1
    query = "select follower_count, following_count from staging.follower_snapshots"
    assert rows(pipeline, query) == [(None, 5)]
    assert f"The profile of me says {10**20} followers, beyond 64 bits: stored as unknown" in caplog.messages


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("predicted_followers", 10**20, "is 100000000000000000000, which is beyond 64 bits: no database holds that"),
        ("predicted_followers", "1e400", "is '1e400', which is no bigint"),
        ("predicted_followers", float("inf"), "is inf, which is no bigint"),
        ("predicted_er", float("nan"), "is nan, which is not finite: no database holds that"),
        ("predicted_er", 10**400, f"is {10**400!r:.60}, which is no double"),
        ("content", "a\x00b", r"is 'a\x00b', which holds a NUL character: no database holds that"),
        (
            "decision_type",
            "\ud800",
            r"is '\ud800', which holds half a character (a lone surrogate): no database holds that",
        ),
        ("thread_parts", ["a\x00"], r"is ['a\x00'], which holds a NUL character: no database holds that"),
        ("thread_parts", '["\\u0000"]', r"""is '["\\u0000"]', which holds a NUL character: no database holds that"""),
        (
            "thread_parts",
            [{"a": 2**70}],
            f"is [{{'a': {2**70}}}], which holds a whole number beyond 64 bits: no database holds that",
        ),
        ("thread_parts", "[NaN]", "is '[NaN]', which holds a number that is not finite: no database holds that"),
        (
            "thread_parts",
            "[" * 150 + "]" * 150,
            "is '" + "[" * 59 + ", which is nested deeper than 100 levels: no database holds that",
        ),
        ("thread_parts", "[" * 200_000, "is '" + "[" * 59 + ", which is no json"),
        ("updated_at", "9999-12-31T23:59:59-05:00", "is '9999-12-31T23:59:59-05:00', which is no timestamp"),
        ("posted_at", "20000-01-01", "is '20000-01-01', which is no timestamp"),
        ("mood", "\x00", r"is '\x00', which holds a NUL character: no database holds that"),
    ],
)
def test_a_content_value_that_no_warehouse_holds_costs_its_row(column: str, value: object, reason: str) -> None:
    rows = [(1, "one", {"decision_id": "d1", column: value}), (2, "two", {"decision_id": "d2"})]
    found = list(ContentScreen({}).rows(rows, NOW))

    assert [table for table, _ in found] == ["quarantined_content", "content_metadata"]
    assert found[0][1]["reason"] == f"{column} {reason}"


def test_a_whole_number_of_19_digits_is_no_fraction() -> None:
    told: dict[str, Any] = {
        "decision_id": "d",
        "predicted_followers": str(2**53 + 1),
        "predicted_engagement": 2**63 - 1,
    }
    [(table, row)] = ContentScreen({}).rows([(1, "", told)], NOW)
    assert (table, row["predicted_followers"], row["predicted_engagement"]) == (
        "content_metadata",
        2**53 + 1,
        2**63 - 1,
    )


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_content_file_with_bad_bytes_and_values_loads_its_other_rows(
    pipeline: dlt.Pipeline, tmp_path: Path, kind: str
) -> None:
    told = [
        {"decision_id": "d1", "content": "caf\u00e9"},
        {"decision_id": "d2", "content": "BROKEN"},
        {"decision_id": "d3", "predicted_followers": 10**20},
        {"decision_id": "d4", "content": "a\0b"},
        {"decision_id": "d5"},
    ]
    path = tmp_path / f"posts.{kind}"
    if kind == "csv":
        lines = ["decision_id,content,predicted_followers"]
        lines += [f"{row['decision_id']},{row.get('content', '')},{row.get('predicted_followers', '')}" for row in told]
    else:
        lines = [json.dumps(row, ensure_ascii=False) for row in told]
    text = "\n".join(lines).encode("utf-8-sig").replace(b"BROKEN", b"\xff\xfe")
    path.write_bytes(text)
    collect(pipeline, Scripted({}), content=lambda: read_content(path))

    query = "select decision_id, content from staging.content_metadata order by 1"
    assert rows(pipeline, query) == [("d1", "caf\u00e9"), ("d5", None)]
    refused = rows(pipeline, "select reason, raw from staging.quarantined_content order by line")
    assert len(refused) == 3
    assert "udcff" in refused[0][1]
    assert "is beyond 64 bits" in refused[1][0]


@pytest.mark.parametrize("table", ["content_metadata", "quarantined_metrics"])
def test_a_missing_table_is_an_error_whose_fix_makes_it_again(pipeline: dlt.Pipeline, table: str) -> None:
    collect(pipeline, Scripted({}), content=posted)
    with pipeline.sql_client() as client:
        client.execute_sql(f"drop table staging.{table}")
    for told in (None, posted):
        with pytest.raises(
            ExtractError, match=rf"staging\.{table} is missing .*_dlt_pipeline_state, remove the folder"
        ):
            collect(pipeline, Scripted({}), content=told)

    with pipeline.sql_client() as client:
        client.execute_sql("delete from staging._dlt_version")
        client.execute_sql("delete from staging._dlt_pipeline_state")
    shutil.rmtree(pipeline.working_dir)
    again = make_pipeline(pipeline.destination, Path(pipeline.pipelines_dir))  # type: ignore[arg-type]
    later = NOW + timedelta(hours=1)
    assert collect(again, Scripted({i: read(i) for i in IDS}, later), at=later, content=posted).updated == 4
    assert rows(again, "select count(*) from staging.content_metadata") == [(4,)]


def test_that_there_are_no_posts_is_said(pipeline: dlt.Pipeline, caplog: pytest.LogCaptureFixture) -> None:
    collect(pipeline, Scripted({}))
    assert any(line.startswith("content_metadata holds no posts: load some with --content") for line in caplog.messages)
    caplog.clear()

    collect(pipeline, Scripted({}), content=lambda: iter([(1, "", {"decision_id": "d1", "status": "queued"})]))
    assert any("holds 1 decisions, but none that is posted" in line for line in caplog.messages)
    caplog.clear()

    collect(pipeline, Scripted({}), content=posted)
    assert not any("holds" in line for line in caplog.messages)


def test_an_export_of_which_nothing_matches_is_an_error_that_counts(pipeline: dlt.Pipeline, tmp_path: Path) -> None:
    header = "Post id,Date,Likes,Reposts,Replies,Bookmarks,Impressions\n"

    def load(text: str, told: Any = posted) -> Summary:
        path = tmp_path / "content.csv"
        path.write_text(text, encoding="utf-8")
        os.utime(path, (NOW.timestamp(), NOW.timestamp()))
        return run(pipeline, ExportSource(path), job="backfill", account="me", now=lambda: NOW, content=told)

    line = f"{IDS[0]},x,40,8,6,7,2000\n"
    for text, told, said in (
        (header + line, None, "1 rows read, 0 matched: content_metadata holds no posts"),
        ("a,b\n1,2\n", posted, r"no column 'post id' \(its columns: a, b\)"),
        (header, posted, "0 rows read, 0 matched: the file is a header only"),
        (header + "1.23E+18,x,1,2,3,4,5\n" * 2, posted, "2 rows read, 0 matched: the first id .* '1.23E"),
    ):
        with pytest.raises(ExtractError, match=said):
            load(text, told)
    assert load("\ufeff" + header + "1.23E+18,x,1,2,3,4,5\n" + line).updated == 1
    assert load(header + line).due == 3  # the post of the file was just read: no error


def test_unchanged_content_is_not_loaded_again(pipeline: dlt.Pipeline) -> None:
    collect(pipeline, Scripted({}), content=posted)
    before = rows(pipeline, "select decision_id, _dlt_load_id from staging.content_metadata order by 1")
    collect(pipeline, Scripted({}), content=posted)

    assert rows(pipeline, "select decision_id, _dlt_load_id from staging.content_metadata order by 1") == before


def test_the_raw_tables_exist_before_anything_was_read(pipeline: dlt.Pipeline) -> None:
    summary = collect(pipeline, Scripted({}))

    assert summary.due == 0
    for table in TABLES:
        assert rows(pipeline, f"select count(*) from staging.{table}") == [(0,)]


def test_what_was_read_before_a_wall_is_loaded(pipeline: dlt.Pipeline) -> None:
    class Walled(Scripted):
        def collect(self, wanted: Sequence[str]) -> Iterator[Attempt | Profile]:
            yield Attempt(wanted[0], read(wanted[0]), NOW)
            self.wall = Reading(Status.RATE_LIMITED, detail="asked to wait")

    summary = collect(pipeline, Walled({}), content=posted)

    assert summary.wall == "rate_limited: asked to wait"
    assert (summary.updated, summary.skipped) == (1, 3)
    assert rows(pipeline, "select count(*) from staging.real_tweet_metrics") == [(1,)]


def test_a_second_run_at_the_same_time_leaves_with_a_sentence(pipeline: dlt.Pipeline) -> None:
    class Nested(Scripted):
        def collect(self, wanted: Sequence[str]) -> Iterator[Attempt | Profile]:
            with pytest.raises(ExtractError, match="another `dlt pipeline engagement run`"):
                collect(pipeline, Scripted({}))
            return iter(())

    collect(pipeline, Nested({}), content=posted)


def test_of_completed_packages_the_latest_are_kept(pipeline: dlt.Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("extract.staging.pipeline._KEPT_PACKAGES", 2)
    for hour in range(4):
        at = NOW + timedelta(hours=hour)
        collect(pipeline, Scripted({IDS[0]: read(IDS[0], likes=40 + hour)}, at), at=at, content=posted)

    kept = pipeline.list_completed_load_packages()
    newest = rows(pipeline, "select max(_dlt_load_id) from staging.real_tweet_metrics")
    assert len(kept) == 2
    assert newest == [(max(kept),)]
    assert rows(pipeline, f"select count(*) from staging.real_tweet_metrics where tweet_id = '{IDS[0]}'") == [(4,)]


def test_the_lines_that_users_grep_for(pipeline: dlt.Pipeline, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "extract")
    collect(pipeline, Scripted({IDS[0]: read(IDS[0], likes=45, views=2340)}), "scheduled", content=posted)

    said = [record.getMessage() for record in caplog.records]
    assert "Starting scheduled metrics collection" in said
    assert "Found 4 posts to check" in said
    assert f"Scraping {IDS[0]}" in said
    assert f"Updated {IDS[0]}: 45 likes, 2340 views" in said
    assert said[-1] == "Metrics collection complete: 1 updated, 0 skipped, 3 failed"


def test_the_sources_file_of_dbt_documents_the_same_columns_and_types() -> None:
    documented = yaml.safe_load((ROOT / "dbt_project/models/staging/engagement/_engagement__sources.yml").read_text())
    spelled = {"text": "varchar", "bool": "boolean"}
    for table in documented["sources"][0]["tables"]:
        columns = {c["name"]: c["data_type"] for c in table["columns"] if not c["name"].startswith("_dlt_")}
        _, types = TABLES[table["name"]]
        assert columns == {name: spelled.get(kind, kind) for name, kind in types.items()}
    assert {table["name"] for table in documented["sources"][0]["tables"]} == set(TABLES)


_LOADER = """
import os, signal, sys, pathlib
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, sys.argv[1])
import tests.extract.staging.test_bulk_load as bulk
import tests.extract.staging.test_pipeline as t
print("loaded", flush=True)
for line in sys.stdin:
    address, folder, history = line.rstrip("\\n").split("\\t")
    child = os.fork()
    if child == 0:
        pipeline = t.open_pipeline(address, pathlib.Path(folder))
        print(os.getpid(), flush=True)
        if history:
            bulk.load(pipeline, pathlib.Path(history))
            os._exit(0)
        try:
            t.collect(pipeline, t.Scripted({i: t.read(i) for i in t.IDS}), content=t.posted)
        except KeyboardInterrupt:
            os._exit(130)
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""


@contextmanager
def a_loader() -> Iterator[subprocess.Popen[str]]:
    """A process that has read dlt and forks for each load: told an address, a folder and a history (or none), it says
    the load's id.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", _LOADER, str(ROOT)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "loaded\n"
    yield process
    process.stdin.close()
    process.wait(30)


def killed(loader: subprocess.Popen[str], moment: float, *told: object, by: signal.Signals = signal.SIGKILL) -> int:
    """Start a load and kill it ``moment`` seconds later, where it has not ended by then; what it exited with."""
    assert loader.stdin is not None
    assert loader.stdout is not None
    loader.stdin.write("\t".join(map(str, told)) + "\n")
    loader.stdin.flush()
    load = int(loader.stdout.readline())
    time.sleep(moment)
    with suppress(ProcessLookupError):  # it was quicker
        os.kill(load, by)
    return int(loader.stdout.readline())


@pytest.fixture(scope="module")
def loader() -> Iterator[subprocess.Popen[str]]:
    with a_loader() as process:
        yield process


def test_ctrl_c_in_any_step_is_no_failure_of_it(address: str, tmp_path: Path, loader: subprocess.Popen[str]) -> None:
    """dlt wraps it in what it raises for a step that failed: whatever it stopped, it comes out as itself."""
    moments = random.Random(11)
    codes = [
        killed(loader, moments.uniform(0.05, 0.5), address, tmp_path / str(turn), "", by=signal.SIGINT)
        for turn in range(5)
    ]
    assert set(codes) <= {0, 130}
    assert codes.count(130) >= 2


@pytest.mark.long
@pytest.mark.parametrize("attempt", range(3))
def test_a_load_killed_at_any_moment_and_run_again_holds_each_snapshot_once(
    address: str, tmp_path: Path, attempt: int, loader: subprocess.Popen[str]
) -> None:
    """Fifteen loads an engine, each killed somewhere in extract, normalize or load and followed by a whole run."""
    moments = random.Random(f"{address[-6:]}{attempt}")
    for turn in range(5):
        # the first load makes the tables and takes longer; later ones find the same posts due again
        killed(loader, moments.uniform(0.02, 1.2 if turn == 0 else 0.6), address, tmp_path, "")

        pipeline = open_pipeline(address, tmp_path)
        collect(pipeline, Scripted({i: read(i) for i in IDS}), content=posted)

        found = rows(pipeline, "select tweet_id, likes from staging.real_tweet_metrics order by 1 desc")
        assert found == [(tweet_id, 40) for tweet_id in IDS]
        assert rows(pipeline, "select count(*), count(distinct decision_id) from staging.content_metadata") == [(4, 4)]
        assert not pipeline.has_pending_data
        with pipeline.sql_client() as client:
            client.execute_sql("delete from staging.real_tweet_metrics")
