"""A whole run: what is re-read, what is counted, what is honoured from one run to the next."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dlt
import psycopg
import pytest
from psycopg import sql

from extract.errors import ExtractError
from extract.reading.attempt import Attempt
from extract.reading.record import DISAGREEMENT, Reading, Status
from extract.run import collect as collect_as_set
from extract.settings import ExtractSettings, load_settings
from extract.site.faults import Fault
from extract.site.scene import Clock
from extract.site.server import Site
from extract.sources.host_policy import check_host, check_session
from extract.sources.rate_limits import Parking
from extract.staging.content_columns import read_table
from extract.staging.known_state import candidates
from extract.staging.pipeline import CollectionPlan
from extract.summary import LayoutAlarm
from orchestrate.jobs.schedule import load_cadence
from tests.conftest import Database
from tests.extract.staging.test_pipeline import IDS, NOW, Scripted, collect, content, open_pipeline, posted, read, rows

HTTP = ExtractSettings(source="http")


@pytest.fixture
def warehouse(tmp_path: Path) -> dlt.Pipeline:
    return open_pipeline(str(tmp_path / "w.duckdb"), tmp_path)


class Reread(Scripted):
    """Answers a second question too, from another table of answers."""

    def __init__(self, answers: dict[str, Reading], again: dict[str, Reading], at: datetime) -> None:
        super().__init__(answers, at)
        self.asked_again: list[str] = []
        self._again = again

    def reread(self, wanted: Sequence[str]) -> Iterator[Attempt]:
        for tweet_id in wanted:
            self.asked_again.append(tweet_id)
            if tweet_id in self._again:
                yield Attempt(tweet_id, replace(self._again[tweet_id], selector="labels"), self._at)


def test_a_suspect_reading_is_read_again_another_way_at_once(warehouse: dlt.Pipeline) -> None:
    later = NOW + timedelta(hours=1)
    known = {i: read(i, replies=37) for i in IDS}
    collect(warehouse, Scripted(known), content=posted)
    zeros = {i: read(i, replies=0) for i in IDS[:3]}
    # of three false zeros the page shows one rightly, repeats one, and shows nothing of the third
    source = Reread({**known, **zeros}, {IDS[0]: read(IDS[0], replies=38), IDS[1]: read(IDS[1], replies=0)}, later)
    summary = collect(warehouse, source, at=later)

    taken = f"select tweet_id, replies from staging.real_tweet_metrics where collected_at > '{NOW:%Y-%m-%d %H:%M}:01'"
    held = "select tweet_id, replies, selector_used from staging.quarantined_metrics order by tweet_id desc, 3"
    assert source.asked_again == IDS[:3]
    assert sorted(rows(warehouse, taken)) == sorted([(IDS[0], 38), (IDS[3], 37)])
    assert sorted(rows(warehouse, held), key=str) == sorted(
        [(IDS[0], 0, None), (IDS[1], 0, None), (IDS[1], 0, "labels"), (IDS[2], 0, None)], key=str
    )
    assert (summary.updated, summary.held, summary.failed, summary.reread) == (2, 2, 0, 3)


def test_the_counts_of_a_run_are_in_the_loads_trace(warehouse: dlt.Pipeline) -> None:
    summary = collect(warehouse, Scripted({IDS[0]: read(IDS[0])}), content=posted)

    [steps] = warehouse.last_trace.last_extract_info.metrics.values()
    told = steps[0]["resource_metrics"]["real_tweet_metrics"].custom_metrics
    assert told["rows_in"] == 4
    assert {name: told[name] for name in ("job", "due", "updated", "held", "failed")} == {
        "job": "backfill",
        "due": 4,
        "updated": 1,
        "held": 0,
        "failed": 3,
    }
    assert summary.loaded == {"real_tweet_metrics": 4, "follower_snapshots": 1}


def test_rows_that_do_not_arrive_fail_the_run(database: Database, tmp_path: Path) -> None:
    pipeline = open_pipeline(f"postgresql://postgres:x@localhost:5432/{database.name}?host={database.host}", tmp_path)
    collect(pipeline, Scripted({}), content=posted)
    with psycopg.connect(database.conninfo, autocommit=True) as connection:
        connection.execute(
            sql.SQL(
                "create function staging.lose() returns trigger language plpgsql as "
                "$$ begin if new.tweet_id = {} then return null; end if; return new; end $$"
            ).format(sql.Literal(IDS[0]))
        )
        connection.execute(
            "create trigger lose before insert on staging.real_tweet_metrics"
            " for each row execute function staging.lose()"
        )
    with pytest.raises(ExtractError, match=r"read .*'real_tweet_metrics': 4.* but loaded .*'real_tweet_metrics': 3"):
        collect(pipeline, Scripted({}), at=NOW + timedelta(hours=1))


@pytest.mark.parametrize("bad", [Reading(Status.LAYOUT_CHANGED), None])
def test_a_changed_layout_fails_the_run_after_what_was_read_is_loaded(
    bad: Reading | None, warehouse: dlt.Pipeline
) -> None:
    warned = {i: replace(read(i), warnings=(f"{DISAGREEMENT}: likes: a says 1, b 2",)) for i in IDS}
    answers = {i: bad or warned[i] for i in IDS[:3]}
    with pytest.raises(LayoutAlarm, match=r"3 of 4 posts .* layout has changed"):
        collect(warehouse, Scripted({**answers, IDS[3]: read(IDS[3])}), content=posted)

    assert rows(warehouse, "select count(*) from staging.real_tweet_metrics") == [(4,)]


def more(decision: str, **columns: Any) -> tuple[int, str, dict[str, Any]]:
    row = {"decision_id": decision, "status": "queued", "updated_at": NOW.isoformat(), **columns}
    return 9, json.dumps(row), row


@pytest.mark.parametrize(
    ("choice", "loaded", "refused"),
    [
        ("evolve", [("a", 3), ("c", 5)], ["mood is 'high', which is no bigint"]),
        ("discard", [("a", None), ("b", None), ("c", None)], []),
        ("quarantine", [], ["'mood' is a column that staging does not have (new_columns = quarantine)"] * 3),
    ],
)
def test_a_new_content_column_is_dealt_with_as_declared(
    choice: str, loaded: list[tuple[str, int]], refused: list[str], warehouse: dlt.Pipeline
) -> None:
    plan = CollectionPlan(new_columns=choice)
    collect(warehouse, Scripted({}), content=posted)
    for rows_of_a_run in ([more("a", mood=3), more("b", mood="high")], [more("c", mood="5")]):
        with (
            pytest.raises(ExtractError, match=r"all . rows of the content") if choice == "quarantine" else nullcontext()
        ):
            collect(warehouse, Scripted({}), content=lambda found=rows_of_a_run: iter(found), plan=plan)

    columns = {name for (name,) in rows(warehouse, "select column_name from information_schema.columns")}
    mood = "mood" if choice == "evolve" else "null"
    query = f"select decision_id, {mood} from staging.content_metadata where decision_id in ('a', 'b', 'c') order by 1"
    assert rows(warehouse, query) == loaded
    assert ("mood" in columns) == (choice == "evolve")
    assert not any(name.startswith("mood__v_") for name in columns)
    assert [reason for (reason,) in rows(warehouse, "select reason from staging.quarantined_content")] == refused


@pytest.fixture
def bots_table(database: Database) -> str:
    """The posting bot's table in a separate database, with one row per posted decision."""
    with psycopg.connect(database.conninfo, autocommit=True) as connection:
        connection.execute("create schema bot")
        connection.execute(
            "create table bot.content_metadata (decision_id text, decision_type text, status text, tweet_id text,"
            " predicted_er numeric, thread_tweet_ids jsonb, created_at timestamptz, posted_at timestamptz,"
            " updated_at timestamptz)"
        )
        for _, _, row in content():
            assert row is not None
            connection.execute(
                "insert into bot.content_metadata values (%(decision_id)s, %(decision_type)s, %(status)s, %(tweet_id)s,"
                " 0.031, '[]', %(created_at)s, %(posted_at)s, %(updated_at)s)",
                row,
            )
    return f"postgresql+psycopg2://postgres@/{database.name}?host={database.host}"


