"""Names that a project brings never reach SQL unquoted: columns, keys and tables named as an attacker would."""

from __future__ import annotations

import random
from pathlib import Path

import duckdb
import pytest

from reconcile.dbt.project import Options, Project
from reconcile.definition.model import Definition, ModelSettings
from reconcile.engines.factory import Connection
from reconcile.report.model import Verdict
from reconcile.table_diff.run import DiffRequest, diff
from tests.support.bench import Bench

# what ends a literal, a name, a statement or a comment, what drivers and formatters take for a place, and letters
PIECES = [
    '"',
    "'",
    ";",
    "--",
    "/*",
    "*/",
    "$$",
    "$1",
    "%s",
    "%(x)s",
    "{0}",
    "{{ x }}",
    "\\",
    ".",
    " ",
    "?",
    ":x",
    "ß",
    "名",
]
WORDS = ["drop table bystander", "select", "id", "Ä", "x", "or 1=1"]


def a_name(draws: random.Random, without: str = "") -> str:
    text = "".join(draws.choice(PIECES + WORDS) for _ in range(draws.randint(1, 6)))
    return "".join(letter for letter in text if letter not in without)[:40].strip() or "x"


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@pytest.mark.parametrize("seed", range(4))
def test_hostile_names_are_compared_and_repaired_like_any_other(connection: Connection, seed: int) -> None:
    draws = random.Random(seed)
    for turn in range(4):
        # dbt itself puts no second quote into the name of a relation, so that one cannot hold any
        table = f"t{turn} " + a_name(draws, without='"')
        key, value = f"k {a_name(draws)}", f"v {a_name(draws)}"
        columns = f"{quoted(key)} integer, {quoted(value)} varchar"
        definition = Definition(
            unique_id=f"model.shop.{table}",
            name=table,
            relation_name=quoted(table),
            key=(key,),
            sql=f"select * from truth{turn}",
            contract={},
            settings=ModelSettings(),
            path="models/odd.sql",
        )
        bench = Bench(Project(connection, (definition,), Path(".")))
        bench.run(
            "create table if not exists bystander (id integer)",
            f"create table truth{turn} ({columns})",
            f"create table {quoted(table)} ({columns})",
            f"insert into truth{turn} values (1, 'a'), (2, 'b'), (3, 'c')",
            f"insert into {quoted(table)} values (1, 'a'), (2, 'x'), (4, 'd')",
        )
        verdict, drift = bench.verdict()
        assert (verdict, drift.missing, drift.changed, drift.extra) == (Verdict.DRIFT, 1, 1, 1), (table, key, value)
        done = bench.repair()
        assert (done.inserted, done.updated, done.deleted) == (1, 1, 1), (table, key, value)
        assert bench.verdict()[0] is Verdict.LEVEL
        assert bench.rows("select * from bystander") == []


@pytest.mark.parametrize("seed", range(4))
def test_hostile_names_of_a_file_are_compared_like_any_other(seed: int, tmp_path: Path) -> None:
    draws = random.Random(100 + seed)
    for turn in range(4):
        # a comma parts two keys, an = a name from its other one
        key, value = f"k {a_name(draws, without=',=')}", f"v {a_name(draws, without=',=')}"
        paths = [tmp_path / f"{side}{turn} {a_name(draws, without='/')}.parquet" for side in ("left", "right")]
        for path, rows in zip(paths, ("(1, 'a'), (2, 'b'), (3, 'c')", "(1, 'a'), (2, 'x'), (4, 'd')"), strict=True):
            columns = f"{quoted(key)}, {quoted(value)}"
            duckdb.sql(f"select * from (values {rows}) as told({columns})").write_parquet(str(path))
        found = diff(DiffRequest(*map(str, paths), (key,)), Options()).tables[0]
        drift = found.drift
        assert (found.verdict, drift.missing, drift.changed, drift.extra) == (Verdict.DRIFT, 1, 1, 1), (paths, key)
