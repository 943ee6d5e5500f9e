"""Real parts for every test: one embedded Postgres per run, a separate database per test, a real Chromium."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import psycopg
import pytest

from extract.sources.chromium import Chromium, find_chromium
from orchestrate.servers import postgres as warehouse
from tests.support.forkserver import ForkServer
from tests.support.lake import Lake, a_lake, a_server, is_installed

if TYPE_CHECKING:
    from tests.support.dbt_projects import Templates

ROOT = Path(__file__).resolve().parent.parent
ENGINES = ("postgres", "duckdb", "sail")

# what a developer's shell may hold must not reach the tests
for _name in ("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE", "DBT_TARGET", "DLT_DATA_DIR", "NO_COLOR"):
    os.environ.pop(_name, None)

# a shell that forbids bytecode files makes each process compile dbt and dlt anew: 11 CPU seconds instead of 4
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--engine", choices=ENGINES, help="run engine tests on this engine only")


def pytest_report_header() -> str:
    return "databases: Postgres 18 from the wheel (embedded, socket only), DuckDB " + duckdb.__version__


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest tests first: at the end no worker is alone with one of them. Without the extra there is no lake."""
    long = ("test_docs.py", "test_commands.py", "test_ci_files.py")
    items.sort(key=lambda item: item.path.name not in long)
    if not is_installed():
        items[:] = [item for item in items if item.get_closest_marker("scale") is None]


def pytest_itemcollected(item: pytest.Item) -> None:
    """Before xdist reads the groups."""
    group = _shared_world(item)
    if group is not None:
        item.add_marker(pytest.mark.xdist_group(group))


def _shared_world(item: pytest.Item) -> str | None:
    """A name for what a test shares with others and would be built again on another worker; None if nothing."""
    module = item.path.relative_to(ROOT / "tests").with_suffix("").as_posix()
    names = getattr(item, "fixturenames", ())
    if "templates" in names:
        engine = getattr(item, "callspec", None) and item.callspec.params.get("engine_kind")  # type: ignore[attr-defined]
        return f"{module.rpartition('/')[0]} {engine or 'postgres'}"
    find = item.session._fixturemanager.getfixturedefs
    local = any(fixture.scope == "module" for name in names for fixture in find(name, item) or ())
    return module if local else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "engine_kind" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--engine")
        engines = [chosen] if chosen else list(ENGINES)
        lake = metafunc.definition.get_closest_marker("lake")
        if lake is None or lake.args == (False,):  # the closest: a test's own comes before its module's
            engines = [engine for engine in engines if engine != "sail"]
        marks = {"sail": [pytest.mark.scale, *([pytest.mark.long] if lake is not None and lake.kwargs else [])]}
        metafunc.parametrize("engine_kind", [pytest.param(e, marks=marks.get(e, [])) for e in engines])


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[warehouse.Server]:
    """The run's Postgres, in a separate folder; stopped at the end."""
    project = tmp_path_factory.mktemp("pg")
    started = warehouse.start(project)
    with psycopg.connect(started.conninfo, dbname="postgres", autocommit=True) as connection:
        connection.execute("alter system set fsync = off")  # no test pulls the plug of the machine
        connection.execute("select pg_reload_conf()")
    yield started
    warehouse.stop(project)
    shutil.rmtree(started.home, ignore_errors=True)


@dataclass(frozen=True)
class Database:
    """An empty Postgres database for one test."""

    name: str
    host: str

    @property
    def conninfo(self) -> str:
        return psycopg.conninfo.make_conninfo(host=self.host, port=5432, user="postgres", dbname=self.name)

    @property
    def url(self) -> str:
        return f"postgresql://postgres@/{self.name}?host={self.host}&port=5432"

    def run(self, *statements: str) -> None:
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.conninfo) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture
def database(server: warehouse.Server) -> Iterator[Database]:
    with a_database(server, "test") as made:
        yield made


@pytest.fixture
def other(server: warehouse.Server) -> Iterator[Database]:
    """A second database of the same server: to us, another one."""
    with a_database(server, "other") as made:
        yield made


@pytest.fixture(scope="session")
def templates(server: warehouse.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Templates]:
    """Projects built once per worker; each test gets a copy."""
    from tests.support.dbt_projects import Templates

    made = Templates(server, tmp_path_factory.mktemp("templates"))
    yield made
    made.drop()


@contextmanager
def a_database(server: warehouse.Server, prefix: str) -> Iterator[Database]:
    name = f"{prefix}_{uuid.uuid4().hex[:10]}"
    with psycopg.connect(server.conninfo, dbname="postgres", autocommit=True) as connection:
        connection.execute(f"create database {name}")
    yield Database(name, str(server.socket))
    with psycopg.connect(server.conninfo, dbname="postgres", autocommit=True) as connection:
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture(scope="session")
def spark_connect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The run's Sail server."""
    with a_server(tmp_path_factory.mktemp("sail")) as address:
        yield address


@pytest.fixture
def lake(spark_connect: str, tmp_path: Path) -> Iterator[Lake]:
    with a_lake(spark_connect, tmp_path / "lake") as made:
        yield made


@pytest.fixture(scope="session")
def chromium() -> Chromium:
    found = find_chromium()
    assert found is not None, "no Chromium could be found or fetched: set LEVELSET_CHROMIUM"
    return found


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    return make_clone(tmp_path / "clone")


def make_clone(target: Path) -> Path:
    """The files that a fresh clone would have, in a separate folder."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if not name.startswith("tests/") and (ROOT / name).exists():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, target / name)
    return target


_fork_server = ForkServer()


@pytest.fixture(scope="session", autouse=True)
def _commands_end_with_the_run() -> Iterator[None]:
    yield
    _fork_server.stop()


def commands_for_a_shell(folder: Path) -> str:
    """A PATH on which our scripts, dbt and dlt are found; they run as ``command`` runs them."""
    shims = _fork_server.shims(folder, "levelset", "reconcile", "extract", "dbt", "dlt")
    return f"{shims}{os.pathsep}{os.environ['PATH']}"


def command(
    *arguments: str | Path, cwd: Path, timeout: float = 180, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a console script of ours (or dbt, dlt) as a user would: a separate process, its folder, no terminal."""
    environment = {**os.environ, "PWD": str(cwd), **variables}
    with tempfile.TemporaryDirectory() as scratch:
        return _fork_server.run(list(map(str, arguments)), cwd, environment, timeout, Path(scratch))