def test_content_comes_out_of_the_bots_own_database_and_then_what_differs(
    bots_table: str, database: Database, warehouse: dlt.Pipeline, caplog: pytest.LogCaptureFixture
) -> None:
    table = read_table(bots_table, "bot.content_metadata")
    first = collect(warehouse, Scripted({}), content=table)
    with psycopg.connect(database.conninfo, autocommit=True) as connection:
        # neither change has an updated_at by which one could be found
        connection.execute("update bot.content_metadata set status = 'failed' where decision_id = 'd2'")
        connection.execute("insert into bot.content_metadata (decision_id, status) values ('without a time', 'queued')")
    caplog.set_level("INFO", "extract")
    second = collect(warehouse, Scripted({}), content=table)
    third = collect(warehouse, Scripted({}), content=table)

    assert [run.content_rows for run in (first, second, third)] == [4, 2, 0]
    assert "Content: 2 new or changed decisions, 3 unchanged, 0 refused" in caplog.messages
    assert rows(warehouse, "select status from staging.content_metadata where decision_id = 'd2'") == [("failed",)]
    assert rows(warehouse, "select predicted_er from staging.content_metadata where decision_id = 'd1'") == [(0.031,)]


def decision(name: str, hours: float, **values: Any) -> tuple[int, str, dict[str, Any]]:
    """A decision whose ``updated_at`` is so many hours from now."""
    at = (NOW + timedelta(hours=hours)).isoformat()
    return 1, name, {"decision_id": name, "status": "queued", "updated_at": at, **values}


