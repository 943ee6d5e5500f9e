"""State in the database: what one clone of a project did is known to every other one."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from reconcile.cli import cli
from reconcile.dbt.project import Options
from reconcile.model_check.doctor import examine
from reconcile.report.model import Verdict
from tests.conftest import Database, command
from tests.support.dbt_projects import DbtProject, Templates, judged, now, table
from tests.support.forkserver import close_dbts_duckdb

FILES = {
    "dbt_project.yml": "name: shop\nprofile: shop\nflags: {send_anonymous_usage_stats: false}\n",
    "models/sources.yml": "version: 2\nsources:\n  - name: raw\n    loaded_at_field: loaded_at\n"
    "    schema: raw\n    tables: [{name: orders}]\n",
    "models/totals.sql": """
{{ config(materialized='incremental', unique_key='id') }}
select id, amount from {{ source('raw', 'orders') }}
{% if is_incremental() %} where id > (select max(id) from {{ this }}) {% endif %}
""",
    # a model with the name of our table: the hook that records builds is no hook that writes to it
    "models/build.sql": "{{ config(materialized='table') }} select 1 as n",
    "models/failing.sql": "select * from {{ var('read', '(select 1 as n) as one') }}",
}


def build_shop(folder: Path, database: Database | None) -> DbtProject:
    """Three orders; nothing is built."""
    project = DbtProject(folder, database)
    project.write(FILES)
    project.profile("shop")
    project.run(
        "create schema raw",
        "create table raw.orders as select n as id, n * 10 as amount,"
        " timestamp with time zone '2026-01-01 00:00:00+00' as loaded_at from generate_series(1, 3) as s(n)",
    )
    return project


@pytest.fixture
def shop(templates: Templates, engine_kind: str, tmp_path: Path) -> Iterator[DbtProject]:
    with templates.copy(build_shop, engine_kind, tmp_path / "shop") as project:
        yield project


@pytest.fixture
def pg_shop(templates: Templates, tmp_path: Path) -> Iterator[DbtProject]:
    with templates.copy(build_shop, "postgres", tmp_path / "shop") as project:
        yield project


def another_clone(project: DbtProject, folder: Path) -> DbtProject:
    """The project's files in a fresh folder, without target/."""
    shutil.copytree(project.folder, folder, ignore=shutil.ignore_patterns("target", "logs", "*.duckdb"))
    return DbtProject(folder, project.database)


def reconcile(project: DbtProject, *arguments: str, code: int = 0) -> str:
    done = command("reconcile", *arguments, cwd=project.folder)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def check(project: DbtProject, code: int = 0) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(reconcile(project, "check", "-s", "totals", "--output", "json", code=code))
    return body["tables"][0]


def install(project: DbtProject) -> None:
    where = ["--project-dir", str(project.folder), "--profiles-dir", str(project.folder)]
    assert cli(["install", *where], standalone_mode=False) == 0


def builds(project: DbtProject) -> list[tuple[object, ...]]:
    return project.rows("select unique_id, target, relation from reconcile.build order by started_at, unique_id")


def test_two_clones_know_the_same_builds_proofs_and_runs(pg_shop: DbtProject, tmp_path: Path) -> None:
    """The recipe of docs/how-to/ci.md, from two machines."""
    reconcile(pg_shop, "install")
    assert command("dbt", "build", "--quiet", cwd=pg_shop.folder).returncode == 0
    assert check(pg_shop)["verdict"] == "level"
    pg_shop.run(f"insert into raw.orders values (4, 40, '{now()}')")
    other = another_clone(pg_shop, tmp_path / "other")

    pending = check(other)
    assert (pending["verdict"], pending["drift"]["pending"], pending["drift"]["missing"]) == ("level", 1, 0)
    listed = json.loads(reconcile(other, "history", "--output", "json"))
    assert len(listed) == 2
    shown = json.loads(reconcile(other, "show", listed[0]["run_id"], "--output", "json"))
    assert shown["tables"][0]["drift"]["pending"] == 0  # the first clone's run

    pg_shop.run(f"update raw.orders set amount = 11, loaded_at = '{now()}' where id = 1")
    assert command("dbt", "build", "--quiet", cwd=other.folder).returncode == 0
    for clone in (pg_shop, other, another_clone(pg_shop, tmp_path / "third")):
        found = check(clone, code=1)
        assert found["drift"]["changed"] == 1
        assert found["causes"] == {"corrected_upstream": 1}


