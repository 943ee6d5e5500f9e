"""``reconcile doctor --fix`` writes the settings that let models be judged, and nothing else of a file changes."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import Database
from tests.support.dbt_projects import DbtProject, Templates

RECONCILE = Path(sys.executable).parent / "reconcile"
pytestmark = pytest.mark.long  # whole commands
MIXED = """
{{ config(materialized='incremental', unique_key='id') }}
select id, coalesce(changed, now()) as changed_at from {{ source('raw', 'visits') }}
"""
OWN = """version: 2

models:
  # what finance reads
  - name: declared   # since 2024
    description: "a text: with a colon"
    columns:
      - name: id

  - name: versioned
    latest_version: 2
    versions:
      - v: 1
      - v: 2  # the new one
"""
ROOT = """# the shop
name: shop
version: "1.0"
profile: shop
model-paths: [models]
flags: {send_anonymous_usage_stats: false}
"""
FILES = {
    "dbt_project.yml": ROOT,
    "packages.yml": "packages: [{local: visits_package}]\n",
    "visits_package/dbt_project.yml": "name: visits_package\nversion: '1.0'\nmodel-paths: [models]\n",
    "visits_package/models/marts/packaged.sql": MIXED.replace("{{ source('raw', 'visits') }}", "raw.visits"),
    "models/sources.yml": "sources: [{name: raw, schema: raw, tables: [{name: visits}]}]\n",
    "models/marts/models.yml": OWN,
    "models/marts/declared.sql": MIXED,
    "models/marts/versioned_v1.sql": MIXED.replace(", coalesce(changed, now()) as changed_at", ""),
    "models/marts/versioned_v2.sql": MIXED,
    "models/logs/undeclared.sql": MIXED,
    "models/logs/without_key.sql": """
{{ config(materialized='incremental', indexes=[{'columns': ['id'], 'unique': true}]) }}
select id, changed from {{ source('raw', 'visits') }}
""",
    "models/logs/chance.sql": MIXED.replace("now()", "now() - random() * interval '1 day'").replace("id,", "id,")
    + "where random() < 2\n",
}


@pytest.fixture
def shop(templates: Templates, tmp_path: Path) -> Iterator[DbtProject]:
    with templates.copy(build_shop_to_fix, "postgres", tmp_path / "shop") as project:
        yield project


def build_shop_to_fix(folder: Path, database: Database | None) -> DbtProject:
    project = DbtProject(folder, database)
    project.write(FILES)
    project.profile("shop")
    project.run(
        "create schema raw",
        "create table raw.visits (id integer not null, changed timestamp with time zone)",
        "insert into raw.visits values (1, '2026-01-01'), (2, null)",
    )
    project.dbt("deps")
    project.dbt("build")
    project.run("alter table without_key alter id set not null")
    return project


def doctor(project: DbtProject, *arguments: str) -> subprocess.CompletedProcess[str]:
    words = [RECONCILE, "doctor", "--fix", "--profiles-dir", ".", *arguments]
    return subprocess.run(
        words, cwd=project.folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )


def files_of(project: DbtProject) -> dict[str, str]:
    return {str(p.relative_to(project.folder)): p.read_text() for p in project.folder.glob("[!dt]*/**/*.yml")} | {
        "dbt_project.yml": (project.folder / "dbt_project.yml").read_text()
    }


def added(before: str, after: str) -> list[str]:
    """The lines that ``after`` has more; all others are the same and in order."""
    lines = after.splitlines()
    for line in before.splitlines():
        assert line in lines
    rest, found = before.splitlines(), []
    for line in lines:
        if rest and line == rest[0]:
            rest.pop(0)
        else:
            found.append(line)
    assert not rest
    return found


def test_settings_are_written_and_the_models_are_judged(shop: DbtProject) -> None:
    before = files_of(shop)
    run = doctor(shop, "--yes", "--exclude", "chance")
    after = files_of(shop)
    setting = "config: {meta: {reconcile: {ignore: [changed_at]}}}"

    assert run.returncode == 0, run.stdout + run.stderr
    assert added(before["models/marts/models.yml"], after["models/marts/models.yml"]) == [
        f"    {setting}",
        f"        {setting}",
    ]
    assert yaml.safe_load(after["models/logs/_reconcile.yml"])["models"] == [
        {"name": "undeclared", "config": {"meta": {"reconcile": {"ignore": ["changed_at"]}}}},
        {"name": "without_key", "config": {"meta": {"reconcile": {"key": ["id"]}}}},
    ]
    assert added(before["dbt_project.yml"], after["dbt_project.yml"]) == [
        "models: {visits_package: {marts: {packaged: {+meta: {reconcile: {ignore: [changed_at]}}}}}}"
    ]
    assert "+++ b/models/marts/models.yml" in run.stdout
    for name in ("declared", "versioned.v2", "undeclared", "without_key", "packaged"):
        assert f"\n{name}: level\n" in run.stdout
    again = doctor(shop, "--yes", "--exclude", "chance")
    assert (again.returncode, "nothing to write" in again.stderr) == (0, True)


def test_without_a_terminal_nothing_is_written_unasked(shop: DbtProject) -> None:
    before = files_of(shop)
    run = doctor(shop)

    assert run.returncode == 2
    assert "+    config: {meta: {reconcile: {ignore: [changed_at]}}}" in run.stdout
    assert "pass --yes to write without asking" in run.stderr
    assert files_of(shop) == before


@pytest.mark.parametrize("answer", ["n", "y"])
def test_the_user_is_asked_at_a_terminal(shop: DbtProject, answer: str) -> None:
    before = files_of(shop)
    leader, follower = pty.openpty()
    words = [RECONCILE, "doctor", "--fix", "--profiles-dir", ".", "-s", "declared"]
    os.write(leader, f"{answer}\n".encode())
    run = subprocess.run(words, cwd=shop.folder, stdin=follower, capture_output=True, text=True, check=False)
    os.close(leader)
    os.close(follower)

    assert "Write models/marts/models.yml?" in run.stdout + run.stderr
    assert (run.returncode, files_of(shop) == before) == ((2, True) if answer == "n" else (0, False))


def test_a_read_only_file_is_left_and_the_line_is_printed(shop: DbtProject) -> None:
    (shop.folder / "models/marts/models.yml").chmod(0o444)
    before = files_of(shop)
    run = doctor(shop, "--yes", "-s", "declared")

    assert run.returncode == 2
    assert "declared: models/marts/models.yml cannot be edited, because it is read-only; write by hand: " in run.stdout
    assert "models: [{name: declared, config: {meta: {reconcile: {ignore: [changed_at]}}}}]" in run.stdout
    assert files_of(shop) == before


def test_settings_of_another_file_are_not_replaced(shop: DbtProject) -> None:
    path = shop.folder / "dbt_project.yml"
    path.write_text(ROOT + "models: {shop: {+meta: {reconcile: {tolerance: {id: 0.5}}}}}\n")
    run = doctor(shop, "--yes", "-s", "declared")

    assert run.returncode == 2
    assert "meta.reconcile of the model is set in another file and would be replaced whole" in run.stdout


def test_what_no_setting_settles_is_not_written(shop: DbtProject) -> None:
    run = doctor(shop, "--yes", "-s", "chance")

    assert (run.returncode, "nothing to write" in run.stderr) == (2, True)
    assert "it is never judged: " in run.stdout