def statuses(warehouse: dlt.Pipeline) -> dict[str, str]:
    return dict(rows(warehouse, "select decision_id, status from staging.content_metadata"))


def test_a_decision_is_loaded_however_old_its_updated_at_is(warehouse: dlt.Pipeline) -> None:
    """A second file whose decisions have an older updated_at was "nothing new or changed", and lost."""
    collect(warehouse, Scripted({}), content=lambda: iter([decision("new", -1), decision("ahead", 24 * 365)]))
    collect(warehouse, Scripted({}), content=lambda: iter([decision("old", -900), decision("older", -901)]))
    assert set(statuses(warehouse)) == {"new", "ahead", "old", "older"}

    # a time ahead of the clock does not hold off the version that corrects it
    later = [decision("ahead", -0.5, status="posted"), decision("new", -2, status="stale")]
    summary = collect(warehouse, Scripted({}), content=lambda: iter(later))
    assert (statuses(warehouse)["ahead"], statuses(warehouse)["new"], summary.content_rows) == ("posted", "queued", 1)


def test_of_a_decision_that_comes_twice_the_later_version_is_loaded(warehouse: dlt.Pipeline) -> None:
    twice = [decision("a", -1, status="posted"), decision("a", -2), decision("b", -2), decision("b", -2, status="x")]
    collect(warehouse, Scripted({}), content=lambda: iter(twice))

    assert statuses(warehouse) == {"a": "posted", "b": "x"}


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"Decision ID": "b"}, "'Decision ID' is a second column decision_id, with another value"),
        ({"Tweet ID": "17", "tweet_id": "18"}, "'tweet_id' is a second column tweet_id, with another value"),
        ({"tweet_id": 1.9e18}, r"tweet_id is 1.9e+18, a rounded number: write ids as text"),
        ({"tweet_id": "1.9E+18"}, "tweet_id is '1.9E+18', a rounded number: write ids as text"),
    ],
)
def test_a_row_whose_columns_contradict_is_refused(
    values: dict[str, Any], reason: str, warehouse: dlt.Pipeline
) -> None:
    with pytest.raises(ExtractError, match="all 1 rows of the content are refused"):
        collect(warehouse, Scripted({}), content=lambda: iter([decision("a", -1, **values)]))

    assert rows(warehouse, "select reason from staging.quarantined_content") == [(reason,)]
    assert statuses(warehouse) == {}


def test_an_unreadable_bots_database_is_one_sentence_without_password(warehouse: dlt.Pipeline) -> None:
    table = read_table("postgresql+psycopg2://bot:canary@127.0.0.1:1/bot", "content_metadata")
    with pytest.raises(ExtractError, match="cannot read the posting bot's table content_metadata") as caught:
        collect(warehouse, Scripted({}), content=table)
    assert "canary" not in str(caught.value)
    with pytest.raises(ExtractError, match="content_credentials"):
        read_table(None, "content_metadata")


