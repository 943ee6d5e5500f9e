"""A history from Parquet: judged as one reading after the other would be, loaded once and whole, or not at all."""

from __future__ import annotations

import json
import logging
import random
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pytest

from extract.errors import ExtractError
from extract.reading.attempt import Attempt
from extract.reading.post_ids import snowflake
from extract.reading.record import COUNTERS, Count, Counters, Reading, Status
from extract.staging.content_columns import Content
from extract.staging.pipeline import run_bulk
from extract.summary import Summary
from extract.validate import Expected, Held, Known, ReadingVerdict, judge
from tests.extract.staging.test_pipeline import NOW, Scripted, a_loader, collect, killed, open_pipeline, rows

Row = dict[str, Any]
TYPES = {
    "tweet_id": "varchar",
    "collected_at": "timestamptz",
    **dict.fromkeys(COUNTERS, "bigint"),
    "author": "varchar",
    "status": "varchar",
    "snapshot_id": "varchar",
}
POSTED = NOW - timedelta(days=20)
MINE = snowflake(POSTED)


def write(path: Path, told: Sequence[Row], **types: str) -> Path:
    """A Parquet file of the columns that the rows have."""
    names = list(dict.fromkeys(name for row in told for name in row))
    columns = ", ".join(f"{name}: '{types.get(name) or TYPES.get(name, 'varchar')}'" for name in names)
    lines = path.parent.parent / f"{path.stem}.jsonl"
    lines.write_text("".join(json.dumps(row, default=datetime.isoformat) + "\n" for row in told))
    read = f"read_json('{lines}', format = 'newline_delimited', columns = {{{columns}}})"
    duckdb.sql(f"from {read}").write_parquet(str(path))
    return path


def posts(*ids: str, **more: dict[str, str]) -> Content:
    """The posting bot's rows of these posts, each posted when its id was made."""
    from extract.reading.post_ids import snowflake_time

    told = []
    for line, tweet_id in enumerate(ids, start=1):
        at = snowflake_time(tweet_id).isoformat()
        row = {"decision_id": f"d{line}", "decision_type": "single", "status": "posted", "tweet_id": tweet_id}
        told.append(
            (line, str(line), {**row, "created_at": at, "posted_at": at, "updated_at": at, **more.get(tweet_id, {})})
        )
    return lambda: iter(told)


def at(hours: float) -> datetime:
    return POSTED + timedelta(hours=hours)


def row(hours: float, tweet_id: str = MINE, **values: Any) -> Row:
    return {"tweet_id": tweet_id, "collected_at": at(hours), "likes": 40, "replies": 20, "views": 2000, **values}


def load(pipeline: dlt.Pipeline, path: Path, content: Content | None = None, now: datetime = NOW) -> Summary:
    return run_bulk(pipeline, path, account="me", now=lambda: now, content=content)


def stored(pipeline: dlt.Pipeline) -> dict[str, tuple[str, list[str], list[str]]]:
    """(verdict, the reasons, the warnings) of every snapshot that staging has."""
    found = {}
    for table in ("real_tweet_metrics", "quarantined_metrics"):
        query = f"select snapshot_id, verdict, anomaly_reasons, validation_warnings from staging.{table}"
        for snapshot_id, verdict, *lists in rows(pipeline, query):
            assert snapshot_id not in found
            assert (verdict in ("accepted", "none")) == (table == "real_tweet_metrics")
            found[snapshot_id] = (verdict, *(json.loads(x) if isinstance(x, str) else x for x in lists))
    return found


def falls_to_zero(told: Sequence[Row]) -> list[datetime]:
    """When a counter of a post is 0 that was 5 or more when it was last above 0, within 7 days."""
    found = []
    for this in told:
        for name in COUNTERS:
            above = [r for r in told if r["collected_at"] <= this["collected_at"] and (r.get(name) or 0) > 0]
            last = max(above, key=lambda r: r["collected_at"], default=None)
            if this.get(name) == 0 and last is not None and last[name] >= 5:
                found += [this["collected_at"]] * (this["collected_at"] - last["collected_at"] <= timedelta(days=7))
    return found


