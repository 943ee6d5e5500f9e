"""Writers are never refused because a table is published: before and after setup every table takes UPDATE and DELETE.

The error that Postgres raises otherwise is ObjectNotInPrerequisiteState ("does not have a replica identity", "column
list used by the publication does not cover the replica identity") or, for generated columns, InvalidColumnReference.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from reconcile.capture.setup import capture_findings, setup, teardown
from reconcile.dbt.project import Project
from reconcile.engines.factory import open_engine
from reconcile.model_check.run import check_tables
from reconcile.report.diagnosis import Diagnosis, Level
from tests.conftest import Database
from tests.support.bench import model, postgres
from tests.support.capture_bench import AUTO

FULL = "alter table {t} replica identity full"
TABLES = {
    "primary key": ("create table {t} (id int primary key, v int)",),
    "no key": ("create table {t} (id int, v int)",),
    "full identity": ("create table {t} (id int, v int)", FULL),
    "no identity": ("create table {t} (id int primary key, v int)", "alter table {t} replica identity nothing"),
    "deferrable primary key": ("create table {t} (id int primary key deferrable, v int)",),
    "identity index": (
        "create table {t} (id int not null, v int)",
        "create unique index {t}_i on {t} (id)",
        "alter table {t} replica identity using index {t}_i",
    ),
    "dropped identity index": (
        "create table {t} (id int not null, v int)",
        "create unique index {t}_i on {t} (id)",
        "alter table {t} replica identity using index {t}_i",
        "drop index {t}_i",
    ),
    "generated column, full identity": (
        "create table {t} (id int, v int, w int generated always as (v * 2) stored)",
        FULL,
    ),
    "virtual generated column, full identity": (
        "create table {t} (id int, v int, w int generated always as (v * 2) virtual)",
        FULL,
    ),
    "generated column, primary key": (
        "create table {t} (id int primary key, v int, w int generated always as (v * 2) stored)",
    ),
    "identity always column": ("create table {t} (id int, n int generated always as identity, v int)", FULL),
    "parent with a child without key": (
        "create table {t} (id int primary key, v int)",
        "create table {t}_child () inherits ({t})",
        "insert into {t}_child values (1, 1)",
    ),
    "partitioned": (
        "create table {t} (id int, v int) partition by range (id)",
        "create table {t}_p partition of {t} for values from (0) to (100)",
    ),
    "mixed-case names": ('create table {t} ("Id x" serial primary key, id int, v int)', FULL),
    "unlogged": ("create unlogged table {t} (id int primary key, v int)",),
}
# What happens to a published table afterwards: its writers are refused until the next command.
LATER = {
    "primary key dropped": ("alter table {t} drop constraint {t}_pkey",),
    "identity widened": ("alter table {t} drop constraint {t}_pkey, add primary key (id, v)",),
    "identity made full": ("alter table {t} replica identity full",),
    "identity removed": ("alter table {t} replica identity nothing",),
    "generated column added": (
        "alter table {t} replica identity full",
        "alter publication {slot} drop table {t}",
        "alter publication {slot} add table {t}",
        "alter table {t} add column w int generated always as (id) stored",
    ),
    "row filter": ("alter publication {slot} drop table {t}", "alter publication {slot} add table {t} where (v > 0)"),
}
WRITES = ("insert into {t} (id, v) values (1, 1), (2, 2)", "update {t} set v = v + 1", "delete from {t} where id = 1")


def project_of(database: Database, names: list[str], root: Path) -> Project:
    definitions = [
        replace(
            model(f"m_{name}", f"select id, v from public.{name}"),
            relation_name=f"public.kept_{name}",
            sources={f"public.{name}": None},
        )
        for name in names
    ]
    return Project(postgres(database), tuple(definitions), root, "shop")


@pytest.fixture
def kept(database: Database, tmp_path: Path) -> Iterator[tuple[Database, Path]]:
    yield database, tmp_path
    list(teardown(project_of(database, [], tmp_path)))


def run(database: Database, name: str, statements: tuple[str, ...], slot: str = "") -> None:
    database.run(*(statement.format(t=name, slot=slot) for statement in statements))


def test_every_kind_of_table_takes_updates_and_deletes_after_setup(kept: tuple[Database, Path]) -> None:
    database, root = kept
    names = {f"t{number}": kind for number, kind in enumerate(TABLES)}
    version = int(str(database.rows("show server_version_num")[0][0]))
    for name, kind in names.items():
        if "virtual" in kind and version < 180_000:
            continue
        run(database, name, TABLES[kind])
        database.run(f"create table kept_{name} (id int primary key, v int)")
    project = project_of(database, list(names), root)
    findings = {finding.about: finding for finding in setup(project)}
    published = {str(row[0]) for row in database.rows("select tablename from pg_publication_tables")}
    for name, kind in names.items():
        try:
            run(database, name, WRITES)
        except psycopg.Error as error:
            pytest.fail(f"{kind}: {error}")
        if name in published:
            assert kind in (
                "primary key",
                "full identity",
                "identity index",
                "generated column, primary key",
                "identity always column",
                "mixed-case names",
            )
        else:
            assert findings[f"m_{name}"].level is Level.WARNING, kind
    assert not refused(project)


@pytest.mark.parametrize("what", LATER)
def test_a_published_table_whose_writers_would_be_refused_is_unpublished(
    kept: tuple[Database, Path], what: str
) -> None:
    database, root = kept
    database.run("create table t (id int primary key, v int)", "create table kept_t (id int primary key, v int)")
    database.run("insert into t values (1, 1), (2, 2)", "insert into kept_t values (1, 1), (2, 2)")
    project = project_of(database, ["t"], root)
    slot = next(finding.said.split()[0] for finding in setup(project) if finding.about == "slot")
    check_tables(project, asked=AUTO)
    run(database, "t", LATER[what], slot)
    with pytest.raises((psycopg.errors.ObjectNotInPrerequisiteState, psycopg.errors.InvalidColumnReference)):
        database.run("update t set v = v + 1")
    [finding] = refused(project)
    assert "updates and deletes of t are refused because it is published" in finding.said
    assert finding.mend == f'alter publication "{slot}" drop table only t'
    database.run("update kept_t set v = 9 where id = 2")
    found = check_tables(project, asked=AUTO)[0]
    assert (found.scope.mode, found.drift.changed) == ("sweep", 1)
    database.run("update t set v = v + 1", "delete from t where id = 1")
    assert not refused(project)


def refused(project: Project) -> list[Diagnosis]:
    engine = open_engine(project.connection)
    found = [finding for finding in capture_findings(engine, project) if finding.level is Level.TROUBLE]
    engine.close()
    return found
