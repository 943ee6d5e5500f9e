"""The roles that docs/how-to/production.md makes: each does its work, and nothing more."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.conftest import ROOT, Database, command

SQL = re.search(r"```sql\n(create role loader.*?)```", (ROOT / "docs/how-to/production.md").read_text(), re.DOTALL)
ROLES = ("loader", "builder", "reader", "reconciler", "repairer")
NO_RAW_TABLES = ("--vars", "create_raw_tables: false")


@pytest.fixture
def roles(database: Database) -> Iterator[Database]:
    assert SQL is not None
    database.run(*filter(str.strip, SQL[1].split(";\n")))
    yield database
    # one at a time: of several at once Postgres 18 loses a default privilege that two of them have a part in
    database.run(*(f"drop owned by {role} cascade" for role in ROLES), f"drop role {', '.join(ROLES)}")


def refused(database: Database, role: str, statement: str) -> bool:
    with psycopg.connect(database.conninfo, user=role) as connection:
        try:
            connection.execute(statement)
        except psycopg.errors.InsufficientPrivilege:
            return True
    return False


@pytest.mark.long
def test_each_role_does_its_work_and_nothing_more(clone: Path, roles: Database) -> None:
    def run(role: str, *arguments: str) -> str:
        variables = {"PGHOST": roles.host, "PGDATABASE": roles.name, "PGUSER": role}
        done = command(*arguments, "--target", "postgres", cwd=clone, SOURCES__ENGAGEMENT__SOURCE="http", **variables)
        assert done.returncode == 0, f"{role}: {done.stdout}{done.stderr}"
        return done.stdout

    run("loader", "dlt", "pipeline", "engagement", "run", "--job", "backfill")
    run("builder", "dbt", "build", *NO_RAW_TABLES)
    assert json.loads(run("reconciler", "reconcile", "check", "--output", "json", *NO_RAW_TABLES))["verdict"] == "level"
    assert roles.rows("select count(*) from reconcile.verdict where verdict = 'level'") == [(6,)]
    assert not refused(roles, "builder", "select count(*) from reconcile.verdict")  # its mart reconcile_history

    roles.run("delete from analytics.outcomes where decision_id = (select min(decision_id) from analytics.outcomes)")
    run("repairer", "reconcile", "repair", "--apply", "--yes", *NO_RAW_TABLES)
    assert roles.rows("select inserted from reconcile.repair") == [(1,)]

    not_theirs = {
        "reader": ["update analytics.outcomes set likes = 0", "select 1 from staging.real_tweet_metrics"],
        "reconciler": ["update analytics.outcomes set likes = 0", "delete from staging.real_tweet_metrics"],
        "repairer": [
            "delete from staging.real_tweet_metrics",
            "drop table analytics.outcomes",
            "create table staging.x ()",
        ],
        "builder": ["delete from staging.real_tweet_metrics", "insert into reconcile.verdict default values"],
        "loader": ["select 1 from analytics.outcomes", "select 1 from reconcile.repair"],
    }
    for role, statements in not_theirs.items():
        for statement in statements:
            assert refused(roles, role, statement), f"{role}: {statement}"
    assert not refused(roles, "reader", "select count(*) from analytics.posting_hours")