def judged(told: Sequence[Row], zeros_elsewhere: Sequence[datetime] = ()) -> dict[str, tuple[Any, ...]]:
    """What ``judge`` makes of a post's rows, one after the other."""
    expected = Expected(told[0]["tweet_id"], "me", POSTED, zeros_elsewhere=sorted(zeros_elsewhere))
    found = {}
    for this in sorted(told, key=lambda r: (r["collected_at"], r["snapshot_id"])):
        values = {name: this.get(name) for name in COUNTERS}
        status = Status(this.get("status") or "ok")
        counts = Counters(**{name: Count(v, "parquet") for name, v in values.items() if v is not None})
        reading = Reading(status, this["tweet_id"], counts, author=this.get("author"))
        judgement = judge(Attempt(this["tweet_id"], reading, this["collected_at"]), expected, NOW)
        if judgement.verdict is ReadingVerdict.ACCEPTED:
            known = Known(this["collected_at"], values)
            later = sorted([*expected.history, known], key=lambda k: k.observed_at)
            expected = replace(expected, history=later)
        elif judgement.verdict is ReadingVerdict.SUSPECT:
            expected = replace(expected, held=[*expected.held, Held(this["collected_at"], values, judgement.reasons)])
        found[this["snapshot_id"]] = (judgement.verdict.value, list(judgement.reasons), list(judgement.warnings))
    return found


def a_series(moments: random.Random, tweet_id: str) -> list[Row]:  # noqa: PLR0912
    """A post's readings over days, with what goes wrong with real ones thrown in."""
    counts = dict.fromkeys(COUNTERS, 0) | {"views": moments.choice([50, 3000]), "likes": 10}
    hours = 0.1
    made: list[Row] = []
    trouble = moments.choice([0, 0, 0.1, 0.5])
    for number in range(moments.randint(1, 25)):
        hours += moments.choice([0.05, 0.2, 5, 80]) if moments.random() > trouble / 20 else 0
        for name in COUNTERS:
            counts[name] += moments.randint(0, 400 if name == "views" else 6)
        values: Row = {**counts, "author": moments.choice(["me", "Me", None]), "status": "ok"}
        if moments.random() < trouble:
            odd = moments.choice(["zero", "fall", "stay", "views", "jump", "gap", "rate", "reject", "gone", "again"])
            name = moments.choice(COUNTERS)
            match odd:
                case "zero":
                    values[name] = 0
                case "fall":
                    values[name] = values[name] * moments.choice([5, 8, 9]) // 10
                case "stay":
                    counts[name] = values[name] = values[name] // 2
                case "views":
                    values["views"] = counts["views"] = counts["views"] - moments.choice([1, 300, 320, 900])
                case "jump":
                    values["views"] = values["views"] * 60 + 1000
                case "gap":
                    values[name] = None
                case "rate":
                    values["likes"] = int((values["views"] or 0) * 0.9)
                case "reject":
                    values |= moments.choice([{"author": "them"}, {"likes": -1}, {"status": "repost"}])
                case "gone":
                    values |= dict.fromkeys(COUNTERS) | {"status": moments.choice(["deleted", "no_data"])}
                case "again" if made:
                    values = {k: v for k, v in made[-1].items() if k in values}
        made.append({"tweet_id": tweet_id, "collected_at": at(hours), **values, "snapshot_id": f"{tweet_id}-{number}"})
    return made


