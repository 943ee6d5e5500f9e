"""Random definitions, changes, DDL and open transactions: a capture check must say what a sweep says, after every step,
and a sweep must say what Python computes from the rows.

The seed of a failure is its parameter. ``-m soak`` runs the same for an hour (CAPTURE_SOAK_SECONDS).
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from reconcile.capture.setup import setup, teardown
from reconcile.dbt.project import Project
from reconcile.definition.model import Definition
from reconcile.model_check.judge_model import CheckRequest
from reconcile.model_check.run import check_tables
from reconcile.report.diagnosis import Level
from reconcile.report.model import Verdict
from tests.conftest import Database
from tests.support.bench import model, postgres
from tests.support.capture_bench import AUTO
from tests.support.capture_oracle import ORACLES, Source

SWEEP = CheckRequest("sweep")
SECONDS = 12.0  # per seed of the default run

# Types of the key columns, with an SQL expression that makes a value of a small number.
KEY_TYPES = {
    "int": "{n}",
    "bigint": "{n}",
    "text": "'k{n}'",
    "varchar(9)": "'k {n}'",
    "char(5)": "'c{n}'",
    "numeric": "{n}.50",
    "boolean": "({n} % 2 = 0)",
    "date": "date '2026-01-01' + {n}",
    "uuid": "md5('{n}')::uuid",
    "inet": "('10.0.0.' || {n})::inet",
    "timestamptz": "timestamptz '2026-01-01 00:00+00' + {n} * interval '1 hour'",
}
# {on}: equality of the key columns of r and b; {ids}: the key of r; {b_ids}: the key of b; {key}: its columns.
QUERIES = (
    "select {ids}, sum(r.v) as v from s.r group by {ids}",
    "select {ids}, sum(r.v) as v, max(b.w) as w from s.r join s.b on {on} group by {ids}",
    "select {ids}, sum(r.v) as v, max(b.w) as w from s.r left join s.b on {on} group by {ids}",
    "select {b_ids}, sum(r.v) as v, max(b.w) as w from s.r left join s.b on {on} group by {b_ids}",
    "select {ids}, count(*) as v from s.r full join s.b on {on} group by {ids}",
    "select {ids}, sum(r.v) as v from s.r where not exists (select from s.b where {on}) group by {ids}",
    "select {ids}, sum(r.v) as v from s.r where exists (select from s.b where {on} and b.w > 1) group by {ids}",
    "select {key}, sum(x) as v from (select {key}, v as x from s.r union all select {key}, w from s.b) as u"
    " group by {key}",
    "select distinct on ({ids}) {ids}, r.v from s.r order by {ids}, r.v desc, r.n",
    "select {key}, v from ("
    "select {ids}, r.v, row_number() over (partition by {ids} order by r.v, r.n) as i from s.r) as w where i = 1",
    "select {ids}, sum(r.v) * (select coalesce(max(w), 1) from s.b) as v from s.r group by {ids}",
    "with recent as (select * from s.r where v > 0) select {ids}, sum(r.v) as v from recent as r group by {ids}",
    "select {ids}, sum(r.v) as v from s.r where r.v > 1 group by {ids} having count(*) < 5",
    "select {ids}, sum(r.v) as v from s.seen as r group by {ids}",
)
CHANGES = (
    "insert into s.r ({key}, v) values ({values}, {v})",
    "update s.r set v = {v} where n % 5 = {v} % 5",
    "update s.r set ({key}) = row({values}) where n % 7 = {v} % 7",
    "delete from s.r where n % 6 = {v} % 6",
    "insert into s.b ({key}, w) values ({values}, {v})",
    "update s.b set w = {v} where m % 4 = {v} % 4",
    "update s.b set ({key}) = row({values}) where m % 5 = {v} % 5",
    "delete from s.b where m % 5 = {v} % 5",
    "update s.kept set v = {v} where ctid = (select min(ctid) from s.kept)",
    "delete from s.kept where ctid = (select max(ctid) from s.kept)",
    "delete from s.kept; insert into s.kept {definition}",
    "savepoint a; update s.r set v = 0; rollback to savepoint a; update s.r set v = {v} where n % 3 = 0",
)
DDL = (
    "truncate s.b",
    "alter table s.r replica identity default; update s.r set v = {v}; alter table s.r replica identity full",
    "alter table s.b drop column w; alter table s.b add column w int default {v}",
    "alter table s.r rename column v to v_; alter table s.r rename column spare to v;"
    " alter table s.r rename column v_ to spare",
    "create or replace view s.seen as select * from s.r where v <> {v}",
    "alter publication {slot} drop table s.b; update s.b set w = {v}; alter publication {slot} add table only s.b",
    "alter publication {slot} set (publish = 'insert'); update s.b set w = {v};"
    " alter publication {slot} set (publish = 'insert, update, delete, truncate')",
    "create table s.kept_ as select * from s.kept; drop table s.kept; alter table s.kept_ rename to kept;"
    " alter table s.kept replica identity full",
    "create table s.child () inherits (s.r); insert into s.child ({key}, v) values ({values}, {v})",
    "alter table s.r alter column v type numeric using v * 2",
)


def make(chance: random.Random, database: Database, root: Path) -> tuple[Project, dict[str, str]]:
    """Two sources, a view, and a model on them with a random key and definition."""
    parts = {f"k{i}": chance.choice(list(KEY_TYPES)) for i in range(chance.choice((1, 1, 2, 3)))}
    names = {
        "key": ", ".join(parts),
        "ids": ", ".join(f"r.{name}" for name in parts),
        "b_ids": ", ".join(f"b.{name}" for name in parts),
        "on": " and ".join(f"b.{name} = r.{name}" for name in parts),
    }
    columns = ", ".join(f"{name} {kind}" for name, kind in parts.items())
    database.run(
        "create schema s",
        f"create table s.r (n serial primary key, {columns}, v numeric, spare numeric default 3)",
        f"create table s.b (m serial primary key, {columns}, w int)",
        "create view s.seen as select * from s.r where v < 90",
    )
    names["query"] = chance.choice(QUERIES)
    sql = names["query"].format(**names)
    values = [names | {"values": values_of(chance, parts), "v": str(n)} for n in range(12)]
    database.run(*(CHANGES[0].format(**each) for each in values))
    database.run(*(CHANGES[4].format(**each) for each in values[:6]))
    database.run(f"create table s.kept as {sql}")
    database.run(*(f"alter table s.{name} replica identity full" for name in ("r", "b", "kept")))
    found: Definition = replace(
        model("kept", sql, tuple(parts)), relation_name="s.kept", sources=dict.fromkeys(("s.r", "s.b", "s.seen"))
    )
    return Project(postgres(database), (found,), root, "stress"), {**names, "definition": sql}


def values_of(chance: random.Random, parts: dict[str, str]) -> str:
    numbers = [chance.randint(0, 5) for _ in parts]
    return ", ".join(
        "null" if chance.random() < 0.05 else KEY_TYPES[kind].format(n=n)
        for kind, n in zip(parts.values(), numbers, strict=True)
    )


def stress(seed: int, database: Database, root: Path, seconds: float) -> Counter[str]:
    """The scopes in which the steps were judged."""
    chance = random.Random(seed)
    project, names = make(chance, database, root)
    kinds = {f"k{i}": str(kind) for i, (kind,) in enumerate(key_kinds(database))}
    modes: Counter[str] = Counter()
    log = [names["definition"], str(kinds)]
    sessions = [psycopg.connect(database.conninfo) for _ in range(2)]
    try:
        findings = list(setup(project))
        assert not [finding.said for finding in findings if finding.level is Level.TROUBLE]
        slot = next(finding.said.split()[0] for finding in findings if finding.about == "slot")
        for session in sessions:
            session.execute("set lock_timeout = '60ms'")
            session.commit()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            step = chance.choice(CHANGES) if chance.random() < 0.9 else chance.choice(DDL)
            filled = step.format(**names, values=values_of(chance, kinds), v=chance.randint(0, 9), slot=slot)
            session = chance.choice(sessions)
            try:
                for statement in filled.split(";"):
                    session.execute(statement)
                log.append(filled)
            except psycopg.Error as error:
                session.rollback()
                log.append(f"{filled} -- {type(error).__name__}")
            if step in DDL:
                for each in sessions:
                    each.commit()
            else:
                end = chance.choice(("commit", "commit", "rollback", "open"))
                log.append(end)
                if end != "open":
                    getattr(session, end)()
            if chance.random() < 0.6:
                found, swept = (check_tables(project, asked=request)[0] for request in (AUTO, SWEEP))
                modes[found.scope.mode] += 1
                story = "\n".join([f"seed {seed}", *log, found.scope.reason, str(found.error), str(swept.error)])
                assert (found.verdict, found.drift) == (swept.verdict, swept.drift), story
                if swept.verdict in (Verdict.LEVEL, Verdict.DRIFT) and not swept.drift.schema:
                    assert (swept.verdict is Verdict.LEVEL) == is_level(database, names), story
    finally:
        for session in sessions:
            session.close()
        list(teardown(project))
        database.run("drop schema s cascade")
    return modes


def is_level(database: Database, names: dict[str, str]) -> bool:
    """Whether the table holds the rows that Python computes from the sources."""

    def rows(table: str, value: str, number: str) -> Source:
        parts = len(names["key"].split(", "))
        found = database.rows(f"select {names['key']}, {value}, {number} from s.{table}")
        return [(row[:parts], row[parts], int(str(row[parts + 1]))) for row in found]

    expected = ORACLES[QUERIES.index(names["query"])](rows("r", "v", "n"), rows("b", "w", "m"), rows("seen", "v", "n"))
    values = "v, w" if "max(b.w) as w" in names["query"] else "v"
    return Counter(expected) == Counter(database.rows(f"select {names['key']}, {values} from s.kept"))


def key_kinds(database: Database) -> list[tuple[object, ...]]:
    return database.rows(
        "select case format_type(atttypid, atttypmod) when 'integer' then 'int'"
        " when 'character varying(9)' then 'varchar(9)' when 'character(5)' then 'char(5)'"
        " when 'timestamp with time zone' then 'timestamptz' else format_type(atttypid, atttypmod) end"
        " from pg_attribute where attrelid = 's.r'::regclass and attname ~ '^k' order by attnum"
    )


@pytest.mark.parametrize("seed", range(4))
def test_capture_says_what_a_sweep_says_after_random_steps(database: Database, tmp_path: Path, seed: int) -> None:
    assert stress(int(os.environ.get("CAPTURE_SEED", seed)), database, tmp_path, SECONDS)


@pytest.mark.soak
def test_capture_says_what_a_sweep_says_for_an_hour(database: Database, tmp_path: Path) -> None:
    end = time.monotonic() + float(os.environ.get("CAPTURE_SOAK_SECONDS", "3600"))
    seed, modes = int(os.environ.get("CAPTURE_SEED", "100")), Counter[str]()
    while time.monotonic() < end:
        seed += 1
        modes += stress(seed, database, tmp_path, 20)
    assert modes["capture"] > modes["sweep"] / 4
