"""The report as GitHub workflow commands: annotations at the model's .sql file, and at the yml line that names it."""

from __future__ import annotations

from reconcile.render.text import causes_of, key_of, kinds, shown
from reconcile.report.model import Report, TableReport, Verdict

_ANNOTATIONS_PER_STEP = 10  # GitHub keeps ten annotations of a level a step
_LEVELS = ("error", "warning", "notice")


def render_github(report: Report) -> str:
    """At most ten lines of a level; the last one says how many models it represents."""
    lines: dict[str, list[str]] = {level: [] for level in _LEVELS}
    if report.error:
        lines["error"].append(f"::error title=reconcile::{_data(shown(report.error, 2000))}")
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
                said += f"; first: {first.kind} {key_of(first)} {cells[:300]}{'…' if len(cells) > 300 else ''}"
        else:
            said = f"{shown(table.name)} is {table.verdict.value}: {table.error}"
        title = f"title={_property(f'reconcile: {table.verdict.value}')}"
        lines[level].append(f"::{level} {place}{title}::{_data(said)}")
        if table.declared is not None:
            at = f"file={_property(table.declared.path)},line={table.declared.line},"
            lines["notice"].append(f"::notice {at}{title}::{_data(_declared(table))}")
    return "".join(line + "\n" for level in _LEVELS for line in _capped(level, lines[level]))


def _declared(table: TableReport) -> str:
    """What the yml has to do with it: the columns that differ are declared there, and so is the key."""
    name = shown(table.name)
    if table.schema_changes:
        changes = (
            f"{c.column} {c.expected or 'no such column'}, is {c.actual or 'gone'}" for c in table.schema_changes
        )
        return f"{name}: expected {'; expected '.join(shown(change, 100) for change in changes)}"
    columns = ", ".join(f"{shown(column)} {count:,}" for column, count in table.columns.items())
    return f"{name}: {columns} differ" if columns else f"{name} is declared here"


def _capped(level: str, lines: list[str]) -> list[str]:
    if len(lines) <= _ANNOTATIONS_PER_STEP:
        return lines
    more = len(lines) - _ANNOTATIONS_PER_STEP + 1
    return [
        *lines[: _ANNOTATIONS_PER_STEP - 1],
        f"::{level} title=reconcile::{more} more models are not level: see the report",
    ]


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
