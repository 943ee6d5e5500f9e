"""The embedded warehouse: made once, found again, private, and never left half-made."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from extract.staging.pipeline import make_pipeline
from orchestrate.errors import Trouble
from orchestrate.servers import postgres as warehouse
from orchestrate.targets import Target, choose


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    clean(tmp_path)


def clean(project: Path) -> None:
    server = warehouse.locate(project)
    warehouse.stop(project)
    shutil.rmtree(server.home, ignore_errors=True)


def one(server: warehouse.Server, query: str) -> object:
    with psycopg.connect(server.conninfo) as connection:
        row = connection.execute(query).fetchone()
        assert row is not None
        return row[0]


def test_it_starts_once_stays_up_and_keeps_its_data(project: Path) -> None:
    server = warehouse.start(project)
    with psycopg.connect(server.conninfo) as connection:
        connection.execute("create table kept as select 1 as one")
    assert warehouse.start(project) == server
    assert warehouse.stop(project)
    assert not warehouse.is_running(server)
    assert not warehouse.stop(project)

    warehouse.start(project)
    assert one(server, "select one from kept") == 1


def test_it_is_ready_for_change_capture_and_bounds_what_a_slot_may_keep(project: Path) -> None:
    server = warehouse.start(project)

    assert one(server, "show wal_level") == "logical"
    assert one(server, "show max_slot_wal_keep_size") == "2GB"
    assert one(server, "show timezone") == "UTC"
    assert str(one(server, "show server_version")).startswith("18")


def test_no_other_user_can_reach_it(project: Path) -> None:
    server = warehouse.start(project)

    assert one(server, "show listen_addresses") == ""
    assert stat.S_IMODE(server.run.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.data.stat().st_mode) == 0o700


def test_several_commands_at_once_start_one_server(project: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        servers = list(pool.map(lambda _: warehouse.start(project), range(4)))

    assert len(set(servers)) == 1
    assert one(servers[0], "select count(*) from pg_database where datname = 'levelset'") == 1


def test_a_cluster_that_was_left_half_made_is_made_again(project: Path) -> None:
    server = warehouse.start(project)
    warehouse.stop(project)
    shutil.rmtree(server.data)
    server.data.mkdir()
    (server.data / "postgresql.conf").write_text("half")
    (server.home / "data.new").mkdir()

    assert one(warehouse.start(project), "select 1") == 1


def test_another_versions_cluster_is_left_alone(project: Path) -> None:
    server = warehouse.start(project)
    warehouse.stop(project)
    (server.data / "PG_VERSION").write_text("14\n")

    with pytest.raises(Trouble, match="Postgres 14 cluster, but ours is 18"):
        warehouse.start(project)
    assert (server.data / "PG_VERSION").read_text() == "14\n"


def test_a_crash_leaves_a_server_that_starts_again(project: Path) -> None:
    server = warehouse.start(project)
    postmaster = int((server.data / "postmaster.pid").read_text().splitlines()[0])
    os.kill(postmaster, 9)
    while Path(f"/proc/{postmaster}").exists() and "zombie" not in Path(f"/proc/{postmaster}/status").read_text():
        pass

    assert one(warehouse.start(project), "select 1") == 1


def test_a_server_that_went_with_its_machine_is_none_that_runs(project: Path) -> None:
    server = warehouse.start(project)
    lock = server.data / "postmaster.pid"
    left = lock.read_text().split("\n", 1)[1]
    warehouse.stop(project)
    lock.write_text(f"4194303\n{left}")  # no process has that number

    assert warehouse.stop(project) is False
    assert one(warehouse.start(project), "select 1") == 1


def test_a_folder_that_was_deleted_and_created_again_starts_new(tmp_path: Path) -> None:
    project = tmp_path / "clone"
    project.mkdir()
    try:
        server = warehouse.start(project)
        with psycopg.connect(server.conninfo) as connection:
            connection.execute("create table of_the_old_clone as select 1")
        if server.home == project / ".levelset":
            warehouse.stop(project)  # with its data inside the folder, they go with it
        shutil.rmtree(project)
        project.mkdir()
        again = warehouse.start(project)
        assert one(again, "select to_regclass('of_the_old_clone') is null") is True
        if again.home != project / ".levelset":
            [aside] = again.home.parent.glob(f"{again.home.name}.left-*")
            assert (aside / "data" / "PG_VERSION").exists()
            shutil.rmtree(aside)
    finally:
        clean(project)


def test_a_path_too_long_for_a_socket_is_shown_with_the_line_to_export(tmp_path: Path) -> None:
    project = tmp_path / ("long" * 30)
    project.mkdir()
    try:
        server = warehouse.start(project)
        assert one(server, "select 1") == 1
        assert server.export_line == f"export PGHOST={server.socket}"
    finally:
        clean(project)


@pytest.mark.parametrize(("private", "name"), [(True, "it's mine"), (False, "it's mine"), (False, "mine, ünï")])
def test_a_path_with_spaces_quotes_or_commas_is_reached_by_every_tool(private: bool, name: str) -> None:
    above = Path(tempfile.mkdtemp())  # short: a socket's path has a limit
    above.chmod(0o700 if private else 0o755)
    project = above / name
    project.mkdir()
    try:
        server = warehouse.start(project)
        assert one(server, "select 1") == 1
        assert (server.export_line is None) == ("," not in name)
        pipeline = make_pipeline(Target("embedded", project).destination(), project / "pipelines")
        pipeline.run([{"a": 1}], table_name="t")
        assert one(server, "select a from staging.t") == 1
    finally:
        clean(project)
        shutil.rmtree(above)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")
def test_as_root_it_runs_as_another_user_even_in_a_private_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    project = tmp_path_factory.mktemp("p") / "private"  # short: a socket's path may have 107 bytes
    project.mkdir(mode=0o700)
    try:
        server = warehouse.start(project)
        postmaster = (server.data / "postmaster.pid").read_text().splitlines()[0]
        owner = subprocess.run(["ps", "-o", "user=", "-p", postmaster], capture_output=True, text=True, check=True)
        assert owner.stdout.strip() == "levelset"
        assert stat.S_IMODE(project.stat().st_mode) == 0o700  # no folder's permissions were widened
        assert server.socket == project / ".levelset" / "run"
        assert server.export_line is None
    finally:
        clean(project)


def test_a_file_where_the_folder_should_be_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / ".levelset").write_text("in the way")
    with pytest.raises(Trouble, match="cannot write"):
        warehouse.start(tmp_path)


def test_an_unknown_target_is_a_sentence_with_the_ones_there_are(tmp_path: Path) -> None:
    with pytest.raises(Trouble, match=r"no target 'prod' in profiles\.yml: one of embedded, postgres, duckdb"):
        choose(tmp_path, "prod")


def test_a_targets_url_never_holds_the_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "db.internal")
    monkeypatch.setenv("PGPASSWORD", "canary")

    assert "canary" not in Target("postgres", tmp_path).url
    assert "canary" in Target("postgres", tmp_path).dlt_credentials()
