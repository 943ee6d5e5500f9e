"""The pages in a real browser: search, filter, sort and expand, nothing asked of any network, readable by everyone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from extract.sources.chromium import Chromium
from reconcile.overview.assemble import models_over_time
from reconcile.render import FORMATS
from reconcile.render.html import MOST_SAMPLES
from reconcile.render.overview import render_overview
from reconcile.report.model import (
    Cell,
    Drift,
    PastRun,
    PastTable,
    PlannedChange,
    PlannedPart,
    RepairOutcome,
    Report,
    Sample,
    TableReport,
    Verdict,
)
from reconcile.report.overview import Overview, Panel, SourceFreshness
from tests.conftest import ROOT
from tests.support.reports import HOSTILE, hostile_report, report, scope

AXE = (Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
SCREENSHOTS = ROOT / "target" / "screenshots"  # CI keeps them


@pytest.fixture(scope="module")
def browser(chromium: Chromium) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        environment: dict[str, str | float | bool] = {**os.environ, **chromium.environment}
        started = playwright.chromium.launch(executable_path=chromium.executable, env=environment)
        yield started
        started.close()


class Opened:
    """A page from a file, with what it asked for and what it complained of."""

    def __init__(self, browser: Browser, path: Path, **options: Any) -> None:
        self.page: Page = browser.new_context(**options).new_page()
        self.requests: list[str] = []
        self.messages: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("dialog", lambda dialog: self.messages.append(f"dialog {dialog.message}"))
        self.page.goto(path.as_uri())

    def keep(self, name: str) -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


def whole_report() -> Report:
    """A drifted run with everything that a page can show."""
    runs = tuple(
        PastRun(
            f"run{day}",
            f"2026-06-{day:02}T12:00:00.000Z",
            {
                "learning_posts": PastTable(Verdict.DRIFT, day) if day % 7 == 3 else PastTable(Verdict.LEVEL, 0),
                "outcomes": PastTable(Verdict.LEVEL, 0),
            },
        )
        for day in range(1, 29)
    )
    changes = (
        PlannedChange("update", "changed", {"tweet_id": "1"}, {"likes_count": Cell("1187", "1137")}),
        PlannedChange("delete", "duplicate", {"tweet_id": "2"}, {"likes_count": Cell(None, "4")}, copies=2),
    )
    planned = RepairOutcome("p1", "plan.json", False, None, 0, 1, 2, tables=(PlannedPart("posts", 0, 1, 2, changes),))
    drifted, level, _ = report().tables
    return replace(report(), tables=(drifted, level), past=runs, docs="static_index.html", repair=planned)


def overview_page() -> str:
    panels = (Panel("Extraction, by day", ("day", "attempts"), (("2026-06-01", "9"), (HOSTILE[0], None)), cut=True),)
    sources = (
        SourceFreshness("engagement.posts", "error", "2026-06-01T12:00:00+00:00", 7200.0, "20 minutes", "40 minutes"),
        SourceFreshness("engagement.followers", "empty", None, None, None, "1 day"),
    )
    runs = whole_report().past
    found = Overview("prod", "2026-06-30T00:00:00Z", runs, models_over_time(runs), sources, panels, ("the weather",))
    return render_overview(found)


@pytest.fixture
def drift_page(tmp_path: Path) -> Path:
    path = tmp_path / "report.html"
    path.write_text(FORMATS["html"](whole_report()))
    return path


def test_search_and_filter_narrow_the_rows(browser: Browser, drift_page: Path) -> None:
    page = Opened(browser, drift_page).page
    rows = page.locator(".samples").first.locator("tbody:visible")
    told = page.locator("output").first

    assert (rows.count(), told.inner_text()) == (2, "2 of 2 rows")
    page.get_by_label("Search").first.fill("9007199254740993")
    assert (rows.count(), told.inner_text()) == (1, "1 of 2 rows")
    assert "1187" in rows.first.inner_text()
    page.get_by_label("Search").first.fill("")
    page.get_by_label("Kind").first.select_option("missing")
    assert rows.all_inner_texts()[0].startswith("missing")
    page.get_by_label("Search").first.fill("nothing holds this")
    assert (rows.count(), told.inner_text()) == (0, "0 of 2 rows")


def test_a_heading_sorts_both_ways_and_says_so(browser: Browser, drift_page: Path) -> None:
    page = Opened(browser, drift_page).page
    table = page.locator(".samples").first
    heading = table.locator("th", has_text="key")

    def keys() -> list[str]:
        return table.locator("tbody tr:first-child td:nth-child(3)").all_inner_texts()

    heading.get_by_role("button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    assert keys() == ["tweet_id=9007199254740993", "tweet_id=2111136142324662277"]  # as numbers, not as text
    heading.get_by_role("button").press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert keys() == ["tweet_id=2111136142324662277", "tweet_id=9007199254740993"]


def test_a_row_expands_to_all_its_columns(browser: Browser, drift_page: Path) -> None:
    page = Opened(browser, drift_page).page
    row = page.locator(".samples").first.locator("details").first

    assert not row.locator("dl").is_visible()
    row.locator("summary").press("Enter")
    assert row.locator("dt").all_inner_texts() == ["content", "n"]


def test_the_digits_that_differ_are_marked_on_the_page(browser: Browser, drift_page: Path) -> None:
    assert Opened(browser, drift_page).page.locator("mark").all_inner_texts() == ["8", "3", "3", "8"]


def test_a_model_leads_into_the_dbt_docs(browser: Browser, drift_page: Path) -> None:
    (drift_page.parent / "static_index.html").write_text("<p>docs")
    page = Opened(browser, drift_page).page
    page.get_by_role("link", name="dbt docs of outcomes").click()

    assert page.url.endswith("/static_index.html#!/model/model.levelset.outcomes")
    assert page.inner_text("body") == "docs"


def test_the_timeline_tells_of_what_drifted_and_names_what_never_did(browser: Browser, drift_page: Path) -> None:
    page = Opened(browser, drift_page).page
    timeline = page.locator("section", has=page.locator("#timeline"))

    assert timeline.locator("h3").all_inner_texts() == ["learning_posts"]
    assert timeline.locator("rect").count() == 29  # 28 past runs and this one
    assert timeline.locator("rect.drift").count() == 5
    assert "Level in every one of them: outcomes." in timeline.inner_text()
    timeline.locator("summary").click()
    newest = timeline.locator("tbody tr").first
    assert newest.inner_text().split("\t") == ["2026-07-01 12:00:00 UTC", "drift", "2"]


@pytest.mark.parametrize("which", ["drift", "hostile", "overview"])
def test_the_page_asks_nothing_of_any_network_and_its_policy_forbids_it(
    browser: Browser, tmp_path: Path, which: str
) -> None:
    path = tmp_path / "page.html"
    pages = {"drift": whole_report, "hostile": hostile_report}
    path.write_text(overview_page() if which == "overview" else FORMATS["html"](pages[which]()))
    opened = Opened(browser, path)
    assert opened.requests == [path.as_uri()]
    assert opened.messages == []

    forbidden = opened.page.evaluate(
        """async () => {
            const broken = [];
            document.addEventListener("securitypolicyviolation", (event) => broken.push(event.effectiveDirective));
            const script = document.createElement("script");
            script.textContent = "window.injected = true";
            document.body.append(script);
            const image = document.createElement("img");
            image.src = "http://127.0.0.1:9/x.png";
            document.body.append(image);
            const refused = await fetch("http://127.0.0.1:9/").then(() => false, () => true);
            await new Promise((resolve) => setTimeout(resolve, 50));
            return { refused, broken: broken.sort(), injected: window.injected ?? null };
        }"""
    )
    assert forbidden["refused"]
    assert forbidden["injected"] is None
    assert set(forbidden["broken"]) == {"connect-src", "img-src", "script-src-elem"}


def test_hostile_values_are_text_and_nothing_else(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(FORMATS["html"](hostile_report()))
    opened = Opened(browser, path, viewport={"width": 360, "height": 700})
    opened.keep("hostile-360")
    text = opened.page.inner_text("body")

    assert "<script>alert(1)</script>" in text
    assert "\\u{202e}" in text
    assert opened.page.evaluate("document.scripts.length") == 1
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= 360
    styled = opened.page.evaluate("getComputedStyle(document.querySelector('.banner')).borderLeftWidth")
    assert styled == "8px"  # the policy lets the page's own style in


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("which", ["drift", "overview"])
def test_axe_finds_nothing_serious(browser: Browser, tmp_path: Path, which: str, scheme: str) -> None:
    path = tmp_path / "page.html"
    path.write_text(overview_page() if which == "overview" else FORMATS["html"](whole_report()))
    opened = Opened(browser, path, color_scheme=scheme, viewport={"width": 1200, "height": 900})
    opened.keep(f"{which}-{scheme}")
    opened.page.evaluate("for (const row of document.querySelectorAll('details')) row.open = true")
    opened.page.evaluate(AXE)
    found = opened.page.evaluate("axe.run()")

    serious = [v for v in found["violations"] if v["impact"] in ("serious", "critical")]
    assert not serious, json.dumps([(v["id"], v["nodes"][0]["html"]) for v in serious], indent=2)
    assert len(found["passes"]) > 15  # it did look


def test_the_page_is_read_without_its_script(browser: Browser, drift_page: Path) -> None:
    page = Opened(browser, drift_page, java_script_enabled=False).page

    assert page.locator(".samples").first.locator("tbody").count() == 2
    assert page.locator("tbody", has_text="1187").first.is_visible()
    assert page.get_by_label("Search").count() == 0 or not page.get_by_label("Search").first.is_visible()
    assert page.get_by_role("button").count() == 0  # nothing looks as if it could be clicked


def test_the_keyboard_reaches_what_there_is_to_use(browser: Browser, drift_page: Path) -> None:
    page = Opened(browser, drift_page).page
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.tagName"))

    assert {"A", "BUTTON", "INPUT", "SELECT", "SUMMARY"} <= reached


def test_it_prints_whole(browser: Browser, drift_page: Path) -> None:
    page = Opened(browser, drift_page).page
    row = page.locator(".samples").first.locator("details").first
    page.emulate_media(media="print")

    assert row.locator("dl").bounding_box()["height"] > 10  # type: ignore[index]
    assert not page.locator(".controls").first.is_visible()


def test_a_large_project_fits_in_400_kilobytes_without_samples() -> None:
    drifted, level, _ = report().tables
    tables = [replace(level, name=f"model_{i}") for i in range(200)]
    tables += [replace(drifted, name=f"drifted_{i}", samples=()) for i in range(20)]
    names = [table.name for table in tables]
    verdicts = [
        PastTable(Verdict.LEVEL, 0) if name.startswith("model") else PastTable(Verdict.DRIFT, 3) for name in names
    ]
    runs = tuple(PastRun(f"r{i}", "2026-06-01T12:00:00Z", dict(zip(names, verdicts, strict=True))) for i in range(60))
    page = FORMATS["html"](replace(report(), tables=tuple(tables), past=runs))

    assert len(page.encode()) < 400_000


def test_more_rows_than_a_page_holds_are_left_out_with_a_word(browser: Browser, tmp_path: Path) -> None:
    samples = tuple(
        Sample("changed", {"id": str(i)}, {"n": Cell(str(i), str(i + 1))}) for i in range(MOST_SAMPLES + 1_000)
    )
    tables = tuple(
        TableReport(name, None, name, ("id",), Verdict.DRIFT, scope(), Drift(changed=len(rows)), samples=rows)
        for name, rows in (("first", samples[:4_000]), ("second", samples[4_000:]))
    )
    path = tmp_path / "page.html"
    path.write_text(FORMATS["html"](Report("r", "check", "t", "", "", tables)))
    page = Opened(browser, path).page

    assert page.locator(".samples tbody").count() == MOST_SAMPLES
    assert "1,000 sample rows are not on this page" in page.inner_text("#cut")
    assert "1,000 of 2,000 differing rows are shown" in page.inner_text("main")
    page.get_by_label("Search").first.fill("id=3999")
    assert page.locator("output").first.inner_text() == "1 of 4000 rows"