def test_every_row_gets_the_verdict_that_it_would_get_read_one_after_the_other(
    pipeline: dlt.Pipeline, tmp_path: Path
) -> None:
    moments = random.Random(26)
    ids = [snowflake(POSTED, number) for number in range(250)]
    series = {tweet_id: a_series(moments, tweet_id) for tweet_id in ids}
    told = [this for made in series.values() for this in made]
    moments.shuffle(told)

    summary = load(pipeline, write(tmp_path / "h.parquet", told), posts(*ids))

    zeros = [(tweet_id, when) for tweet_id, made in series.items() for when in falls_to_zero(made)]
    by_post = [judged(made, [when for post, when in zeros if post != tweet_id]) for tweet_id, made in series.items()]
    wanted = {name: told_of_it for of_it in by_post for name, told_of_it in of_it.items()}
    found = stored(pipeline)
    assert {name: found.get(name) for name in wanted if found.get(name) != wanted[name]} == {}
    assert found.keys() == wanted.keys()
    verdicts = {verdict for verdict, *_ in wanted.values()}
    assert verdicts == {"accepted", "suspect", "rejected", "none"}
    rules = {reason.split(":")[0] for _, reasons, _ in wanted.values() for reason in reasons}
    assert {"false_zero", "views_fell", "likes_fell", "views_jumped", "likes_above_views", "wrong_author"} <= rules
    # small falls to 0 are held beside other posts' zeros
    falls = [re.search(r"false_zero: \w+ (\d+) before", r) for _, reasons, _ in wanted.values() for r in reasons]
    assert {int(fall[1]) < 5 for fall in falls if fall} == {True, False}
    assert any(w.startswith("confirmed: ") for _, _, warnings in wanted.values() for w in warnings)
    assert summary.due == len(ids)
    verdicts_of = [{verdict for verdict, *_ in of_it.values()} for of_it in by_post]
    assert summary.updated == sum("accepted" in found for found in verdicts_of)
    assert summary.failed == sum(found == {"none"} for found in verdicts_of)


def test_rows_are_judged_with_what_staging_has_before_and_after_them(pipeline: dlt.Pipeline, tmp_path: Path) -> None:
    read = Reading(Status.OK, MINE, Counters(**{n: Count(v, "x") for n, v in {"likes": 40, "replies": 20}.items()}))
    collect(pipeline, Scripted({MINE: read}, at(5)), content=posts(MINE))

    told = [row(4, replies=12, snapshot_id="before"), row(6, replies=0, snapshot_id="after")]
    load(pipeline, write(tmp_path / "h.parquet", told))

    found = stored(pipeline)
    assert found["before"][0] == "accepted"
    assert found["after"][:2] == ("suspect", ["false_zero: replies 20 before, 0 now"])


def test_a_history_loaded_twice_exists_once_with_its_origin(pipeline: dlt.Pipeline, tmp_path: Path) -> None:
    told = [row(hours, likes=40 + number) for number, hours in enumerate((1, 2, 30, 31))]
    path = write(tmp_path / "h.parquet", [*told, row(32, likes=0), told[0]])
    first = load(pipeline, path, posts(MINE))
    before = stored(pipeline)
    second = load(pipeline, path)

    assert first.loaded == {"real_tweet_metrics": 4, "quarantined_metrics": 1}
    assert second.loaded == {"real_tweet_metrics": 0, "quarantined_metrics": 0}
    assert stored(pipeline) == before
    assert len(before) == 5
    columns = "decision_id, collection_phase, likes, quotes, hours_after_post, status, data_source, run_id, provenance"
    [kept] = rows(pipeline, f"select {columns} from staging.real_tweet_metrics where likes = 42")
    provenance = json.loads(kept[-1]) if isinstance(kept[-1], str) else kept[-1]
    assert kept[:-2] == ("d1", "backfill", 42, None, 30.0, "ok", "parquet")
    assert (kept[-2], provenance) == (first.run_id, {"file": "h.parquet"})
    loads = "select count(*) from staging._dlt_loads as loads where load_id in (select _dlt_load_id from {})"
    assert rows(pipeline, loads.format("staging.real_tweet_metrics")) == [(1,)]