def run_on(site: Site, pipelines: Path, destination: Any) -> Any:
    return collect_as_set(destination, pipelines, HTTP, "scheduled", site=site)


def test_a_host_that_asked_to_wait_is_left_alone_by_the_next_run_too(tmp_path: Path) -> None:
    destination = dlt.destinations.duckdb(str(tmp_path / "w.duckdb"), destination_name="warehouse")
    with Site(clock=Clock(datetime(2026, 7, 1, 12, tzinfo=UTC))) as site:
        site.faults = [Fault("UserTweets", "rate_limited")]
        first = run_on(site, tmp_path / "pipelines", destination)
        site.faults = []
        asked = len(site.requests)
        second = run_on(site, tmp_path / "pipelines", destination)
        assert len(site.requests) == asked  # not one question
        site.clock.advance(901)
        third = run_on(site, tmp_path / "pipelines", destination)

    assert first.wall == "rate_limited: asked to wait until 2026-07-01 12:15:00 UTC"
    assert (second.updated, second.skipped) == (0, 20)
    assert "asked an earlier run to wait until 2026-07-01 12:15:00 UTC" in str(second.wall)
    assert (third.wall, third.updated) == (None, 20)


def test_a_half_written_parking_file_is_ignored_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    parking = Parking(tmp_path)
    (tmp_path / "parked.json").write_text('{"x.example": "2026-07-0')

    assert parking.refusal("https://x.example/a", NOW) is None
    assert "cannot be read" in caplog.text
    parking.park("https://x.example", NOW + timedelta(minutes=15))
    refused = parking.refusal("https://x.example/b", NOW)
    assert refused is not None
    assert refused.retry_at == NOW + timedelta(minutes=15)
    assert parking.refusal("https://y.example", NOW) is None


@pytest.mark.parametrize("host", ["https://x.com", "https://twitter.com", "https://mobile.x.com"])
def test_x_itself_is_off_without_its_written_consent(host: str) -> None:
    name = host.removeprefix("https://")
    with pytest.raises(ExtractError, match="allow_hosts"):
        check_host(host, [], written_consent=True)
    with pytest.raises(ExtractError, match="written consent, and claims damages"):
        check_host(host, [name])
    check_host(host, [name], written_consent=True)
    check_host("https://api.x.com", ["api.x.com"])


def test_a_session_state_is_read_only_if_no_other_user_can_read_it(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    with pytest.raises(ExtractError, match="cannot be read"):
        check_session(state)
    state.write_text('{"cookies": [], "origins": []}')
    state.chmod(0o644)
    with pytest.raises(ExtractError, match=r"mode 0644.*chmod 600"):
        check_session(state)
    state.chmod(0o600)
    assert check_session(state) == state
    for broken in ('{"cookies": [', "[]"):
        state.write_text(broken)
        with pytest.raises(ExtractError, match="no storage state of Playwright"):
            check_session(state)
    with pytest.raises(ExtractError, match="is no file"):
        check_session(tmp_path)


def test_a_warehouse_that_goes_down_keeps_the_package_and_the_next_run_loads_it(
    database: Database, tmp_path: Path
) -> None:
    pipeline = open_pipeline(f"postgresql://postgres:x@localhost:5432/{database.name}?host={database.host}", tmp_path)
    collect(pipeline, Scripted({}), content=posted)
    later = NOW + timedelta(hours=1)

    def let(allowed: bool) -> None:
        server = database.conninfo.replace(f"dbname={database.name}", "dbname=postgres")
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"alter database {database.name} allow_connections {str(allowed).lower()}")
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [database.name]
            )

    class Closing(Scripted):
        def collect(self, wanted: Sequence[str]) -> Iterator[Attempt]:  # type: ignore[override]
            yield from (Attempt(i, read(i), later) for i in wanted)
            let(False)

    try:
        with pytest.raises(ExtractError, match="Nothing is lost: the next run loads what this one left"):
            collect(pipeline, Closing({}), at=later)
        assert pipeline.has_pending_data
    finally:
        let(True)
    collect(pipeline, Scripted({}), at=later + timedelta(minutes=1))

    found = rows(
        pipeline, "select tweet_id, likes from staging.real_tweet_metrics where likes is not null order by 1 desc"
    )
    assert found == [(tweet_id, 40) for tweet_id in IDS]


