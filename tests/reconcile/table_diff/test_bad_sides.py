"""Databases that a diff cannot read give one sentence; encodings other than UTF-8 are read."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from orchestrate.servers import postgres as warehouse
from reconcile.errors import ReconcileError
from reconcile.report.model import Drift, Verdict
from tests.conftest import Database, command
from tests.support.diffs import compared, duck, postgres

LOCK = "import duckdb, sys, time; c = duckdb.connect(sys.argv[1]); print('open', flush=True); time.sleep(60)"


@contextmanager
def encoded(server: warehouse.Server, encoding: str) -> Iterator[Database]:
    name = f"encoded_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(server.conninfo, dbname="postgres", autocommit=True) as connection:
        connection.execute(
            f"create database {name} encoding '{encoding}' lc_collate 'C' lc_ctype 'C' template template0"
        )
        try:
            yield Database(name, str(server.socket))
        finally:
            connection.execute(f"drop database {name} with (force)")


def test_latin1_database_is_read_as_utf8(server: warehouse.Server, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,v\n1,ü\n", encoding="utf-8")
    with encoded(server, "LATIN1") as database:
        database.run("create table t (id int, v text)", "insert into t values (1, chr(252))")
        database.run("create table s (id int, v text)", "insert into s values (1, chr(228))")
        assert compared(postgres(database, "t"), tmp_path / "t.csv").verdict is Verdict.LEVEL
        assert compared(postgres(database, "t"), postgres(database, "s")).drift == Drift(changed=1)


def test_bytes_that_are_not_utf8_give_one_sentence(server: warehouse.Server, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,v\n1,ü\n", encoding="utf-8")
    with encoded(server, "SQL_ASCII") as database:
        database.run("create table t (id int, v text)", "insert into t values (1, 'ok')", "create table s as table t")
        assert compared(postgres(database, "t"), postgres(database, "s")).verdict is Verdict.LEVEL
        database.run(r"update t set v = E'\xfc'", r"update s set v = E'\xe4'")
        for right in (postgres(database, "s"), tmp_path / "t.csv"):
            with pytest.raises(ReconcileError, match=r"(?i)utf-8|unicode|encod") as refused:
                compared(postgres(database, "t"), right)
            assert "\n" not in str(refused.value)


def test_locked_duckdb_file_gives_one_sentence(tmp_path: Path) -> None:
    path = duck(tmp_path / "d.duckdb", "create table t (id int)")
    (tmp_path / "t.csv").write_text("id\n1\n")
    holder = subprocess.Popen([sys.executable, "-c", LOCK, path], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "open\n"
    try:
        found = command(
            *("reconcile", "diff", f"duckdb:{path}#t", "t.csv", "--key", "id", "--output", "json"), cwd=tmp_path
        )
    finally:
        holder.kill()
        holder.wait()
    body = json.loads(found.stdout)
    assert (found.returncode, body["exit_code"]) == (2, 2)
    assert body["error"] == f"cannot open the DuckDB file {path}: another process has it open for writing"
    assert "Traceback" not in found.stderr


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.mkdir(), "is a folder, not a DuckDB file"),
        (lambda path: path.write_text("no database " * 500), "cannot open the DuckDB file"),
        (lambda path: duck(path, "create table t (id int)"), "there is no table nope in"),
    ],
    ids=["folder", "other file", "no table"],
)
def test_bad_duckdb_file_gives_one_sentence(make: object, said: str, tmp_path: Path) -> None:
    make(tmp_path / "d.duckdb")  # type: ignore[operator]
    (tmp_path / "t.csv").write_text("id\n1\n")
    with pytest.raises(ReconcileError, match=said) as refused:
        compared(f"duckdb:{tmp_path / 'd.duckdb'}#nope", tmp_path / "t.csv")
    assert "\n" not in str(refused.value)


def test_bad_file_on_the_command_line_exits_with_2_and_valid_json(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id,v\n1,"a\n')
    for arguments in (["a.csv", "a.csv"], ["a.csv", "none.csv"], ["a.csv", "a.csv", "--delimiter", "ab"]):
        found = command("reconcile", "diff", *arguments, "--key", "id", "--output", "json", cwd=tmp_path)
        assert (found.returncode, json.loads(found.stdout)["exit_code"]) == (2, 2)
        assert "Traceback" not in found.stderr
