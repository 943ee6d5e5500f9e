"""A dbt build after 1,000 new readings against a full refresh, model by model, on the embedded Postgres.

    uv run benchmarks/builds.py [--tweets 1000000] [--new 1000] [--plan MODEL]

A tweet has five readings. Times are dbt's own of each model (its statements, without dbt's start), one run each:
compare the ratios, not the seconds. Every incremental table is compared with its definition at the end.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import psycopg

from orchestrate.dbt import environment
from orchestrate.servers import postgres as warehouse
from reconcile import check, run_dbt

ROOT = Path(__file__).resolve().parent.parent
MODELS = (
    "tweet_metrics",
    "learning_posts",
    "outcomes",
    "tweet_metrics_history",
    "post_velocity_tracking",
    "follower_growth_attribution",
)
# one post every ten minutes, back from July 2026; its id is made at its own time
POSTED = "timestamptz '2026-07-01 00:00:00+00' - n * interval '10 minutes'"
# a thousand tweets a load package, with the follower readings of that time: a build takes the last package again
LOADED, READ = (f"(1782900000 - {n} / 1000) || '.0'" for n in ("n", "48 * n"))
ID = f"(((extract(epoch from {POSTED}) * 1000)::bigint - 1288834974657) << 22)::text"


def fill(database: psycopg.Connection, tweets: int) -> None:
    """Decisions, five readings of each and a follower reading every eight hours, all in one load."""
    database.execute(f"""
        insert into staging.content_metadata
            (decision_id, decision_type, content, topic_cluster, generator_name, status, generation_source, tweet_id,
             created_at, posted_at, updated_at, _dlt_load_id, _dlt_id)
        select md5(n::text)::uuid::text, case when n % 7 = 0 then 'reply' else 'single' end,
            n || ' words on sleep and what it does', 'topic ' || n % 5, 'generator ' || n % 4, 'posted', 'real', {ID},
            {POSTED} - interval '1 hour', {POSTED}, {POSTED}, {LOADED}, 'c' || n
        from generate_series(1, {tweets}) n
    """)
    add_readings(database, f"generate_series(1, {tweets}) n cross join unnest(array[1, 6, 24, 72, 168]) age", LOADED)
    database.execute(f"""
        insert into staging.follower_snapshots
            (snapshot_id, account_id, snapshot_at, follower_count, _dlt_load_id, _dlt_id)
        select 'f' || n, 'me', timestamptz '2026-07-01' - n * interval '8 hours', {tweets} - n, {READ}, 'f' || n
        from generate_series(0, {tweets} / 48) n
    """)
    for table in ("content_metadata", "real_tweet_metrics", "follower_snapshots"):
        database.execute(f"vacuum analyze staging.{table}")


def add_readings(database: psycopg.Connection, rows: str, load_id: str) -> None:
    """A reading for each of ``rows``, which yield n (the tweet) and age (in hours)."""
    database.execute(f"""
        insert into staging.real_tweet_metrics
            (snapshot_id, tweet_id, collected_at, posted_at, likes, retweets, replies, quotes, bookmarks, views,
             status, validation_passed, data_source, _dlt_load_id, _dlt_id)
        select md5(n || '-' || age), {ID}, {POSTED} + age * interval '1 hour', {POSTED}, age + n % 100, n % 10,
            n % 5, 0, n % 7, 1000 + 10 * age + n % 1000, 'ok', true, 'browser', {load_id}, md5(n || '-' || age)
        from {rows}
    """)


def build(folder: Path, *more: str) -> dict[str, float]:
    """Seconds by model."""
    where = ["--project-dir", str(folder), "--profiles-dir", str(folder), "--quiet", "--log-level", "none"]
    outcome = run_dbt(["run", *more, *where])
    if outcome.exception is not None:
        raise outcome.exception
    failed = [result.message for result in outcome.result.results if str(result.status) != "success"]
    assert not failed, failed[0]
    return {
        result.node.name: result.execution_time for result in outcome.result.results if hasattr(result.node, "name")
    }


def explain(folder: Path, database: psycopg.Connection, model: str) -> None:
    where = ["--project-dir", str(folder), "--profiles-dir", str(folder), "--quiet", "--log-level", "none"]
    sql = run_dbt(["compile", "-s", model, *where]).result.results[0].node.compiled_code
    print(f"\nplan of {model}, incremental:")
    for (line,) in database.execute(f"explain (analyze, costs off, timing off, summary on) {sql}").fetchall():
        print("  " + line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tweets", type=int, default=1_000_000)
    parser.add_argument("--new", type=int, default=1_000)
    parser.add_argument("--plan", choices=MODELS, help="Show the plan of a model's incremental build.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        server = warehouse.start(home)
        try:
            measure(home, server, options)
        finally:
            warehouse.stop(home)


def measure(home: Path, server: warehouse.Server, options: argparse.Namespace) -> None:
    folder = home / "project"
    folder.mkdir()
    for name in ("dbt_project.yml", "profiles.yml"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "dbt_project", folder / "dbt_project")
    variables = {"DBT_TARGET": "postgres", "PGHOST": str(server.socket), "PGDATABASE": "postgres", "PGUSER": "postgres"}
    with environment(variables), psycopg.connect(server.conninfo, dbname="postgres", autocommit=True) as database:
        build(folder, "-s", "staging", "intermediate")
        fill(database, options.tweets)
        full = {}
        for model in MODELS:  # one at a time: two at once share the machine
            full |= build(folder, "--full-refresh", "-s", model)
        add_readings(
            database, f"generate_series(1, {options.new}) n cross join unnest(array[200]) age", "'1783000000.0'"
        )
        database.execute("analyze staging.real_tweet_metrics")
        if options.plan:
            explain(folder, database, options.plan)
        incremental = {}
        for model in MODELS:
            incremental |= build(folder, "-s", model)
        print(f"{options.tweets:,} tweets, {5 * options.tweets:,} readings; then {options.new:,} new readings")
        print(f"{'model':30}{'full refresh':>14}{'incremental':>14}{'share':>8}")
        for model in MODELS:
            print(f"{model:30}{full[model]:12.1f} s{incremental[model]:12.2f} s{incremental[model] / full[model]:8.1%}")
        total, share = sum(full.values()), sum(incremental.values()) / sum(full.values())
        print(f"{'all':30}{total:12.1f} s{sum(incremental.values()):12.2f} s{share:8.1%}")
        verdicts = {table.name: table.verdict.value for table in check(project_dir=folder, profiles_dir=folder).tables}
        print(
            "compared with their definitions: " + ", ".join(f"{name} {verdict}" for name, verdict in verdicts.items())
        )


if __name__ == "__main__":
    main()