def test_what_was_read_before_a_source_failed_is_loaded(warehouse: dlt.Pipeline) -> None:
    class Failing(Scripted):
        def collect(self, wanted: Sequence[str]) -> Iterator[Attempt]:  # type: ignore[override]
            yield Attempt(wanted[0], read(wanted[0]), NOW)
            raise ExtractError("the browser is gone")

    with pytest.raises(ExtractError, match="the browser is gone"):
        collect(warehouse, Failing({}), content=posted)
    assert rows(warehouse, "select tweet_id, likes from staging.real_tweet_metrics") == [(IDS[0], 40)]


def test_a_run_that_can_read_nothing_fails_but_deleted_posts_are_no_failure(warehouse: dlt.Pipeline) -> None:
    silent = {i: Reading(Status.TIMEOUT) for i in IDS[:2]} | {i: Reading(Status.OVERLOADED) for i in IDS[2:]}
    assert collect(warehouse, Scripted({}), content=posted).failures == {"deleted": 4}
    with pytest.raises(ExtractError, match=r"none of 4 posts could be read \(2 overloaded, 2 timeout\)"):
        collect(warehouse, Scripted(silent), at=NOW + timedelta(hours=1))


def test_a_post_is_given_up_when_two_ways_of_reading_find_it_gone(warehouse: dlt.Pipeline) -> None:
    ended = []
    for days, selector in [(0, "xhr:TweetDetail"), (1.5, "xhr:TweetResultByRestId"), (3, "api_v2")]:
        at = NOW + timedelta(days=days)
        collect(
            warehouse, Scripted({i: Reading(Status.DELETED, selector=selector) for i in IDS}, at), at=at, content=posted
        )
        ended.append({candidate.ended for candidate in candidates(warehouse)})

    assert ended == [{False}, {False}, {True}]
    at = NOW + timedelta(days=4)
    assert collect(warehouse, Scripted({IDS[0]: read(IDS[0])}, at), at=at).updated == 1
    assert {c.tweet_id for c in candidates(warehouse) if c.gone is None} == {IDS[0]}


def test_one_reading_that_a_recording_holds_twice_is_one_snapshot(warehouse: dlt.Pipeline) -> None:
    class Twice(Scripted):
        def collect(self, wanted: Sequence[str]) -> Iterator[Attempt]:  # type: ignore[override]
            yield from [Attempt(wanted[0], read(wanted[0]), NOW)] * 2

    assert collect(warehouse, Twice({}), content=posted).updated == 1
    assert rows(warehouse, "select count(*) from staging.real_tweet_metrics") == [(1,)]


@pytest.mark.parametrize("source", ["http", "xapi", "bluesky", "mastodon"])
def test_a_site_that_does_not_answer_is_one_sentence(source: str, tmp_path: Path) -> None:
    destination = dlt.destinations.duckdb(str(tmp_path / "w.duckdb"), destination_name="warehouse")
    ids = {"bluesky": "at://me/app.bsky.feed.post/3mpgtn2rhc222", "mastodon": "116811000000000000"}
    rows = tmp_path / "posts.jsonl"
    row = {"decision_id": "d", "status": "posted", "tweet_id": ids.get(source, IDS[0]), "posted_at": NOW.isoformat()}
    rows.write_text(json.dumps(row))
    settings = ExtractSettings(source=source, base_url="http://127.0.0.1:9", content=str(rows))
    with pytest.raises(ExtractError, match=r"127\.0\.0\.1:9 does not answer .*: is it running\?"):
        collect_as_set(destination, tmp_path / "pipelines", settings, "backfill")


def test_a_kill_while_dlt_deletes_what_it_has_normalized_stops_no_later_run(warehouse: dlt.Pipeline) -> None:
    collect(warehouse, Scripted({i: read(i) for i in IDS}), content=posted)
    extracted = Path(warehouse.working_dir) / "normalize" / "extracted"
    normalized = sorted(warehouse.list_completed_load_packages())[-1]
    (extracted / normalized / "new_jobs").mkdir(parents=True)  # its schema.json went first
    (extracted / normalized / "new_jobs" / "real_tweet_metrics.abc.0.typed-jsonl").write_text("{}")
    (extracted / "1795590000.5").mkdir()  # an empty one, on its way out

    later = NOW + timedelta(hours=1)
    assert collect(warehouse, Scripted({i: read(i) for i in IDS}, later), at=later).updated == 4
    assert list(extracted.iterdir()) == []