def test_dbt_records_each_successful_build_of_a_model(shop: DbtProject) -> None:
    install(shop)
    options = Options(project_dir=shop.folder, profiles_dir=shop.folder)
    assert builds(shop) == []
    for arguments in (("parse",), ("compile",), ("docs", "generate"), ("test",), ("seed",)):
        shop.dbt(*arguments)
    assert builds(shop) == []

    shop.dbt("run", "-s", "totals")
    [(unique_id, target, relation)] = builds(shop)
    assert (unique_id, target) == ("model.shop.totals", "dev")
    assert relation == table(judged(shop, "totals"), "totals").relation
    with pytest.raises(AssertionError, match="not_there"):
        shop.dbt("build", "--vars", "{read: not_there}")
    assert "model.shop.failing" not in {row[0] for row in builds(shop)}
    shop.dbt("build")
    assert {row[0] for row in builds(shop)} == {"model.shop.totals", "model.shop.build", "model.shop.failing"}
    assert shop.rows(
        "select count(*) from reconcile.build where completed_at < started_at or invocation_id is null"
        " or abs(extract(epoch from now() - started_at)) > 600"
    ) == [(0,)]
    assert {finding.about: finding.said for finding in examine(options)}["state"].startswith(
        "build times, proofs and past runs are kept in schema reconcile of the database and in "
    )


def test_dbt_retry_records_what_it_builds(shop: DbtProject) -> None:
    install(shop)
    broken = shop.folder / "models" / "failing.sql"
    text = broken.read_text()
    broken.write_text("select * from not_there")
    with pytest.raises(AssertionError, match="not_there"):
        shop.dbt("run", "-s", "failing")
    broken.write_text(text)
    assert builds(shop) == []
    shop.dbt("retry")
    assert [row[0] for row in builds(shop)] == ["model.shop.failing"]


def test_the_hook_that_records_builds_makes_no_model_unverified(shop: DbtProject) -> None:
    shop.write({"models/build.sql": "{{ config(materialized='incremental', unique_key='n') }} select 1 as n"})
    install(shop)
    shop.dbt("build")
    assert {t.name: t.verdict for t in judged(shop).tables} == {"totals": Verdict.LEVEL, "build": Verdict.LEVEL}


def test_without_the_schema_the_hook_does_nothing(shop: DbtProject) -> None:
    install(shop)
    shop.run("drop schema reconcile cascade")
    shop.dbt("build")
    assert judged(shop, "totals").verdict is Verdict.LEVEL
    assert shop.rows("select 1 from information_schema.tables where table_schema = 'reconcile'") == []


