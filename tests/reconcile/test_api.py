"""The public Python API: the examples of its docstrings and of its page run, and say what they show."""

from __future__ import annotations

import doctest
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import reconcile
from reconcile import Project, api, check, history, open_project, read_report
from tests.conftest import ROOT
from tests.support.dbt_projects import DbtProject

PAGE = ROOT / "docs" / "reference" / "python.md"
FILES = {
    "dbt_project.yml": "name: shop\nprofile: shop\nflags: {send_anonymous_usage_stats: false}\n",
    "models/orders.sql": "{{ config(materialized='incremental', unique_key='id') }} select id, amount from raw.orders",
    "before.csv": "id,revenue\n1,10.00\n2,20.00\n",
    "after.csv": "id,revenue\n1,10.005\n2,21.00\n",
}
DAMAGE, CURE = "update orders set amount = 0 where id = 7", "update orders set amount = id * 2"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> DbtProject:
    shop = DbtProject(tmp_path_factory.mktemp("shop"), None)
    shop.write(FILES)
    shop.profile("shop")
    shop.run("create schema raw", "create table raw.orders as select n as id, n * 2 as amount from range(1, 41) t(n)")
    shop.dbt("run")
    return shop


@pytest.fixture
def shop(built: DbtProject, monkeypatch: pytest.MonkeyPatch) -> DbtProject:
    """A project of one model, of whose forty rows one is damaged; its folder is the working folder."""
    built.run(CURE, DAMAGE)
    monkeypatch.chdir(built.folder)
    monkeypatch.setenv("PWD", str(built.folder))
    return built


def examples(heading: str) -> str:
    """The Python code of a section of the page."""
    section = PAGE.read_text().partition(f"{heading}\n")[2].partition("\n## ")[0]
    [code] = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    return str(code)


@pytest.mark.parametrize("name", ["check", "diff", "plan_repair", "apply_repair", "undo", "read_report"])
def test_the_example_of_a_docstring_runs_and_gives_its_result(shop: DbtProject, name: str) -> None:
    found = doctest.DocTestFinder(recurse=False).find(getattr(api, name), name, globs=vars(api).copy())
    runner = doctest.DocTestRunner(optionflags=doctest.REPORT_ONLY_FIRST_FAILURE)
    results = [runner.run(example) for example in found if example.examples]

    assert sum(result.attempted for result in results) > 0
    assert sum(result.failed for result in results) == 0


def test_the_first_example_of_the_page(shop: DbtProject, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(examples("# The Python API"), str(PAGE), "exec"), {})

    assert capsys.readouterr().out == "drift 1\norders drift 0 1\n"


def test_the_script_of_the_page_repairs_and_writes_the_report(
    shop: DbtProject, capsys: pytest.CaptureFixture[str]
) -> None:
    exec(compile(examples("## In a script: repair what drifted, keep a page"), str(PAGE), "exec"), {})

    assert "repaired: 0 1 level" in capsys.readouterr().out
    assert "1 changed" in (shop.folder / "drift.html").read_text()
    assert shop.rows("select amount from orders where id = 7") == [(14,)]


def test_the_pytest_of_the_page_fails_on_drift_and_passes_after_it(shop: DbtProject) -> None:
    names: dict[str, Any] = {}
    exec(compile(examples("## In a pytest"), str(PAGE), "exec"), names)
    project = open_project(select="orders")

    with pytest.raises(AssertionError, match="changed=1"):
        names["test_orders_equal_their_full_refresh"](project)
    shop.run(CURE)
    names["test_orders_equal_their_full_refresh"](project)


def test_the_dagster_asset_check_of_the_page(shop: DbtProject) -> None:
    dagster = pytest.importorskip("dagster")
    code = examples("## In a Dagster asset check").replace("/opt/warehouse", str(shop.folder))
    names: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), names)

    ran = dagster.materialize([names["orders"], names["orders_equal_their_full_refresh"]])
    [evaluation] = ran.get_asset_check_evaluations()
    assert (evaluation.passed, evaluation.metadata["keys_drifted"].value) == (False, 1)


def test_the_airflow_task_of_the_page(shop: DbtProject) -> None:
    pytest.importorskip("airflow.sdk")
    code = examples("## In an Airflow task").replace("/opt/warehouse", str(shop.folder))
    names: dict[str, Any] = {}
    exec(compile(code.replace("\nwarehouse_checks()\n", "\nbuilt = warehouse_checks()\n"), str(PAGE), "exec"), names)

    [task] = names["built"].tasks
    assert task.python_callable() is False


def test_an_opened_project_is_parsed_once_for_several_calls(shop: DbtProject) -> None:
    project = open_project(select="orders")
    assert isinstance(project, Project)
    assert check(project).exit_code == 1
    shop.run(CURE)
    assert check(project, keys=["7", "8"]).tables[0].scope.keys_checked == 2
    assert check(project, keys=[{"id": "7"}], keep=False).exit_code == 0
    with pytest.raises(TypeError, match="not both"):
        check(project, select="orders")
    with pytest.raises(reconcile.ReconcileError, match="keys is empty"):
        check(project, keys=[])


def test_reports_are_kept_and_read_again(shop: DbtProject, tmp_path: Path) -> None:
    report = check(vars={"unused": 1}, exclude=["tag:none"])
    check(keep=False)
    assert read_report() == read_report(report.run_id)
    assert read_report(report.run_id).as_dict() == report.as_dict()
    assert history(latest=1) == [read_report()]
    reconcile.write_report(report, "json", tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text()) == report.as_dict()
    assert read_report(file=tmp_path / "report.json").totals == report.totals
    with pytest.raises(reconcile.ReconcileError, match="no report of kind 'pdf'"):
        reconcile.write_report(report, "pdf", tmp_path / "report.pdf")


def test_importing_the_package_and_asking_for_help_load_nothing_heavy() -> None:
    heavy = "[m for m in ('dbt', 'dlt', 'duckdb', 'psycopg', 'sqlglot', 'rich', 'jinja2') if m in sys.modules]"
    for code in (f"import sys, reconcile; print({heavy})", f"import sys, reconcile.cli; print({heavy})"):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == "[]\n"
