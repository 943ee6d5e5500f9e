"""Reports that the tests of renderers start from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from reconcile.model_check.causes import Cause
from reconcile.report.model import (
    Cell,
    Declared,
    Drift,
    Excluded,
    NotCompared,
    Report,
    Sample,
    SchemaChange,
    Scope,
    TableReport,
    UndoOutcome,
    Verdict,
)
from reconcile.state.folder import FolderState, state_folder

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
        declared=Declared("dbt_project/models/core/learning_posts.yml", 4),
    )
    level = TableReport(
        "outcomes",
        "model.levelset.outcomes",
        "outcomes",
        ("decision_id",),
        Verdict.LEVEL,
        scope(243, 243),
        elapsed_ms=90,
        columns_compared=12,
        not_compared=(NotCompared("loaded_at", "build time"),),
    )
    unjudged = TableReport(
        "stamped", "model.shop.stamped", "stamped", ("id",), Verdict.UNVERIFIED, scope(), error="it calls now()"
    )
    at = "2026-07-01T12:00:00.000Z"
    left_out = (Excluded("history", "model.levelset.history", "--exclude history"),)
    return Report("20260701T120000-abc123", "check", "embedded", at, at, (drifted, level, unjudged), excluded=left_out)


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


def keep_a_check_and_an_undo(project_dir: Path) -> Report:
    """Two runs that a project remembers, the undo being the later one; the check's report."""
    checked = report()
    state = FolderState(state_folder(project_dir))
    state.keep_report(checked)
    undone = UndoOutcome(undoes=checked.run_id, inserted=0, updated=1, deleted=0, stale=0)
    state.keep_report(replace(checked, run_id=f"{checked.run_id}z", command="undo", tables=(), undo=undone))
    return checked