def test_install_adds_its_hook_before_the_users_or_says_what_to_add(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hook = "{{ reconcile_record_build(results) }}"

    def installed(text: str) -> tuple[str, str]:
        (tmp_path / "dbt_project.yml").write_text(text)
        assert cli(["install", "--no-database", "--project-dir", str(tmp_path)], standalone_mode=False) == 0
        return (tmp_path / "dbt_project.yml").read_text(), capsys.readouterr().out

    for text, others in (
        ("name: p  # ours\n", []),
        ("name: p\non-run-end:\nmodels: {}\n", []),
        ("name: p\non-run-end: []\n", []),
        ("name: p\non-run-end:\n# theirs\n- select 1\n- select 2\nmodels: {}\n", ["select 1", "select 2"]),
        ("on-run-end:\n    - select 1\nname: p\n", ["select 1"]),
    ):
        after, said = installed(text)
        assert yaml.safe_load(after)["on-run-end"] == [hook, *others], after
        assert yaml.safe_load(after)["name"] == "p"
        assert "records builds now" in said
        assert installed(after)[0] == after  # once
    for text in ("name: p\non-run-end: select 1\n", "{name: p}\n", "name: p\non-run-end: [select 1]\n"):
        after, said = installed(text)
        assert after == text
        assert f'on-run-end:\n  - "{hook}"' in said


def test_old_state_in_the_database_is_deleted(shop: DbtProject) -> None:
    install(shop)
    shop.dbt("build")
    relation = table(judged(shop, "totals"), "totals").relation
    for days in (400, 100, 10):
        at = f"current_timestamp - interval '{days} days'"
        for name, last in (("model.shop.totals", relation), ("model.shop.gone", "gone")):
            shop.run(
                f"insert into reconcile.build values ('{name}', '{last}', 'dev', null, {at}, {at})",
                f"insert into reconcile.proof values ('{name}', '{last}', {at}, null, null, 'select 1', null)"
                if days > 50
                else "select 1",
            )
        shop.run(f"insert into reconcile.run_report values ('2020-{days}', 'shop', 'check', 'dev', {at}, '{{}}')")
    where = ["--project-dir", str(shop.folder), "--profiles-dir", str(shop.folder), "-q", "-s", "totals"]
    assert cli(["check", "--keep-days", "50", *where], standalone_mode=False) == 0

    assert shop.rows("select count(*) from reconcile.run_report where run_id like '2020-%'") == [(1,)]
    days = "round(extract(epoch from now() - {}) / 86400)"
    old = shop.rows(f"select {days.format('started_at')} from reconcile.build where unique_id = 'model.shop.gone'")
    assert [int(str(row[0]).split(".")[0]) for row in old] == [10]
    kept = shop.rows(f"select {days.format('proven_at')} from reconcile.proof where unique_id = 'model.shop.gone'")
    assert [int(str(row[0]).split(".")[0]) for row in kept] == [100]  # the newest of a table stays


def test_a_build_of_the_same_model_in_another_schema_is_not_its_own(pg_shop: DbtProject) -> None:
    install(pg_shop)
    pg_shop.dbt("build")
    pg_shop.run(f"insert into raw.orders values (4, 40, '{now()}')")
    profile = pg_shop.folder / "profiles.yml"
    profile.write_text(profile.read_text().replace("schema: public", "schema: elsewhere"))
    pg_shop.dbt("build")
    profile.write_text(profile.read_text().replace("schema: elsewhere", "schema: public"))
    shutil.rmtree(pg_shop.folder / "target")

    assert table(judged(pg_shop, "totals"), "totals").drift.pending == 1


def test_a_role_that_may_not_write_there_keeps_state_in_the_folder(pg_shop: DbtProject) -> None:
    install(pg_shop)
    pg_shop.dbt("build")
    pg_shop.run(
        "create role guest login",
        "grant usage on schema raw, public, reconcile to guest",
        "grant select on all tables in schema raw, public, reconcile to guest",
    )
    try:
        profile = pg_shop.folder / "profiles.yml"
        profile.write_text(profile.read_text().replace("user: postgres", "user: guest"))
        said = command("reconcile", "check", "-s", "totals", "--log-level", "info", cwd=pg_shop.folder)
        assert said.returncode == 0, said.stderr
        assert said.stderr.count("build times, proofs and reports are kept in ") == 1
        assert len(json.loads(reconcile(pg_shop, "history", "--output", "json"))) == 1
        pg_shop.run(f"insert into raw.orders values (4, 40, '{now()}')")
        assert check(pg_shop)["drift"]["pending"] == 1
        assert pg_shop.rows("select count(*) from reconcile.run_report") == [(0,)]
    finally:
        pg_shop.run("drop owned by guest", "drop role guest")


def test_a_build_does_not_fail_for_a_role_that_may_not_record_it(pg_shop: DbtProject) -> None:
    install(pg_shop)
    pg_shop.run("create role maker login", "grant all on schema public to maker")
    try:
        profile = pg_shop.folder / "profiles.yml"
        profile.write_text(profile.read_text().replace("user: postgres", "user: maker"))
        for grant in ("select 1", "grant usage on schema reconcile to maker"):
            pg_shop.run(grant)
            pg_shop.dbt("run", "-s", "build")
            assert builds(pg_shop) == []
        pg_shop.run("grant insert on reconcile.build to maker")
        pg_shop.dbt("run", "-s", "build")
        assert len(builds(pg_shop)) == 1
    finally:
        pg_shop.run("drop owned by maker cascade", "drop role maker")


def test_state_is_kept_in_the_folder_that_is_named(shop: DbtProject, tmp_path: Path) -> None:
    shop.dbt("build")
    where = ["--project-dir", str(shop.folder), "--profiles-dir", str(shop.folder), "-q", "-s", "totals"]
    assert cli(["check", "--state-dir", str(tmp_path / "state"), *where], standalone_mode=False) == 0

    assert {path.name for path in (tmp_path / "state").iterdir()} >= {"builds.json", "proven.json", "runs"}
    assert not (shop.folder / "target" / "reconcile" / "runs").exists()
    assert not (shop.folder / "target" / "reconcile" / "proven.json").exists()


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[DbtProject]:
    """A project on DuckDB that its user cannot write to; the warehouse is beside it."""
    project = build_shop(tmp_path / "shop", None)
    warehouse = tmp_path / "warehouse.duckdb"
    project.duckdb_file.rename(warehouse)
    profile = project.folder / "profiles.yml"
    profile.write_text(profile.read_text().replace(str(project.duckdb_file), str(warehouse)))
    project.dbt("build")
    close_dbts_duckdb()
    for folder in ("target", "logs"):
        shutil.rmtree(project.folder / folder, ignore_errors=True)
    for path in (*project.folder.rglob("*"), project.folder):
        path.chmod(0o555 if path.is_dir() else 0o444)
    yield project
    for path in (project.folder, *project.folder.rglob("*")):
        path.chmod(0o755)


def obey_modes() -> None:
    """Of a process that will be started by root: give up the right to write what is read-only (Linux capabilities)."""
    libc = ctypes.CDLL(None, use_errno=True)
    drop, dac_override, dac_read_search = 24, 1, 2  # <linux/prctl.h>, <linux/capability.h>
    for capability in (dac_override, dac_read_search):
        if libc.prctl(drop, capability, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


def as_a_guest(project: DbtProject, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command of a user that may not write to the project."""
    return subprocess.run(
        [Path(sys.executable).parent / "reconcile", *arguments],
        cwd=project.folder,
        env={**os.environ, "HOME": str(project.folder), "PWD": str(project.folder)},
        preexec_fn=obey_modes if os.geteuid() == 0 else None,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_read_only_project_is_checked_with_one_warning(read_only: DbtProject) -> None:
    before = {path.relative_to(read_only.folder) for path in read_only.folder.rglob("*")}
    found = as_a_guest(read_only, "check", "-s", "totals", "--output", "json", "--quiet")
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["tables"][0]["verdict"] == "level"
    assert found.stderr.count("cannot be written") == 1
    assert len(found.stderr.strip().splitlines()) == 1
    assert {path.relative_to(read_only.folder) for path in read_only.folder.rglob("*")} == before

    recorded = as_a_guest(read_only, "check", "-s", "totals", "--output", "json", "--quiet", "--record")
    assert (recorded.returncode, recorded.stderr) == (0, "")  # the database has it all
    listed = as_a_guest(read_only, "history", "--output", "json")
    assert len(json.loads(listed.stdout)) == 1, listed.stderr
