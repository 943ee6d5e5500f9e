"""A level warehouse of more than 2,000 posts, and what an incident test asks of it.

The account and its counters are those of the local site, which are pure functions of a seed; the readings were judged
and are accepted. dbt builds the tables once a run, each test gets a copy of the database.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg

from extract.site.account import Account
from extract.site.counters import counters
from reconcile import ProjectArguments, Report, Sample, check
from tests.conftest import ROOT, Database
from tests.support.dbt_projects import DbtProject

ACCOUNT = Account(seed=3, days=280, per_day=6)
NOW = datetime(2026, 7, 1, 18, tzinfo=UTC)
KEYS = {"outcomes": "decision_id", "learning_posts": "tweet_id", "tweet_metrics": "tweet_id"}
_AGES = (timedelta(minutes=40), timedelta(hours=25), timedelta(hours=168))
_LOADED = f"{(datetime.now(UTC) - timedelta(minutes=5)).timestamp():.3f}"
_PROFILE = """levelset:
  target: dev
  outputs:
    dev:
      {{type: postgres, host: {host}, port: 5432, user: postgres, password: "", dbname: {name}, schema: analytics,
       threads: 2}}
"""


def build(folder: Path, database: Database | None) -> DbtProject:
    """Our dbt project with everything loaded, built and found level once: what a template is made of."""
    assert database is not None
    shutil.copy(ROOT / "dbt_project.yml", folder)
    shutil.copytree(ROOT / "dbt_project", folder / "dbt_project")
    (folder / "profiles.yml").write_text(_PROFILE.format(host=database.host, name=database.name))
    project = DbtProject(folder, database)
    project.dbt("run", "-s", "staging")
    with psycopg.connect(database.conninfo) as connection:
        load(connection, "content_metadata", ACCOUNT.content_rows(NOW))
        load(connection, "real_tweet_metrics", snapshots())
        load(connection, "follower_snapshots", followers())
    project.dbt("build", "-s", "staging", "intermediate", "marts.engagement")
    report = Incident(project).check()
    assert report.exit_code == 0, report.as_dict()
    return project


def load(connection: psycopg.Connection, table: str, rows: list[dict[str, Any]]) -> None:
    """What a load package of dlt leaves in staging, all of it at once."""
    names = [*rows[0], "_dlt_load_id", "_dlt_id"]
    with connection.cursor() as cursor, cursor.copy(f"copy staging.{table} ({', '.join(names)}) from stdin") as copy:
        for i, row in enumerate(rows):
            values = [json.dumps(v) if isinstance(v, list) else v for v in row.values()]
            copy.write_row([*values, _LOADED, f"{table}{i}"])
    connection.execute(f"analyze staging.{table}")  # as our loader does: builds are planned on it


def snapshots() -> list[dict[str, Any]]:
    rows = []
    for post in ACCOUNT.posts(NOW):
        for age in _AGES:
            at = post.posted_at + age
            if at > NOW or (post.deleted_at is not None and at > post.deleted_at):
                continue
            truth = vars(counters(ACCOUNT.seed, post, at))
            row = {"snapshot_id": f"{post.tweet_id}-{age}", "tweet_id": post.tweet_id, "decision_id": post.decision_id}
            told = {"collected_at": at, "posted_at": post.posted_at, "status": "ok", "validation_passed": True}
            rows.append({**row, **told, **truth, "data_source": "browser"})
    return rows


def followers() -> list[dict[str, Any]]:
    start = NOW - timedelta(days=ACCOUNT.days)
    readings = [start + timedelta(hours=8 * i) for i in range(3 * ACCOUNT.days)]
    return [
        {"snapshot_id": f"f{i}", "account_id": "me", "snapshot_at": at, "follower_count": 1000 + 2 * i}
        for i, at in enumerate(readings)
    ]


@dataclass
class Incident:
    """One copy of the warehouse, to be hurt."""

    project: DbtProject

    @cached_property
    def before(self) -> dict[str, list[tuple[object, ...]]]:
        """The core tables as they were when this was first asked for: before anything was hurt."""
        return self.all_contents()

    @property
    def where(self) -> ProjectArguments:
        return {"project_dir": self.project.folder, "profiles_dir": self.project.folder, "select": tuple(KEYS)}

    def run(self, *statements: str) -> None:
        self.project.run(*statements)

    def rows(self, query: str) -> list[tuple[object, ...]]:
        return self.project.rows(query)

    def keys(self, query: str) -> set[str]:
        return {str(key) for (key,) in self.rows(query)}

    def check(self) -> Report:
        return check(keep=False, **self.where)

    def contents(self, table: str) -> list[tuple[object, ...]]:
        """Every row of a core table as text, in the order of its key."""
        key = KEYS[table]
        return self.rows(f"select t::text from analytics.{table} t order by {key}")

    def all_contents(self) -> dict[str, list[tuple[object, ...]]]:
        return {table: self.contents(table) for table in KEYS}

    def untouched(self, table: str, but: set[str]) -> list[tuple[object, ...]]:
        """A checksum of all rows but those of these keys, with the transactions that wrote them: no one wrote since."""
        key = KEYS[table]
        listed = ", ".join(f"'{name}'" for name in sorted(but)) or "''"
        return self.rows(
            f"select count(*), md5(string_agg(t::text || xmin::text, '|' order by {key})) from analytics.{table} t"
            f" where {key} not in ({listed})"
        )

    def red(self, *command: str) -> str:
        """Run dbt, which must fail; in what words."""
        try:
            self.project.dbt(*command)
        except AssertionError as failed:
            return str(failed)
        raise AssertionError(f"dbt {' '.join(command)} is green")


def samples(report: Report, table: str, kind: str) -> dict[str, Sample]:
    """What a report found of one kind in a table, by key."""
    found = next(t for t in report.tables if t.name == table)
    assert found.drift.of_rows() + found.drift.schema <= len(found.samples) + found.drift.schema, "samples were cut"
    return {str(next(iter(s.key.values()))): s for s in found.samples if s.kind == kind}
