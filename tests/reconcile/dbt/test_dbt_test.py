"""The generic test ``reconciles`` in a project that is not ours: `dbt build` itself goes red."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from reconcile.cli import cli
from reconcile.dbt.project import invoke_dbt
from reconcile.report.model import Verdict
from tests.reconcile.dbt.test_project import build_shop
from tests.support.dbt_projects import DbtProject, Templates, judged, table

MODELS = ("orders_merged", "orders_appended", "customer_days", "orders_merged_days")


@pytest.fixture
def shop(templates: Templates, engine_kind: str, tmp_path: Path) -> Iterator[DbtProject]:
    """The shop, with the test on every incremental model but the one that calls now()."""
    with templates.copy(build_shop, engine_kind, tmp_path / "shop") as project:
        assert cli(["install", "--project-dir", str(project.folder)], standalone_mode=False) == 0
        tested = [{"name": name, "data_tests": [{"reconciles": {"name": f"reconciles_{name}"}}]} for name in MODELS]
        project.write({"models/tested.yml": yaml.safe_dump({"version": 2, "models": tested})})
        yield project


def failures(project: DbtProject) -> dict[str, int]:
    """How many rows each of the tests found, those that found none left out."""
    where = ["--project-dir", str(project.folder), "--profiles-dir", str(project.folder)]
    outcome = invoke_dbt(["test", "-s", "test_name:reconciles", *where, "--quiet", "--log-level", "none"])
    assert outcome.exception is None, outcome.exception
    hooks = [r for r in outcome.result.results if r.node.resource_type == "operation"]
    assert [str(r.status) for r in hooks] == ["success"]  # the one that records builds: it has nothing to record
    results = [r for r in outcome.result.results if r not in hooks]
    assert {str(r.status) for r in results} <= {"pass", "fail"}, [r.message for r in outcome.result]
    assert len(results) == len(MODELS)
    return {r.node.name.removeprefix("reconciles_"): r.failures for r in results if r.failures}


def test_it_passes_where_check_says_level_and_fails_where_check_says_drift(shop: DbtProject) -> None:
    """Views, tables, a composite key, a table without a key: each is seen through."""
    assert failures(shop) == {}

    report = judged(shop)
    merged, appended, days = (table(report, n).relation for n in ("orders_merged", "orders_appended", "customer_days"))
    shop.run(
        f"update {merged} set country_name = null where id = 3",
        f"insert into {appended} select * from {appended} where id = 7",
        f"delete from {days} where customer_id = 1 and day = (select min(day) from {days} where customer_id = 1)",
    )
    assert failures(shop) == {"orders_merged": 2, "orders_appended": 1, "customer_days": 1}
    assert {t.name for t in judged(shop).tables if t.verdict is Verdict.DRIFT} == {
        "orders_merged",
        "orders_appended",
        "customer_days",
    }


def test_what_meta_reconcile_ignores_is_ignored(shop: DbtProject) -> None:
    merged = table(judged(shop), "orders_merged").relation
    shop.run(f"update {merged} set country_name = 'nowhere' where id = 3")
    assert failures(shop) == {"orders_merged": 2}

    settings = {"meta": {"reconcile": {"ignore": ["country_name"]}}}
    body = yaml.safe_load((shop.folder / "models/tested.yml").read_text())
    body["models"][0]["config"] = settings
    shop.write({"models/tested.yml": yaml.safe_dump(body)})
    assert failures(shop) == {}


def test_an_ephemeral_model_that_ends_in_a_comment_is_seen_through(shop: DbtProject) -> None:
    config = "{{ config(materialized='incremental', unique_key='id') }}"
    shop.write({"models/over.sql": config + " select c.id, c.country_name from {{ ref('eph_customers') }} c"})
    body = yaml.safe_load((shop.folder / "models/tested.yml").read_text())
    body["models"][0] = {"name": "over", "data_tests": [{"reconciles": {"name": "reconciles_over"}}]}
    shop.write({"models/tested.yml": yaml.safe_dump(body)})
    shop.dbt("run", "-s", "over")
    assert failures(shop) == {}

    over = table(judged(shop), "over").relation
    shop.run(f"delete from {over} where id = 2")
    assert failures(shop) == {"over": 1}


def test_install_is_repeatable_and_takes_nothing_of_the_users(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "dbt_project.yml").write_text("name: p\nmacro-paths: [sql/macros]\n")
    path = tmp_path / "sql" / "macros" / "reconciles.sql"

    def install() -> int:
        code: int = cli(["install", "--project-dir", str(tmp_path)], standalone_mode=False)
        return code

    assert install() == 0
    first = path.read_text()
    assert install() == 0
    assert "is up to date" in capsys.readouterr().out
    path.write_text(first + "-- an older version\n")
    assert install() == 0
    assert path.read_text() == first
    path.write_text("-- a macro of somebody else\n")
    assert install() == 2
    assert path.read_text() == "-- a macro of somebody else\n"
    assert "was not written by reconcile: rename it" in capsys.readouterr().err
    (tmp_path / "dbt_project.yml").unlink()
    assert install() == 2
    assert "no dbt_project.yml" in capsys.readouterr().err


def test_settings_of_a_models_hooks_hold_in_the_test(shop: DbtProject) -> None:
    sql = "select id, cast(seen_at as date) as day from moments"
    shop.run("create table moments as select 1 as id, timestamp with time zone '2026-01-01 20:00:00+00' as seen_at")
    tested = {"zoned": "pre_hook=\"set time zone 'Asia/Tokyo'\"", "coded": "pre_hook='select 1'", "headed": ""}
    header = "{% call set_sql_header(config) %}set timezone to 'Asia/Tokyo';{% endcall %}"
    for name, more in tested.items():
        config = f"{{{{ config(materialized='incremental', unique_key='id'{', ' + more if more else ''}) }}}}"
        shop.write({f"models/{name}.sql": config + (header if name == "headed" else "") + sql})
    body = [{"name": name, "data_tests": [{"reconciles": {"name": f"reconciles_{name}"}}]} for name in tested]
    shop.write({"models/tested.yml": yaml.safe_dump({"version": 2, "models": body})})
    shop.dbt("build", "-s", *tested)

    zoned = shop.folder / "models/zoned.sql"
    zoned.write_text(
        zoned.read_text().replace("set time zone", "select set_config('timezone', 'UTC', false); set time zone")
    )
    where = ["--project-dir", str(shop.folder), "--profiles-dir", str(shop.folder)]
    outcome = invoke_dbt(["test", "-s", "zoned", *where, "--quiet", "--log-level", "none"])
    [result] = [r for r in outcome.result.results if r.node.resource_type == "test"]
    assert "zoned is built in a session that this test cannot set up (select set_config" in result.message
