"""The report as GitHub workflow commands: annotations that point at the model's file."""

from __future__ import annotations

from reconcile.render.text import causes_of, key_of, kinds, shown
from reconcile.report import Report, Verdict

_MOST = 10  # GitHub keeps ten annotations of a level a step


def render_github(report: Report) -> str:
    lines = []
    if report.error:
        lines.append(f"::error title=reconcile::{_data(report.error)}")
    for table in report.tables:
        if table.verdict is Verdict.LEVEL:
            continue
        level = "warning" if table.verdict is Verdict.UNVERIFIED else "error"
        place = f"file={_property(table.path)},line=1," if table.path else ""
        if table.verdict is Verdict.DRIFT:
            said = f"{shown(table.name)} is not what a full refresh would build: {kinds(table.drift)}"
            if table.causes:
                said += f" ({causes_of(table)})"
            if table.samples:
                first = table.samples[0]
                cells = ", ".join(
                    f"{n} {shown(c.actual, 40)} instead of {shown(c.expected, 40)}" for n, c in first.columns.items()
                )
                said += f"; first: {first.kind} {key_of(first)} {cells[:300]}"
        else:
            said = f"{shown(table.name)} is {table.verdict.value}: {table.error}"
        lines.append(f"::{level} {place}title={_property(f'reconcile: {table.verdict.value}')}::{_data(said)}")
    if len(lines) > _MOST:
        more = len(lines) - _MOST + 1
        lines = [*lines[: _MOST - 1], f"::error title=reconcile::{more} more models are not level: see the report"]
    return "".join(line + "\n" for line in lines)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
