"""What readers see of builds, on Postgres: no query fails, whatever is built, alone or beside another build."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from itertools import chain
from pathlib import Path

import psycopg
import pytest

from extract.reading.post_ids import snowflake
from orchestrate.servers.postgres import Server
from tests.conftest import ROOT, Database, a_database
from tests.support.warehouse import START, Warehouse, build_empty, warehouse_of

KEY = {"content_metadata": "decision_id", "real_tweet_metrics": "snapshot_id", "follower_snapshots": "snapshot_id"}


@pytest.fixture(scope="module")
def database(server: Server) -> Iterator[Database]:
    with a_database(server, "readers") as made:
        yield made


@pytest.fixture(scope="module")
def warehouse(database: Database, tmp_path_factory: pytest.TempPathFactory) -> Warehouse:
    """A hundred posts, each read once, and everything built."""
    made = warehouse_of(build_empty(tmp_path_factory.mktemp("readers"), database))
    shutil.copy(ROOT / "selectors.yml", made.project.folder / "selectors.yml")
    content, readings = [], []
    for i in range(100):
        at = START + timedelta(hours=i)
        row = {"decision_id": f"d{i}", "decision_type": "single", "content": "Why?", "status": "posted"}
        content.append({**row, "tweet_id": snowflake(at, i), "created_at": at, "posted_at": at, "updated_at": at})
        reading = {"snapshot_id": f"s{i}", "tweet_id": snowflake(at, i), "collected_at": at + timedelta(hours=1)}
        readings.append({**reading, "status": "ok", "validation_passed": True, "likes": i, "views": 900})
    made.load({"content_metadata": content, "real_tweet_metrics": readings}, KEY)
    made.build()
    made.compile("recent_posts", "last_seven_days")
    return made


def queries_of_readers(warehouse: Warehouse) -> list[str]:
    """Those of docs/reference/readers.md, the seed's two as they were written, and their analyses."""
    page = (ROOT / "docs" / "reference" / "readers.md").read_text()
    compiled = warehouse.project.folder / "target" / "compiled" / "levelset" / "dbt_project" / "analyses"
    return [
        *re.findall(r"```sql\n(.+?)\n```", page, flags=re.DOTALL),
        "select tweet_id, updated_at from learning_posts where updated_at > now() - interval '24 hours'",
        "select count(*), avg(likes_count) from learning_posts where created_at > now() - interval '7 days'",
        *(file.read_text() for file in compiled.glob("*.sql")),
    ]


@contextmanager
def readers_at_work(warehouse: Warehouse, database: Database) -> Iterator[None]:
    """Run every reader's query again and again; fails where one of them failed, or none came to its end."""
    asked, failed, done = queries_of_readers(warehouse), list[str](), threading.Event()
    rounds = 0

    def read() -> None:
        nonlocal rounds
        with psycopg.connect(database.conninfo, autocommit=True, options="-c search_path=analytics") as reader:
            while not done.is_set():
                for query in asked:
                    try:
                        reader.execute(query.encode()).fetchall()
                    except psycopg.Error as error:
                        failed.append(f"{error} {query}")
                rounds += 1
                time.sleep(0.02)

    assert len(asked) == 13
    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    assert failed == []
    assert rounds > 3


def test_no_readers_query_fails_while_parts_are_built(warehouse: Warehouse, database: Database) -> None:
    database.run("create view public.best as select tweet_id, likes_count from analytics.learning_posts")
    database.run("create view public.best_of_all as select max(likes_count) as likes from public.best where true")
    with readers_at_work(warehouse, database):
        warehouse.build("-s", "+tweet_metrics")
        warehouse.build("-s", "stg_engagement__snapshots")
        warehouse.build("--selector", "scheduled", "--full-refresh")
        warehouse.build("-s", "measured_posts", "int_as_of")
    # views of a reader's own stay too, over the table that was built anew
    database.run("update analytics.learning_posts set likes_count = 1000 where likes_count = 99")
    assert database.rows("select likes from public.best_of_all") == [(1000,)]
    database.run("update analytics.learning_posts set likes_count = 99 where likes_count = 1000")
    database.run("drop view public.best cascade")


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/St_Johns"])
def test_documented_queries_answer_alike_in_every_time_zone(
    warehouse: Warehouse, database: Database, zone: str
) -> None:
    fresh = "update learning_posts set created_at = now() at time zone 'UTC', updated_at = now() at time zone 'UTC'"
    with psycopg.connect(database.conninfo, options=f"-c search_path=analytics -c timezone={zone}") as reader:
        reader.execute(f"{fresh} - interval '23 hours' where likes_count = 3".encode())
        documented = [query for query in queries_of_readers(warehouse) if "now()" in query and "analytics." in query]
        recent, counted = (reader.execute(query.encode()).fetchall() for query in documented)
        assert [row[1] for row in recent] == [3]
        assert counted[0][0] == 1
        # readers' other queries know no clock: they answer as in a session under UTC
        others = [query for query in queries_of_readers(warehouse) if "now()" not in query]
        answers = [sorted(map(repr, reader.execute(query.encode()).fetchall())) for query in others]
        reader.execute("set time zone 'UTC'")
        assert answers == [sorted(map(repr, reader.execute(query.encode()).fetchall())) for query in others]
        reader.rollback()