def test_a_kill_while_dlt_makes_its_folders_stops_no_later_run(warehouse: dlt.Pipeline) -> None:
    load = Path(warehouse.working_dir) / "load"
    load.mkdir(parents=True)
    (load / ".version").write_text("1.0.2")
    (load / "new").mkdir()

    assert collect(warehouse, Scripted({i: read(i) for i in IDS}), content=posted).updated == 4


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("allow_hosts", "x.example", r"allow_hosts must be a list of host names"),
        ("allow_hosts", "[1]", r"allow_hosts must be a list of host names"),
        ("budget", "many", r"budget must be a number of posts, at least 1"),
        ("budget", "0", r"budget must be a number of posts, at least 1, not 0"),
        ("written_consent", "perhaps", r"written_consent must be true or false"),
        ("source", "telepathy", r"source is 'telepathy': one of browser, http, xapi"),
        ("schedule", "often", r"schedule is 'often': one of age, quota"),
        ("new_columns", "panic", r"new_columns is 'panic': one of evolve, discard, quarantine"),
    ],
)
def test_a_setting_that_is_none_is_one_sentence(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"SOURCES__ENGAGEMENT__{name.upper()}", value)
    with pytest.raises(ExtractError, match=rf"sources\.engagement\.{said}"):
        load_settings()


def test_settings_come_from_the_environment_and_what_is_chosen_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ALLOW_HOSTS", '["a.example"]'), ("BUDGET", "50"), ("SOURCE", "xapi"), ("SCHEDULE", "quota")):
        monkeypatch.setenv(f"SOURCES__ENGAGEMENT__{name}", value)
    found = load_settings(source="http", content=None)

    assert (found.allow_hosts, found.budget, found.source, found.schedule) == (("a.example",), 50, "http", "quota")


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("SOURCES__ENGAGEMENT__ACOUNT", r"sources\.engagement\.acount .* is no setting: did you mean account\?"),
        ("SOURCES__ENGAGEMENT__CONTENT_TABEL", r"did you mean content_table\?"),
        ("SOURCES__ENGAGEMENT__XAPI_BEARER_TOKE", r"did you mean xapi_bearer_token\?"),
        ("SOURCES__ENGAGEMENT__QQQ", r"is no setting: the settings are account, .*written_consent"),
        (
            "SOURCES__ENGAGMENT__ACCOUNT",
            r"SOURCES__ENGAGMENT__ACCOUNT\) is no section: did you mean sources.engagement\?",
        ),
    ],
)
def test_a_misspelt_setting_is_an_error_that_names_the_right_one(
    variable: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "secret-value")
    with pytest.raises(ExtractError, match=said) as refused:
        load_settings()
    assert "secret-value" not in str(refused.value)


def test_a_misspelt_setting_of_a_toml_file_is_an_error() -> None:
    with (
        dlt.config.values({"sources.engagement.Budgte": 5}),
        pytest.raises(ExtractError, match=r"engagement\.Budgte \(config\.toml\) is no setting: did you mean budget"),
    ):
        load_settings()
    with (
        dlt.config.values({"sources.engagements.budget": 5}),
        pytest.raises(ExtractError, match=r"sources\.engagements \(config\.toml\) is no section"),
    ):
        load_settings()
    with (
        dlt.config.values({"schedule.detaild": 5}),
        pytest.raises(ExtractError, match=r"schedule\.detaild \(config\.toml\) is no setting: did you mean detailed"),
    ):
        load_cadence()


def test_secrets_dlts_own_settings_and_other_sources_are_no_misspelt_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ENGAGEMENT__CONTENT_CREDENTIALS", "ENGAGEMENT__EXTRACT__WORKERS", "SQL_DATABASE__CHUNK_SIZE"):
        monkeypatch.setenv(f"SOURCES__{name}", "2")
    monkeypatch.setenv("SCHEDULE__DETAILED", "7")
    assert load_settings().account == "levelset_demo"
    assert load_cadence()["detailed"] == 7.0
