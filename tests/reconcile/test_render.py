"""Every renderer on one report, against kept snapshots, and on values that mean harm."""

from __future__ import annotations

import io
import json
import os
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
from playwright.sync_api import sync_playwright
from rich.console import Console

from extract.chromium import Chromium
from reconcile.causes import Cause
from reconcile.render import FORMATS
from reconcile.render.human import marked, print_report
from reconcile.render.text import shown
from reconcile.report import (
    Cell,
    Drift,
    RepairOutcome,
    Report,
    Sample,
    SchemaChange,
    Scope,
    TableReport,
    Verdict,
    report_from_dict,
)
from tests.conftest import ROOT

SNAPSHOTS = Path(__file__).parent / "snapshots"
SCHEMA = json.loads((ROOT / "reconcile" / "schemas" / "report.schema.json").read_text())
HOSTILE = [
    "<script>alert(1)</script>",
    "\x1b[31mred\x1b[0m",
    "right\u202eto\u2066left",
    "a|b`c*d\\e @user #1",
    "quote\"'&amp;",
    "line\nbreak\r\ttab",
    "\x00\x08\ufffe",
    "::error::injected",
    "]]>",
]


def scope(expected: int | None = None, actual: int | None = None) -> Scope:
    return Scope("sweep", "every row of both sides was compared", None, expected, actual)


def report() -> Report:
    drifted = TableReport(
        name="learning_posts",
        unique_id="model.levelset.learning_posts",
        relation='"levelset"."analytics"."learning_posts"',
        key=("tweet_id",),
        verdict=Verdict.DRIFT,
        scope=scope(295, 294),
        drift=Drift(missing=1, changed=1, schema=1),
        columns={"likes_count": 1},
        schema_changes=(SchemaChange("topic", "type", "text", "integer"),),
        samples=(
            Sample("changed", {"tweet_id": "9007199254740993"}, {"likes_count": Cell("1187", "1137")}, "manual_edit"),
            Sample(
                "missing",
                {"tweet_id": "2111136142324662277"},
                {"content": Cell("hello", None), "n": Cell("4", None)},
                "late",
            ),
        ),
        causes={"late": 1, "manual_edit": 1},
        hints=("the filter on posted_at passed over them: a look-back of 2 hours would have caught the late key",),
        elapsed_ms=120,
        path="dbt_project/models/core/learning_posts.sql",
    )
    level = TableReport(
        "outcomes",
        "model.levelset.outcomes",
        "outcomes",
        ("decision_id",),
        Verdict.LEVEL,
        scope(243, 243),
        elapsed_ms=90,
    )
    unjudged = TableReport(
        "stamped", "model.shop.stamped", "stamped", ("id",), Verdict.UNVERIFIED, scope(), error="it calls now()"
    )
    at = "2026-07-01T12:00:00.000Z"
    return Report("20260701T120000-abc123", "check", "embedded", at, at, (drifted, level, unjudged))


def hostile_report() -> Report:
    samples = tuple(
        Sample("changed", {value: value}, {value: Cell(value, value[::-1]), "n": Cell(None, value)})
        for value in HOSTILE
    )
    table = TableReport(
        HOSTILE[0],
        HOSTILE[1],
        HOSTILE[2],
        (HOSTILE[3],),
        Verdict.DRIFT,
        scope(1, 1),
        Drift(changed=9),
        causes={cause.value: 1 for cause in Cause},
        hints=tuple(HOSTILE),
        samples=samples,
    )
    at = "2026-07-01T12:00:00.000Z"
    return Report("run", "check", HOSTILE[0], at, at, (table,))


