"""The docs site in a real Chromium, and docs/reference/readers.md against the marts."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from extract.sources.chromium import Chromium
from tests.conftest import ROOT
from tests.support.dbt_projects import DbtProject

READERS = (ROOT / "docs" / "reference" / "readers.md").read_text()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> DbtProject:
    """Our project on an empty warehouse, with the page that `levelset docs` builds."""
    folder = tmp_path_factory.mktemp("docs")
    shutil.copy(ROOT / "dbt_project.yml", folder)
    shutil.copytree(ROOT / "dbt_project", folder / "dbt_project")
    project = DbtProject(folder, None)
    project.profile("levelset")
    project.dbt("run")
    project.dbt("docs", "generate", "--static")
    return project


def test_every_query_of_the_docs_runs(built: DbtProject) -> None:
    queries = re.findall(r"```sql\n(.+?)\n```", READERS, flags=re.DOTALL)

    assert len(queries) == 9
    for query in queries:
        nothing = [(0, None, None)] if query.startswith("select count(*)") else []
        assert built.rows(query.replace("analytics.", "main.")) == nothing


def test_every_reader_has_an_owner_a_page_and_columns_under_contract(built: DbtProject) -> None:
    manifest = json.loads((built.folder / "target" / "manifest.json").read_text())
    exposures = manifest["exposures"].values()
    assert len(exposures) == 7
    for exposure in exposures:
        anchor = exposure["url"].removeprefix("docs/reference/readers.md#")
        assert f"\n## {anchor}\n" in READERS
        assert exposure["owner"]["name"]
        assert exposure["maturity"] in ("high", "medium")
        read = [manifest["nodes"][name] for name in exposure["depends_on"]["nodes"]]
        assert all(node["config"]["contract"]["enforced"] and node["config"]["access"] == "public" for node in read)
        assert all(f"`{node['name']}`" in READERS for node in read if node["fqn"][2] != "engagement")
        promised = {name for node in read for name in node["columns"]}
        assert set(exposure["config"]["meta"]["relies_on"]) <= promised, exposure["name"]


def test_the_seeds_two_questions_are_answered(built: DbtProject) -> None:
    built.dbt("compile", "-s", "recent_posts", "last_seven_days")
    folder = built.folder / "target" / "compiled" / "levelset" / "dbt_project" / "analyses"

    assert built.rows((folder / "recent_posts.sql").read_text()) == []
    assert built.rows((folder / "last_seven_days.sql").read_text()) == [(0, None, None)]


def test_a_reader_finds_a_model_its_columns_and_its_lineage(
    built: DbtProject, chromium: Chromium, tmp_path: Path
) -> None:
    page_file = built.folder / "target" / "static_index.html"
    environment: dict[str, str | float | bool] = {**os.environ, **chromium.environment}
    asked = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.executable, env=environment)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.on("request", lambda request: asked.append(request.url))
        page.goto(page_file.as_uri())
        page.get_by_text("Three rules hold everywhere.").wait_for()

        page.get_by_placeholder("Search for models").fill("posting_hours")
        page.locator(".search-result, .result, a").filter(has_text="posting_hours").filter(visible=True).first.click()
        page.get_by_text("Engagement by hour of the day over 30 days").first.wait_for()
        text = page.inner_text("body")
        assert "Among the best max(3, 30 %) of the hours" in text  # a column's description
        assert "peak_windows" in text  # referenced by

        page.locator(".launcher-btn").click()
        page.locator("canvas").first.wait_for()
        page.screenshot(path=tmp_path / "lineage.png")
        browser.close()
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
