"""Each hazard is a model on tables in its own schema, proven level and then changed in a way that capture could miss.

All hazards share one database, one slot and three checks, so a new one costs a few milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import psycopg
import pytest

from orchestrate.servers.postgres import Server
from reconcile.capture.setup import capture_findings, setup, teardown
from reconcile.dbt.project import Project
from reconcile.definition.model import Definition
from reconcile.engines.factory import open_engine
from reconcile.model_check.judge_model import CheckRequest
from reconcile.model_check.run import check_tables
from reconcile.report.diagnosis import Level
from reconcile.report.model import TableReport, Verdict
from tests.conftest import Database
from tests.support.bench import model, postgres
from tests.support.capture_bench import AUTO, captured, sums

SWEEP = CheckRequest("sweep")


@dataclass(frozen=True)
class Hazard:
    """``tables``: DDL and rows of the sources. ``sql``: the definition, by which the table ``kept`` is filled.
    ``change``: what happens after the table was proven level. ``by``: the scopes in which the change may be found.
    ``proven``, ``verdict``: the verdicts before and after it."""

    tables: tuple[str, ...]
    sql: str
    change: tuple[str, ...]
    key: tuple[str, ...] = ("id",)
    by: tuple[str, ...] = ("capture", "sweep")
    verdict: Verdict = Verdict.DRIFT
    proven: Verdict = Verdict.LEVEL
    allow_empty: bool = False
    sources: tuple[str, ...] = ("r",)
    key_from: dict[str, str | tuple[str, ...]] = field(default_factory=dict)


def composite(first: str, second: str, values: str) -> Hazard:
    """A key of two columns. ``values``: rows (first, second, v); the change exchanges the roles of two values."""
    return Hazard(
        (f"create table r (a {first}, b {second}, v int)", f"insert into r values {values}"),
        "select a, b, sum(v) as v from r group by a, b",
        ("update r set v = v + 1 where ctid = (select max(ctid) from r)",),
        key=("a", "b"),
        by=("capture",),
    )


def keyed(kind: str, value: str, other: str, **more: object) -> Hazard:
    return Hazard(
        (f"create table r (id {kind}, v int)", f"insert into r values ({value}, 1), ({other}, 2)"),
        "select id, sum(v) as v from r group by id",
        (f"update r set v = 5 where id = {value}",),
        **more,  # type: ignore[arg-type]
    )


SUMS = "select id, sum(v) as v from r group by id"
ROWS = ("create table r (n serial primary key, id int, v int)", "insert into r (id, v) values (1, 1), (2, 2), (3, 3)")

HAZARDS = {
    "two int parts": composite("int", "int", "(1, 2, 1), (2, 1, 1), (3, 4, 1)"),
    "two bigint parts": composite("bigint", "bigint", "(1, 2, 1), (2, 1, 1), (3, 4, 1)"),
    "two text parts": composite("text", "text", "('x', 'y', 1), ('y', 'x', 1), ('p', 'q', 1)"),
    "two numeric parts": composite("numeric", "numeric", "(1.0, 2.50, 1), (2.5, 1, 1), (3, 4, 1)"),
    "two uuid parts": composite(
        "uuid", "uuid", "(gen_random_uuid(), gen_random_uuid(), 1), (gen_random_uuid(), gen_random_uuid(), 1)"
    ),
    "a date between numbers": Hazard(
        (
            "create table r (a int, d date, b int, v int)",
            "insert into r values (1, '2026-01-02', 2, 1), (2, null, 1, 1)",
        ),
        "select a, d, b, sum(v) as v from r group by a, d, b",
        ("update r set v = 2 where a = 1",),
        key=("a", "d", "b"),
        by=("capture",),
    ),
    "a key with a NULL part": Hazard(
        ("create table r (a int, b int, v int)", "insert into r values (1, null, 1), (1, 2, 1)"),
        "select a, b, sum(v) as v from r group by a, b",
        ("update r set v = 2 where b is null",),
        key=("a", "b"),
    ),
    "an outer join that makes the key NULL": Hazard(
        (
            "create table r (b_id int, v int)",
            "create table b (id int primary key)",
            "insert into r values (1, 1), (2, 2), (9, 3)",
            "insert into b values (1), (2)",
        ),
        "select b.id, sum(r.v) as v from r left join b on b.id = r.b_id group by b.id",
        ("delete from b where id = 1", "delete from kept where id = 1"),
        sources=("r", "b"),
    ),
    "a full join on the key": Hazard(
        (
            "create table r (id int, v int)",
            "create table b (id int, v int)",
            "insert into r values (1, 1), (2, 2)",
            "insert into b values (2, 1), (3, 1)",
        ),
        "select coalesce(r.id, b.id) as id, r.v, b.v as w from r full join b on b.id = r.id",
        ("update b set v = 7 where id = 3",),
        sources=("r", "b"),
    ),
    "an anti join": Hazard(
        (
            "create table r (id int, v int)",
            "create table b (id int primary key)",
            "insert into r values (1, 1), (2, 2), (3, 3)",
            "insert into b values (3)",
        ),
        "select id, v from r where not exists (select from b where b.id = r.id)",
        ("insert into b values (1)",),
        sources=("r", "b"),
    ),
    "a boolean key": keyed("boolean", "true", "false"),
    "an inet key": keyed("inet", "'10.0.0.1'", "'10.0.0.0/8'"),
    "a numeric key": keyed("numeric", "1.0", "2.50"),
    "a char(n) key": keyed("char(8)", "'ab'", "'cd'"),
    "a float key": keyed("double precision", "0.1", "'-0'"),
    "a timestamptz key": keyed("timestamptz", "'2026-02-03 04:05:06+07'", "'infinity'"),
    "a bytea key": keyed("bytea", r"'\x00ff'", "'a'"),
    "an interval key": keyed("interval", "'1 mon'", "'1 day'", by=("sweep",)),
    "a jsonb key": keyed("jsonb", "'[1, 2]'", "'{}'", by=("sweep",)),
    "a text key of 5,000 characters": keyed(
        "text", "(select string_agg(md5(n::text), '') from generate_series(1, 157) n)", "'x'"
    ),
    "char(8) declared for a text key": Hazard(
        (
            "create table r (code char(8), v int)",
            "insert into r values ('ab', 1), ('cd', 2)",
        ),
        "select upper(code)::text as id, sum(v) as v from r group by 1",
        ("update r set v = 5 where code = 'ab'",),
        key_from={"r": "select upper(code) from changed"},
    ),
    "a relation that is not declared": Hazard(
        (*ROWS, "create table other (id int primary key, w int)", "insert into other values (1, 1), (2, 1), (3, 1)"),
        "select r.id, sum(r.v * o.w) as v from r join other o on o.id = r.id group by r.id",
        ("update other set w = 2 where id = 2",),
    ),
    "a view over another table": Hazard(
        (*ROWS, "create view seen as select id, v from r where v < 100"),
        "select id, sum(v) as v from seen group by id",
        ("update r set v = 50 where id = 2",),
        sources=("seen",),
    ),
    "a view that is replaced": Hazard(
        (*ROWS, "create view seen as select id, v from r"),
        "select id, sum(v) as v from seen group by id",
        ("create or replace view seen as select id, v + 1 as v from r",),
        sources=("seen",),
        by=("sweep",),
    ),
    "a materialized view": Hazard(
        (*ROWS, "create materialized view seen as select id, v from r"),
        "select id, sum(v) as v from seen group by id",
        ("update r set v = 50 where id = 2", "refresh materialized view seen"),
        sources=("seen",),
        by=("sweep",),
    ),
    "a function that is replaced": Hazard(
        (*ROWS, "create function f(int) returns int language sql immutable as 'select $1'"),
        "select id, sum(f(v)) as v from r group by id",
        ("create or replace function f(int) returns int language sql immutable as 'select $1 + 1'",),
        by=("sweep",),
    ),
    "a function that reads a table": Hazard(
        (
            *ROWS,
            "create table other (w int)",
            "insert into other values (1)",
            "create function f(int) returns int language plpgsql stable set search_path from current"
            " as 'begin return $1 * (select w from other); end'",
        ),
        "select id, sum(f(v)) as v from r group by id",
        ("update other set w = 2",),
        by=("sweep",),
    ),
    "a row in an inheriting table": Hazard(
        (*ROWS, "create table child () inherits (r)"),
        SUMS,
        ("insert into child (id, v) values (1, 9)",),
        by=("sweep",),
    ),
    "a table that begins to inherit": Hazard(
        (*ROWS, "create table child (like r)", "insert into child values (9, 1, 9)"),
        SUMS,
        ("alter table child inherit r",),
        by=("sweep",),
    ),
    "a column dropped and added with a default": Hazard(
        ROWS, SUMS, ("alter table r drop column v", "alter table r add column v int default 7"), by=("sweep",)
    ),
    "a column of the target dropped and added": Hazard(
        ROWS, SUMS, ("alter table kept drop column v", "alter table kept add column v bigint default 7"), by=("sweep",)
    ),
    "two columns that exchange their names": Hazard(
        (*ROWS, "alter table r add column w int default 5"),
        SUMS,
        (
            "alter table r rename column v to x",
            "alter table r rename column w to v",
            "alter table r rename column x to w",
        ),
        by=("sweep",),
    ),
    "an enum label that is renamed": Hazard(
        (
            "create type mood as enum ('good', 'bad')",
            "create table r (id int, m mood)",
            "insert into r values (1, 'good'), (2, 'bad')",
        ),
        "select id, m::text as m from r",
        ("alter type mood rename value 'good' to 'better'",),
        by=("sweep",),
    ),
    "an enum key that is renamed while it is dirty": Hazard(
        (
            "create type mood as enum ('good', 'bad')",
            "create table r (id mood, v int)",
            "insert into r values ('good', 1), ('bad', 2)",
        ),
        "select id, sum(v) as v from r group by id",
        ("update kept set v = 9 where id = 'good'", "alter type mood rename value 'good' to 'better'"),
    ),
    "a replica identity back and forth": Hazard(
        ROWS,
        SUMS,
        (
            "alter table r replica identity default",
            "update r set id = 4 where id = 1",
            "alter table r replica identity full",
        ),
    ),
    "unpublished and published again": Hazard(
        ROWS,
        SUMS,
        (
            "alter publication {slot} drop table r",
            "update r set v = 9 where id = 1",
            "alter publication {slot} add table only r",
        ),
        by=("sweep",),
    ),
    "a definition that reads the clock": Hazard(
        (*ROWS, "create table t (id int, at timestamptz)"),
        "select id, sum(v) as v from r where now() > '2020-01-01' group by id",
        ("update r set v = 9 where id = 1",),
        by=("auto",),  # nothing is compared
        proven=Verdict.UNVERIFIED,
        verdict=Verdict.UNVERIFIED,
    ),
    "a literal that Postgres replaces by the time": Hazard(
        ROWS,
        "select id, sum(v) as v from r where '2020-01-01' < 'today'::date group by id",
        ("update r set v = 9 where id = 1",),
        by=("auto",),  # nothing is compared
        proven=Verdict.UNVERIFIED,
        verdict=Verdict.UNVERIFIED,
    ),
    "a scalar subquery": Hazard(
        (*ROWS, "create table other (w int)", "insert into other values (1)"),
        "select id, sum(v) * (select max(w) from other) as v from r group by id",
        ("update other set w = 2",),
        sources=("r", "other"),
        by=("sweep",),
    ),
    "a window over every row": Hazard(
        ROWS, "select id, v, rank() over (order by v) as place from r", ("update r set v = 9 where id = 1",)
    ),
    "a union with a constant key": Hazard(
        ROWS, f"{SUMS} union all select 77, sum(v) from r", ("update r set v = v + 1 where id = 2",)
    ),
    "the columns of a view that exchange their names": Hazard(
        (
            "create table r (n serial primary key, id int, v int, w int default 5)",
            "insert into r (id, v) values (1, 1), (2, 2)",
            "create view seen as select id, v, w from r",
        ),
        "select id, sum(v) as v from seen group by id",
        (
            "alter view seen rename column v to x",
            "alter view seen rename column w to v",
            "alter view seen rename column x to w",
        ),
        sources=("seen",),
        by=("sweep",),
    ),
    "a label of an array's enum that is renamed": Hazard(
        (
            "create type mood as enum ('good', 'bad')",
            "create table r (id int, m mood[])",
            "insert into r values (1, '{good}'), (2, '{bad}')",
        ),
        "select id, m::text as m from r",
        ("alter type mood rename value 'good' to 'better'",),
        by=("sweep",),
    ),
    "a label of a domain's enum that is renamed": Hazard(
        (
            "create type mood as enum ('good', 'bad')",
            "create domain feeling as mood",
            "create table r (id int, m feeling)",
            "insert into r values (1, 'good'), (2, 'bad')",
        ),
        "select id, m::text as m from r",
        ("alter type mood rename value 'good' to 'better'",),
        by=("sweep",),
    ),
    "an attribute of a composite that is renamed": Hazard(
        (
            "create type pair as (a int, b int)",
            "create table r (id int, p pair)",
            "insert into r values (1, '(1,2)'), (2, '(3,4)')",
        ),
        "select id, to_json(p)::text as p from r",
        ("alter type pair rename attribute a to c",),
        by=("sweep",),
    ),
    "a function that fits better than the server's": Hazard(
        (
            "create table r (id int, v varchar(9))",
            "insert into r values (1, 'A'), (2, 'B')",
        ),
        "select id, lower(v)::text as v from r",
        ("create function public.lower(varchar) returns text language sql immutable as $$ select 'x' $$",),
        by=("sweep",),
    ),
    "a table name in a row that is renamed": Hazard(
        (
            "create table public.named (w int)",
            "create table r (id int, t regclass)",
            "insert into r select n, 'public.named'::regclass from generate_series(1, 2) n",
        ),
        "select id, t::text as v from r",
        ("alter table public.named rename to renamed",),
        by=("sweep",),
    ),
    "a text search configuration that is changed": Hazard(
        (
            "create table r (id int, v text)",
            "insert into r values (1, 'stones'), (2, 'rivers')",
            "create text search configuration public.words (copy = english)",
        ),
        "select id, to_tsvector('public.words', v)::text as v from r",
        ("alter text search configuration public.words alter mapping for asciiword with simple",),
        by=("sweep",),
    ),
    "two empty sides": Hazard(
        ("create table r (n serial primary key, id int, v int)",),
        SUMS,
        (),
        proven=Verdict.UNVERIFIED,
        verdict=Verdict.UNVERIFIED,
        by=("sweep",),
    ),
    "both sides emptied": Hazard(
        ROWS, SUMS, ("delete from r", "delete from kept"), verdict=Verdict.UNVERIFIED, by=("sweep",)
    ),
    "both sides emptied while a key had drifted": Hazard(
        ROWS,
        SUMS,
        ("insert into r (id, v) values (4, 4)", "delete from kept", "delete from r"),
        verdict=Verdict.UNVERIFIED,
        by=("sweep",),
    ),
    "both sides emptied, which is allowed": Hazard(
        ROWS, SUMS, ("delete from r", "delete from kept"), verdict=Verdict.LEVEL, allow_empty=True
    ),
    "both sides emptied but for a NULL key": Hazard(
        (*ROWS, "insert into r (id, v) values (null, 4)"),
        SUMS,
        ("delete from r where id > 0", "delete from kept where id > 0"),
        verdict=Verdict.LEVEL,
        by=("capture",),
    ),
}


@dataclass
class World:
    database: Database
    project: Project
    names: dict[str, str]  # hazard -> model
    proven: dict[str, TableReport]
    found: dict[str, TableReport]
    again: dict[str, TableReport]
    swept: dict[str, TableReport]


def schema_of(number: int) -> str:
    return f"h{number}"


def definition_of(number: int, hazard: Hazard) -> Definition:
    schema = schema_of(number)
    # dbt renders relations with their schema; the search path does the same for short texts here
    sql = hazard.sql
    for name in ("kept", "r", "b", "other", "seen"):
        sql = sql.replace(f"from {name} ", f"from {schema}.{name} ").replace(f"join {name} ", f"join {schema}.{name} ")
        sql = sql.replace(f"from {name})", f"from {schema}.{name})")
        if sql.endswith(f"from {name}"):
            sql = sql.removesuffix(name) + f"{schema}.{name}"
    sql = sql.replace("f(v)", f"{schema}.f(v)")
    # the audit would find nearly every hazard of so few rows: only the first model has one
    audit = {"audit_keys": 0} if number else {}
    found = model(f"kept_{number}", sql, hazard.key, key_from=hazard.key_from, allow_empty=hazard.allow_empty, **audit)
    sources = dict.fromkeys(f"{schema}.{name}" for name in hazard.sources)
    return replace(found, relation_name=f"{schema}.kept", sources=sources)


def run_in(database: Database, schema: str, statements: tuple[str, ...]) -> None:
    with psycopg.connect(database.conninfo, autocommit=True) as connection:
        connection.execute(f"set search_path = {schema}, public")
        for statement in statements:
            connection.execute(statement)


def checked(project: Project, request: CheckRequest) -> dict[str, TableReport]:
    return {table.name: table for table in check_tables(project, asked=request)}


@pytest.fixture(scope="module")
def world(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    database = Database("capture_hazards", str(server.socket))
    with psycopg.connect(server.conninfo, dbname="postgres", autocommit=True) as connection:
        connection.execute(f"create database {database.name}")
    definitions = []
    for number, hazard in enumerate(HAZARDS.values()):
        schema = schema_of(number)
        definition = definition_of(number, hazard)
        definitions.append(definition)
        database.run(f"create schema {schema}")
        full = tuple(f"alter table {name} replica identity full" for name in ("r", "b", "other", "child", "kept"))
        fill = f"create table kept as {definition.sql}"
        run_in(database, schema, (*hazard.tables, fill))
        for statement in full:
            try:
                run_in(database, schema, (statement,))
            except psycopg.errors.UndefinedTable:
                continue
    project = Project(postgres(database), tuple(definitions), tmp_path_factory.mktemp("hazards"), "shop")
    names = {name: f"kept_{number}" for number, name in enumerate(HAZARDS)}
    try:
        slot = next(f.said.split()[0] for f in setup(project) if f.about == "slot")
        proven = checked(project, AUTO)
        for number, hazard in enumerate(HAZARDS.values()):
            run_in(database, schema_of(number), tuple(s.replace("{slot}", slot) for s in hazard.change))
        found, again, swept = checked(project, AUTO), checked(project, AUTO), checked(project, SWEEP)
        yield World(database, project, names, proven, found, again, swept)
    finally:
        list(teardown(project))
        with psycopg.connect(server.conninfo, dbname="postgres", autocommit=True) as connection:
            connection.execute(f"drop database {database.name} with (force)")


@pytest.mark.parametrize("name", HAZARDS)
def test_auto_and_sweep_agree_after_a_hazard(world: World, name: str) -> None:
    hazard, table = HAZARDS[name], world.names[name]
    proven, found, again, swept = (w[table] for w in (world.proven, world.found, world.again, world.swept))
    assert proven.verdict is hazard.proven, proven.error
    assert swept.verdict is hazard.verdict, swept.error
    assert (found.verdict, found.drift) == (swept.verdict, swept.drift), (found.scope.reason, found.error)
    assert (again.verdict, again.drift) == (swept.verdict, swept.drift), (again.scope.reason, again.error)
    assert found.scope.mode in hazard.by, found.scope.reason
    if hazard.by == ("capture",):
        assert proven.scope.reason.endswith("from now on its changes are captured"), proven.scope.reason


def test_an_operator_or_cast_that_fits_better_ends_every_proof(database: Database, tmp_path: Path) -> None:
    sql = "select id, (sum(v) + count(*)::int)::text::numeric as v from public.raw group by id"
    with captured(database, tmp_path, sums(sql=sql, audit_keys=0)) as bench:
        bench.run(
            "truncate kept",
            f"insert into kept {sql}",
            "create function plus(numeric, int) returns numeric language sql immutable as 'select 0.0'",
            "create function zero(numeric) returns text language sql immutable as $$ select '0' $$",
        )
        for create, drop in (
            ("operator + (function = plus, leftarg = numeric, rightarg = int)", "operator + (numeric, int)"),
            ("cast (numeric as text) with function zero(numeric)", "cast (numeric as text)"),
        ):
            bench.prove()
            bench.run(f"create {create}")
            found = bench.check()
            assert (found.verdict, found.scope.mode, found.drift.changed) == (Verdict.DRIFT, "sweep", 3)
            bench.run(f"drop {drop}")


def test_doctor_reports_the_audit_and_no_refused_writer(world: World) -> None:
    engine = open_engine(world.project.connection)
    findings = list(capture_findings(engine, world.project))
    engine.close()
    assert not [finding.said for finding in findings if finding.level is Level.TROUBLE]
    assert any("random keys audited since" in finding.said for finding in findings)