def printed(what: Report, width: int) -> str:
    out = io.StringIO()
    print_report(what, Console(file=out, width=width, markup=False, highlight=False, emoji=False, no_color=True))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def check_snapshot(name: str, text: str) -> None:
    """Compare with the kept file; UPDATE_SNAPSHOTS=1 writes it anew, to be read before it is committed."""
    path = SNAPSHOTS / name
    if os.environ.get("UPDATE_SNAPSHOTS"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_snapshot(kind: str) -> None:
    check_snapshot(f"report.{kind}", FORMATS[kind](report()))


@pytest.mark.parametrize("width", [80, 200])
def test_snapshot_of_the_terminal(width: int) -> None:
    check_snapshot(f"report.{width}.txt", printed(report(), width))


def test_json_follows_its_schema_and_reads_back() -> None:
    for what in (report(), hostile_report()):
        body = json.loads(FORMATS["json"](what))
        jsonschema.validate(body, SCHEMA)
        assert report_from_dict(body).as_dict() == body


def test_exit_codes_are_diffs() -> None:
    whole = report()
    drifted, level, unjudged = whole.tables

    def code(*tables: TableReport, **more: object) -> int:
        return Report("r", "check", "t", "", "", tables, **more).exit_code  # type: ignore[arg-type]

    assert (code(level), code(drifted, level), code(drifted, unjudged), code()) == (0, 1, 2, 2)
    assert code(drifted, fail_on=("extra",)) == 0
    assert code(drifted, fail_on=("extra", "changed")) == 1
    assert code(level, repair=RepairOutcome("p", None, True, "r", 1, 2, 0, stale=1)) == 1
    assert code(level, repair=RepairOutcome("p", None, True, "r", 1, 2, 0)) == 0


@pytest.mark.parametrize("applied", [True, False])
def test_a_repair_is_told_in_numbers(applied: bool) -> None:
    outcome = RepairOutcome("plan1", "plan.json", applied, "run9" if applied else None, 5, 3, 2, 0)
    what = replace(report(), command="repair", repair=outcome)
    page = FORMATS["html"](what)
    body = json.loads(FORMATS["json"](what))

    jsonschema.validate(body, SCHEMA)
    assert report_from_dict(body).repair == outcome
    if applied:
        assert "repaired: 5 inserted, 3 updated, 2 deleted, 0 stale" in printed(what, 120)
        assert "5 inserted, 3 updated, 2 deleted, 0 stale" in page
        assert "reconcile undo run9 --apply" in page
    else:
        assert "plan: 5 to insert, 3 to update, 2 to delete; nothing was written (plan file: plan.json)" in printed(
            what, 120
        )
        assert "5 to insert, 3 to update, 2 to delete" in page
    assert "built-in method" not in page


def test_hostile_values_are_harmless_in_text_formats() -> None:
    what = hostile_report()

    terminal = printed(what, 120)
    assert "\x1b" not in terminal
    assert "\u202e" not in terminal
    assert "\\u{1b}[31mred" in terminal
    root = ElementTree.fromstring(FORMATS["junit"](what))
    assert root.find(".//failure") is not None
    github = FORMATS["github"](what)
    assert len(github.splitlines()) == 1
    assert not any(line.startswith("::error::injected") for line in github.splitlines())
    markdown = FORMATS["markdown"](what)
    assert "<script>" not in markdown
    rows = [line for line in markdown.splitlines() if line.startswith("| changed")]
    assert {line.count("|") for line in rows} == {7}


def test_long_values_are_cut_and_say_so() -> None:
    value = "x" * 2_000_000
    assert shown(value) == "x" * 200 + "… (2,000,000 characters)"
    sample = Sample("changed", {"id": "1"}, {"v": Cell(value, value + "y")})
    table = TableReport("t", "m", "r", ("id",), Verdict.DRIFT, scope(1, 1), Drift(changed=1), samples=(sample,))
    long_report = Report("r", "check", "t", "", "", (table,))

    assert len(printed(long_report, 120)) < 3_000
    assert len(FORMATS["html"](long_report)) < 20_000
    assert len(FORMATS["markdown"](long_report)) < 5_000
    assert json.loads(FORMATS["json"](long_report))["tables"][0]["samples"][0]["columns"]["v"]["expected"] == value


def test_the_digits_that_differ_are_marked() -> None:
    expected, actual = marked("1187", "1137")

    assert [(s.start, s.end) for s in expected.spans] == [(2, 3)]
    assert [(s.start, s.end) for s in actual.spans] == [(2, 3)]


def test_the_page_makes_no_request_and_shows_hostile_values_as_text(chromium: Chromium, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(FORMATS["html"](hostile_report()))
    requests: list[str] = []
    messages: list[str] = []
    with sync_playwright() as playwright:
        environment: dict[str, str | float | bool] = {**os.environ, **chromium.environment}
        browser = playwright.chromium.launch(executable_path=chromium.executable, env=environment)
        page = browser.new_page(viewport={"width": 360, "height": 700})
        page.on("request", lambda request: requests.append(request.url))
        page.on("console", lambda message: messages.append(message.text))
        page.on("dialog", lambda dialog: messages.append(f"dialog {dialog.message}"))
        page.goto(path.as_uri())
        text = page.inner_text("body")
        styled = page.evaluate("getComputedStyle(document.querySelector('.banner')).borderLeftWidth")
        wide = page.evaluate("document.documentElement.scrollWidth")
        scripts = page.evaluate("document.scripts.length")
        browser.close()

    assert requests == [path.as_uri()]
    assert messages == []
    assert scripts == 0
    assert "<script>alert(1)</script>" in text
    assert styled == "8px"  # the policy lets the page's own style in
    assert wide <= 360