def test_rows_that_cannot_be_judged_are_kept_with_the_reason(pipeline: dlt.Pipeline, tmp_path: Path) -> None:
    foreign = snowflake(POSTED, 9)
    told = [
        row(1, snapshot_id="good", likes=40.0),
        row(2, snapshot_id="fraction", likes=40.5),
        row(3, snapshot_id="foreign", tweet_id=foreign),
        row(4, snapshot_id="nameless", tweet_id=None),
        {**row(5, snapshot_id="timeless"), "collected_at": None},
        row(6, snapshot_id="odd", status="fine"),
        row(7, snapshot_id="both", status="deleted"),
    ]
    summary = load(pipeline, write(tmp_path / "h.parquet", told, likes="double"), posts(MINE))

    found = stored(pipeline)
    assert found.pop("good")[0] == "accepted"
    assert {name: (verdict, *reasons) for name, (verdict, reasons, _) in found.items()} == {
        "fraction": ("rejected", "not_a_count: likes is 40.5"),
        "foreign": ("rejected", "unknown_post: content_metadata has no posted decision of it"),
        "nameless": ("rejected", "bad_id: the row names no post"),
        "timeless": ("rejected", "no_instant: the row does not say when it was read"),
        "odd": ("rejected", "not_a_status: fine"),
        "both": ("rejected", "not_a_reading: counters of a post that is deleted"),
    }
    assert summary.line() == "Metrics collection complete: 1 updated, 0 skipped, 0 failed"

    load(pipeline, tmp_path / "h.parquet", posts(MINE, foreign))
    assert len(stored_twice := rows(pipeline, "select 1 from staging.real_tweet_metrics")) == 2, stored_twice


def test_values_that_no_warehouse_holds_cost_their_rows_only(pipeline: dlt.Pipeline, tmp_path: Path) -> None:
    told = [
        row(1, snapshot_id="good", author="me"),
        row(2, snapshot_id="huge", likes=10**20),
        row(3, snapshot_id="clicks", profile_clicks=2**63),
        row(4, snapshot_id="nul id", tweet_id="12\x0034"),
        row(5, snapshot_id="nul author", author="m\x00e"),
        row(6, snapshot_id="nul status", status="o\x00k"),
        row(7, snapshot_id="nul \x00"),
        {**row(8, snapshot_id="late"), "collected_at": "20000-01-01 00:00:00+00"},
        {**row(9, snapshot_id="early"), "collected_at": "4000-01-01 (BC) 00:00:00+00"},
        {**row(10, snapshot_id="never"), "collected_at": "infinity"},
        row(11, snapshot_id="largest", views=2**63 - 1),
    ]
    types = {"likes": "hugeint", "profile_clicks": "hugeint"}  # Parquet has none: DuckDB writes doubles
    load(pipeline, write(tmp_path / "h.parquet", told, **types), posts(MINE))

    found = stored(pipeline)
    assert found.pop("good")[0] == "accepted"
    assert found.pop("largest")[0] == "accepted"
    assert {name: (verdict, *reasons) for name, (verdict, reasons, _) in found.items()} == {
        "huge": ("rejected", "not_a_count: likes is 1e+20"),
        "clicks": ("rejected", "not_a_count: profile_clicks is 9.223372036854776e+18"),
        "nul id": ("rejected", "not_a_text: tweet_id holds a NUL character"),
        "nul author": ("rejected", "not_a_text: author holds a NUL character"),
        "nul status": ("rejected", "not_a_text: status holds a NUL character"),
        "nul \\x00": ("rejected", "not_a_text: snapshot_id holds a NUL character"),
        "late": ("rejected", "no_instant: 20000-01-01 00:00:00+00 is not within the years 1 to 9999"),
        "early": ("rejected", "no_instant: 4000-01-01 (BC) 00:00:00+00 is not within the years 1 to 9999"),
        "never": ("rejected", "no_instant: infinity is not within the years 1 to 9999"),
    }
    load(pipeline, tmp_path / "h.parquet", posts(MINE))
    assert len(stored(pipeline)) == len(told)


