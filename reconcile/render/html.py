"""The report as one HTML file: offline, no request; a Content-Security-Policy names its style and script by hash."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from reconcile.render.text import (
    LONGEST,
    aim,
    common_ends,
    coverage,
    duration,
    keys_of,
    kinds,
    next_step,
    preview,
    shown,
    shown_pair,
    state_of,
)
from reconcile.report.model import KINDS, Cell, Drift, PastTable, PlannedChange, Report, Sample, TableReport, Verdict

_FOLDER = Path(__file__).parent
MOST_SAMPLES = 5_000  # rows on a page; a browser still scrolls, searches and sorts them without a wait


def render_html(report: Report) -> str:
    """At most 5,000 sample rows; says so where it left some out."""
    shown_samples = _capped(report.tables)
    counts = [getattr(table.drift, kind) for table in report.tables for kind in KINDS]
    return page(
        "report.html.jinja",
        report=report,
        next_step=next_step(report),
        aim=aim(report.aimed),
        most=max([*counts, 1]),
        shown_samples=shown_samples,
        hidden_samples=sum(len(t.samples) for t in report.tables) - sum(map(len, shown_samples)),
        most_samples=MOST_SAMPLES,
        calm=[table for table in report.tables if _always_level(report, table)],
    )


def page(template: str, **values: Any) -> str:
    """A template of this folder, with the style and the script that every page has."""
    style, script = ((_FOLDER / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    hashes = {"style_hash": _hash(style), "script_hash": _hash(script)}
    return _environment().get_template(template).render(**values, style=style, script=script, **hashes)


def clock(at: str) -> str:
    """ "2026-07-01 12:00:00 UTC" of an ISO 8601 time in UTC."""
    return f"{at[:19].replace('T', ' ')} UTC" if at else "-"


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        shown=shown,
        kinds=kinds,
        keys=keys_of,
        coverage=coverage,
        clock=clock,
        against=_against,
        counted=_counted,
        one_side=_one_side,
        brief=_brief,
        runs_of=_runs_of,
        duration=duration,
        state=state_of,
    )
    return environment


def _capped(tables: tuple[TableReport, ...]) -> list[tuple[Sample, ...]]:
    """Each table's samples, in all no more than a page holds."""
    left = MOST_SAMPLES
    found = []
    for table in tables:
        found.append(table.samples[:left])
        left -= len(found[-1])
    return found


def _counted(drift: Drift) -> dict[str, int]:
    return {kind: count for kind, count in asdict(drift).items() if count}


def _against(text: str, other: str | None) -> tuple[str, str, str]:
    """A value in three pieces, of which the middle one is what differs from another value."""
    said, against = shown_pair(text, other)
    start, end = common_ends(said, against)
    if other is None or start + end == 0 or len(text) > LONGEST or len(other) > LONGEST:
        return said, "", ""  # of values that are cut no character is marked: the note on their length would be, too
    return said[:start], said[start : len(said) - end], said[len(said) - end :]


def _one_side(row: Sample | PlannedChange) -> list[tuple[str, str | None]]:
    """The columns of a row that exists on one side only."""
    return [(name, cell.actual if cell.expected is None else cell.expected) for name, cell in row.columns.items()]


def _brief(cells: list[tuple[str, str | None]]) -> str:
    said = preview(Sample("extra", {}, {name: Cell(None, value) for name, value in cells}))
    return said or f"{len(cells)} columns, all NULL"


def _runs_of(report: Report, table: TableReport) -> list[tuple[str, PastTable | None]]:
    """A table in the past runs and in this one, oldest first."""
    past = [(run.at, run.tables.get(table.name)) for run in report.past]
    return [*past, (report.finished_at, PastTable(table.verdict, table.drift.of_rows()))]


def _always_level(report: Report, table: TableReport) -> bool:
    """Whether there is nothing to show of a table over time."""
    return all(found is None or found.verdict is Verdict.LEVEL for _, found in _runs_of(report, table))