def test_a_view_that_gets_other_columns_keeps_the_views_over_it(warehouse: Warehouse, database: Database) -> None:
    """Columns may change their type; only a view that reads a column which is gone goes, and dbt says so."""
    database.run("create role somebody", "grant select on analytics.int_as_of to somebody")
    model = warehouse.project.folder / "dbt_project" / "models" / "intermediate" / "int_as_of.sql"
    plain = model.read_text()
    try:
        model.write_text(plain.replace("as as_of", "as as_of, 'x' as another"))
        database.run("create view public.clock as select as_of, as_of || '%' as told from analytics.int_as_of")
        database.run(
            "create view public.clocks as select * from public.clock",
            "create view public.ids as select clock_id from analytics.int_as_of",
        )
        warehouse.build("-s", "int_as_of")  # a column more: replaced in place
        model.write_text(
            plain.replace("1 as clock_id,", "").replace("max(collected_at)", "cast(max(collected_at) as date)")
        )
        warehouse.build("-s", "int_as_of")  # one column gone, the other of another type

        views = database.rows("select viewname from pg_views where schemaname = 'public' order by 1")
        assert views == [("clock",), ("clocks",)]
        assert database.rows("select as_of::text, told from public.clocks") == [("2026-07-05", "2026-07-05%")]
        assert database.rows("select has_table_privilege('somebody', 'analytics.int_as_of', 'select')") == [(True,)]
        leftovers = (
            "select relname from pg_class where relname ~ '__(kept|gone|dbt_tmp|dbt_backup)$' and relkind in ('r', 'v')"
        )
        assert database.rows(leftovers) == []
    finally:
        model.write_text(plain)
        database.run("drop owned by somebody", "drop role somebody")


@pytest.mark.parametrize("build", ["tweet_metrics", "tweet_metrics --full-refresh", "int_as_of", "measured_posts"])
def test_a_build_that_waits_for_its_turn_holds_no_lock_on_its_relation(
    warehouse: Warehouse, database: Database, build: str
) -> None:
    """It once did: the build it waited for could then not replace the table, and Postgres ended one of the two."""
    name = f"analytics.{build.split(maxsplit=1)[0]}"
    ended = []
    thread = threading.Thread(target=lambda: ended.append(warehouse.build("-s", *build.split())))
    waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
    with psycopg.connect(database.conninfo) as another:
        another.execute("select pg_advisory_xact_lock(hashtext('levelset build'), hashtext(%s))", [name])
        thread.start()
        while another.execute(waiting).fetchone() == (0,):
            time.sleep(0.02)
            assert thread.is_alive()
        locks = "select mode from pg_locks where relation = %s::regclass and pid <> pg_backend_pid()"
        assert another.execute(locks, [name]).fetchall() == []
    thread.join()
    assert ended == [None]


def run_in_pairs(warehouse: Warehouse, pairs: list[tuple[str, str]]) -> None:
    """Each pair of builds at once, as separate processes; fails with what the first one said that failed.

    A ``retry`` finds a run of all models that failed.
    """
    folder = warehouse.project.folder
    failed_run: str | None = None

    def build(place: str, more: str) -> str:
        if more == "retry":
            assert failed_run is not None
            (folder / f"target_{place}").mkdir(exist_ok=True)
            (folder / f"target_{place}" / "run_results.json").write_text(failed_run)
        where = ["--project-dir", folder, "--profiles-dir", folder, "--target-path", folder / f"target_{place}"]
        run = [Path(sys.executable).with_name("dbt"), *more.split(), *where]
        done = subprocess.run(
            run, env={**os.environ, **warehouse.variables}, capture_output=True, text=True, check=False
        )
        return "" if done.returncode == 0 else done.stdout + done.stderr

    if "retry" in chain(*pairs):
        assert build("a", "run") == ""
        succeeded = (folder / "target_a" / "run_results.json").read_text()
        failed_run = re.sub(r'"status": ?"success"', '"status": "error"', succeeded)
        assert failed_run.count('"status": "error"') > 10
    with ThreadPoolExecutor(2) as pool:
        for pair in pairs:
            assert list(pool.map(build, "ab", pair)) == ["", ""], pair


FULL, PART, VIEWS = "run -s marts.engagement --full-refresh", "run -s marts.engagement", "run -s staging intermediate"


def test_an_incremental_build_beside_a_full_refresh_ends_well(warehouse: Warehouse) -> None:
    run_in_pairs(warehouse, [(FULL, PART)])


@pytest.mark.parametrize("pairs", [pytest.param(8, marks=pytest.mark.long), pytest.param(100, marks=pytest.mark.soak)])
def test_pairs_of_builds_end_without_a_deadlock(warehouse: Warehouse, pairs: int) -> None:
    kinds = (FULL, PART, VIEWS, "run", "build --selector scheduled", "run -s +learning_posts", "retry")
    draws = random.Random(25)
    run_in_pairs(warehouse, [(draws.choice(kinds), draws.choice(kinds)) for _ in range(pairs)])
    before = warehouse.contents()
    warehouse.build("--full-refresh")
    assert warehouse.contents() == before