@pytest.mark.parametrize(
    ("told", "types", "said"),
    [
        ([{"tweet_id": MINE}], {}, "has no column collected_at: a history names the post and the instant"),
        ([row(1)], {"likes": "varchar"}, "column likes of .* is VARCHAR: make it bigint"),
        ([row(1, tweet_id=1.5)], {"tweet_id": "double"}, "column tweet_id of .* is DOUBLE: make it varchar"),
    ],
)
def test_a_file_of_another_shape_is_refused_with_one_sentence(
    tmp_path: Path, told: list[Row], types: dict[str, str], said: str
) -> None:
    pipeline = open_pipeline(str(tmp_path / "w.duckdb"), tmp_path)
    with pytest.raises(ExtractError, match=said):
        load(pipeline, write(tmp_path / "h.parquet", told, **types), posts(MINE))


def test_a_file_that_is_none_and_one_that_is_not_there(tmp_path: Path) -> None:
    pipeline = open_pipeline(str(tmp_path / "w.duckdb"), tmp_path)
    (tmp_path / "h.parquet").write_text("no parquet")
    with pytest.raises(ExtractError, match=r"cannot read .*h\.parquet"):
        load(pipeline, tmp_path / "h.parquet")
    with pytest.raises(ExtractError, match="does not exist: fix"):
        load(pipeline, tmp_path / "away")


def test_a_folder_is_one_history_and_columns_not_read_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "extract")
    pipeline = open_pipeline(str(tmp_path / "w.duckdb"), tmp_path)
    folder = tmp_path / "it's a folder"
    folder.mkdir()
    write(folder / "a.parquet", [row(1)])
    write(folder / "b.parquet", [row(2, shares=3)])
    load(pipeline, folder, posts(MINE))

    assert rows(pipeline, "select count(*) from staging.real_tweet_metrics") == [(2,)]
    assert any("that are not read: shares" in record.getMessage() for record in caplog.records)


def test_what_the_warehouse_refuses_is_not_half_loaded(address: str, pipeline: dlt.Pipeline, tmp_path: Path) -> None:
    """A row that the second table refuses undoes the first one's, and the next load brings all."""
    told = [row(1), row(2), row(3, likes=0)]
    path = write(tmp_path / "h.parquet", told)
    collect(pipeline, Scripted({}), "scheduled", at=POSTED - timedelta(days=1), content=posts(MINE))
    with pipeline.sql_client() as client:
        client.execute_sql("alter table staging.quarantined_metrics drop column latency_ms")
    with pytest.raises(ExtractError, match="the warehouse refused the rows, none is loaded"):
        load(pipeline, path)
    assert rows(pipeline, "select count(*) from staging.real_tweet_metrics") == [(0,)]


@pytest.mark.long
def test_a_load_killed_at_any_moment_and_run_again_holds_each_row_once(address: str, tmp_path: Path) -> None:
    ids = [snowflake(POSTED, number) for number in range(300)]
    told = [row(1 + n / 10, tweet_id, likes=40 + n, views=2000 + n) for tweet_id in ids for n in range(100)]
    path = write(tmp_path / "h.parquet", told)
    pipeline = open_pipeline(address, tmp_path)
    collect(pipeline, Scripted({}), "velocity", content=posts(*ids))
    counts = []
    with a_loader() as loader:
        for moment in (0.1, 0.2, 0.3, 0.4, 0.5):
            killed(loader, moment, address, tmp_path, path)
            counts += rows(pipeline, "select count(*) from staging.real_tweet_metrics")
    assert set(counts) <= {(0,), (len(told),)}
    assert (0,) in counts

    load(pipeline, path)
    found = rows(pipeline, "select count(*), count(distinct snapshot_id) from staging.real_tweet_metrics")
    assert found == [(len(told), len(told))]
