"""reconcile against its peers, as whole processes: time from start to exit, and the client's memory.

    uv run benchmarks/peers.py [--rows 100000 1000000 10000000] [--differ 0 200 1%] [--runs 3] [--only NAME ...]

Two tables of one database (and, for the cross-engine ways, the second one in another database of the same server) with
0, 200 and 1 % differences. The peers are installed beside us, each in a separate environment under ~/.cache/levelset
(the versions are below). Every way has to find what differs, or its cell says what it said. The ways take turns inside
one run: compare the ratios, not the seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
from check import COLUMNS, make

from orchestrate.servers import postgres as warehouse

HERE = Path(__file__).resolve().parent.parent
ENVIRONMENTS = {
    "reladiff": ["reladiff[postgresql]==0.6.0", "setuptools<80"],
    # its dbt integration is imported always, and needs a dbt of its time
    "datadiff": ["data-diff[postgresql]==0.11.1", "dbt-core<1.8", "pydantic<2", "setuptools<80"],
    "sqlmesh": ["sqlmesh[postgres]==0.236.4"],
    "datacompy": ["datacompy==1.1.0", "polars==1.44.2", "connectorx==0.4.6", "pyarrow"],
}
DATACOMPY = """
import sys, datacompy, polars
left, right = (polars.read_database_uri("select * from " + name, sys.argv[1]) for name in ("truth", "kept"))
found = datacompy.PolarsCompare(left, right, join_columns="id")
print("differ:", int((~found.intersect_rows.select("b_match").to_series()).sum()) if "b_match" in
      found.intersect_rows.columns else 0)
"""
LEVEL = re.compile(r"No differences|0 rows updated|differ: 0\b")


@dataclass(frozen=True)
class Way:
    """A command to time: ``found`` reads how many rows it said differ."""

    name: str
    command: list[str]
    found: str  # a regular expression with one group


@dataclass(frozen=True)
class Took:
    seconds: float
    megabytes: float
    found: int | None


def install(folder: Path) -> dict[str, Path]:
    """The environments' bin folders; what is there already is kept."""
    bins = {}
    for name, packages in ENVIRONMENTS.items():
        home = folder / name
        if not (home / "done").exists():
            subprocess.run(["uv", "venv", "-q", "--python", sys.executable, "--clear", str(home)], check=True)
            command = ["uv", "pip", "install", "-q", "--python", str(home / "bin" / "python"), *packages]
            subprocess.run(command, check=True, cwd=home)  # not here: our own pins would bind them
            (home / "done").touch()
        bins[name] = home / "bin"
    return bins


def ways(bins: dict[str, Path], server: warehouse.Server, project: Path) -> list[Way]:
    socket = quote(str(server.socket), safe="")
    peer, password = f"postgresql://postgres@{socket}/levelset", f"postgresql://postgres:x@{socket}/levelset"
    there = f"postgresql://postgres@{socket}/elsewhere"
    ours = [f"postgresql://postgres@/{name}?host={server.socket}" for name in ("levelset", "elsewhere")]
    columns = [part for name in COLUMNS for part in ("-c", name)]
    reconcile = [str(Path(sys.executable).parent / "reconcile"), "diff"]
    said = ["--key", "id", "-q", "--output", "json"]
    json_found = r'"totals": \{[^}]*"changed": (\d+)'
    bare = f"select count(*) from truth e full join kept a on e.id = a.id where {_differs()}"
    psql = [sys.executable, str(Path(__file__).resolve()), "--statement", server.conninfo]
    return [
        Way("bare join", [*psql, bare], r"(\d+)"),
        Way("bare merge join", [*psql, "set enable_hashjoin = off; " + bare], r"(\d+)"),
        Way("EXCEPT ALL", [*psql, _except_all()], r"(\d+)"),
        Way("reconcile", [*reconcile, f"{ours[0]}#truth", f"{ours[0]}#kept", *said], json_found),
        Way(
            "reladiff joindiff",
            [str(bins["reladiff"] / "reladiff"), peer, "truth", "kept", "-k", "id", *columns, "--stats"],
            r"(\d+) rows updated",
        ),
        Way(
            "data-diff joindiff",
            [str(bins["datadiff"] / "data-diff"), password, "truth", "kept", "-k", "id", *columns, "--stats"],
            r"(\d+) rows updated",
        ),
        Way(
            "SQLMesh table_diff",
            [
                str(bins["sqlmesh"] / "sqlmesh"),
                "-p",
                str(project),
                "table_diff",
                "public.truth:public.kept",
                "-o",
                "id",
            ],
            r"PARTIAL MATCH: (\d+) rows",
        ),
        Way("datacompy", [str(bins["datacompy"] / "python"), "-c", DATACOMPY, password], r"differ: (\d+)"),
        Way("reconcile, two databases", [*reconcile, f"{ours[0]}#truth", f"{ours[1]}#kept", *said], json_found),
        Way(
            "reladiff hashdiff",
            [str(bins["reladiff"] / "reladiff"), peer, "truth", there, "kept", "-k", "id", *columns, "--stats"],
            r"(\d+) rows updated",
        ),
    ]


def _differs() -> str:
    return " or ".join(["e.id is null", "a.id is null", *(f"e.{c} is distinct from a.{c}" for c in COLUMNS)])


def _except_all() -> str:
    one, other = ("select count(*) from (table {} except all table {}) x".format(*p) for p in _PAIRS)
    return f"select (({one}) + ({other})) / 2"


_PAIRS = (("truth", "kept"), ("kept", "truth"))


def timed(way: Way, timeout: float) -> Took | None:
    """One run; None where it took longer than ``timeout`` seconds."""
    with tempfile.TemporaryFile() as out:
        started = time.monotonic()
        process = subprocess.Popen(way.command, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
        while True:
            pid, _, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() - started > timeout:
                os.killpg(process.pid, 9)
                os.wait4(process.pid, 0)
                return None
            time.sleep(0.01)
        seconds = time.monotonic() - started
        out.seek(0)
        text = out.read().decode(errors="replace")
    match = re.search(way.found, text)
    found = int(match[1]) if match else 0 if LEVEL.search(text) or "100.00%" in text else None
    return Took(seconds, usage.ru_maxrss / 1024, found)


def cell(took: list[Took | None], wanted: int, timeout: float) -> str:
    done = [one for one in took if one is not None]
    if len(done) < len(took):
        return f"> {timeout:.0f} s"
    wrong = next((one for one in done if one.found != wanted), None)
    note = "" if wrong is None else f", said {wrong.found}"
    seconds = statistics.median(one.seconds for one in done)
    return f"{seconds:.2f} s, {max(one.megabytes for one in done):.0f} MB{note}"


def copy_elsewhere(server: warehouse.Server) -> None:
    """``kept`` in a second database of the server."""
    with psycopg.connect(server.conninfo, autocommit=True) as connection:
        connection.execute("drop database if exists elsewhere with (force)")
        connection.execute("create database elsewhere")
    target = server.conninfo.replace("dbname=levelset", "dbname=elsewhere")
    with psycopg.connect(server.conninfo) as source, psycopg.connect(target, autocommit=True) as there:
        there.execute("create table kept (id bigint primary key, a text, b bigint, c timestamp, d numeric(18, 6))")
        with source.cursor().copy("copy kept to stdout") as out, there.cursor().copy("copy kept from stdin") as into:
            for block in out:
                into.write(block)
        there.execute("vacuum analyze kept")


def statement(conninfo: str, sql: str) -> None:
    with psycopg.connect(conninfo) as connection:
        connection.execute("set jit = off")
        for part in sql.split("; "):
            cursor = connection.execute(part)
        row = cursor.fetchone()
        assert row is not None
        print(row[0])


def main() -> None:
    if sys.argv[1:2] == ["--statement"]:
        statement(*sys.argv[2:4])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--differ", nargs="+", default=["0", "200", "1%"], help="rows that differ, or a share of them")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--timeout", type=float, default=300)
    parser.add_argument("--only", nargs="+", help="only ways whose name holds one of these")
    given = parser.parse_args()
    bins = install(Path.home() / ".cache" / "levelset" / "peers")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "warehouse"
        home.mkdir()
        server = warehouse.start(home)
        project = Path(folder) / "sqlmesh"
        (project / "models").mkdir(parents=True)
        connection = {"type": "postgres", "host": str(server.socket), "port": 5432, "user": "postgres", "password": ""}
        config = {
            "gateways": {"pg": {"connection": {**connection, "database": "levelset"}}},
            "default_gateway": "pg",
            "model_defaults": {"dialect": "postgres"},
            "disable_anonymized_analytics": True,
        }
        (project / "config.yaml").write_text(json.dumps(config))
        (project / "models" / "one.sql").write_text("MODEL (name public.one); select 1 as one")
        chosen = [
            way for way in ways(bins, server, project) if not given.only or any(part in way.name for part in given.only)
        ]
        try:
            print(f"Whole processes, medians of {given.runs} in turns; the client's largest memory\n")
            print("| rows | differ | " + " | ".join(way.name for way in chosen) + " |")
            print("|---:|---:|" + "---|" * len(chosen), flush=True)
            for rows in given.rows:
                for differ in given.differ:
                    differences = rows * int(differ[:-1]) // 100 if differ.endswith("%") else int(differ)
                    make(server.conninfo, rows, differences)
                    copy_elsewhere(server)
                    took: dict[str, list[Took | None]] = {way.name: [] for way in chosen}
                    for _ in range(given.runs):
                        for way in chosen:
                            if None not in took[way.name]:
                                took[way.name].append(timed(way, given.timeout))
                    cells = [cell(took[way.name], differences, given.timeout) for way in chosen]
                    print(f"| {rows:,} | {differences:,} | " + " | ".join(cells) + " |", flush=True)
        finally:
            warehouse.stop(home)


if __name__ == "__main__":
    main()
