"""Words and values as every renderer shows them: cut where they are long, and harmless whatever they hold."""

from __future__ import annotations

import shlex
import unicodedata

from reconcile.report.model import KINDS, Drift, Report, Sample, TableReport, UndoOutcome, Verdict
from reconcile.report.overview import Overview

LONGEST = 200  # characters of a value shown; the JSON report holds it whole
STYLES = {Verdict.LEVEL: "green", Verdict.DRIFT: "red", Verdict.UNVERIFIED: "yellow", Verdict.ERROR: "bold red"}


def shown(value: str | None, longest: int = LONGEST) -> str:
    """A value on one line: NULL spelled out, control and direction characters as escapes, cut with its full length."""
    if value is None:
        return "NULL"
    cut = value[:longest]
    safe = "".join(_escaped(character) for character in cut)
    return safe if len(value) <= longest else f"{safe}… ({len(value):,} characters)"


def shown_pair(one: str | None, other: str | None, longest: int = LONGEST) -> tuple[str, str]:
    """Two values as ``shown`` shows them; where they only differ beyond its cut, both from shortly before that on."""
    if one is None or other is None or max(len(one), len(other)) <= longest:
        return shown(one, longest), shown(other, longest)
    start, _ = common_ends(one, other)
    passed = max(start - longest // 4, 0) if start > longest * 3 // 4 else 0
    if not passed:
        return shown(one, longest), shown(other, longest)
    texts = []
    for value in (one, other):
        rest = "".join(map(_escaped, value[passed : passed + longest]))
        texts.append(f"(equal for {start:,} characters) …{rest}… ({len(value):,} characters)")
    return texts[0], texts[1]


def preview(sample: Sample, columns: int = 2, longest: int = 16) -> str:
    """A one-sided row in short: its first columns that hold something."""
    values = ((name, cell.actual if cell.expected is None else cell.expected) for name, cell in sample.columns.items())
    filled = [(name, value) for name, value in values if value is not None]
    said = [f"{shown(name)}={shown(v[:longest])}{'…' if len(v) > longest else ''}" for name, v in filled[:columns]]
    return ", ".join(said) + (", …" if len(filled) > columns else "")


def common_ends(one: str, other: str) -> tuple[int, int]:
    """How many characters two texts share at the start, and how many of the rest they share at the end."""
    shorter = min(len(one), len(other))
    start = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), shorter)
    limit = shorter - start
    end = next((i for i in range(limit) if one[-1 - i] != other[-1 - i]), limit)
    return start, end


def _escaped(character: str) -> str:
    # Cc: control (ANSI escapes, newlines); Cf: direction overrides and joiners, which would reorder their neighbours
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(character, f"\\u{{{ord(character):x}}}")
    return character


def kinds(drift: Drift) -> str:
    """ "2 missing, 1 changed", or "-"."""
    said = [f"{getattr(drift, kind):,} {kind.replace('_', ' ')}" for kind in KINDS if getattr(drift, kind)]
    return ", ".join(said) or "-"


def undone(undo: UndoOutcome) -> str:
    """ "undid RUN: 2 inserted, 1 updated, 0 deleted, 0 stale"."""
    counts = f"{undo.inserted:,} inserted, {undo.updated:,} updated, {undo.deleted:,} deleted, {undo.stale:,} stale"
    return f"undid {undo.undoes}: {counts}"


def unjudged(report: Report) -> str:
    """ "1 of 3 models not judged", or nothing."""
    count = report.verdicts["unverified"] + report.verdicts["error"]
    return f"{count} of {len(report.tables)} models not judged" if count else ""


def coverage(table: TableReport) -> str | None:
    """ "level on 12 columns; not compared: loaded_at (build time)", or None if every column was compared."""
    if not table.not_compared:
        return None
    left_out = ", ".join(f"{shown(entry.column)} ({shown(entry.reason)})" for entry in table.not_compared)
    if table.columns_compared is None:
        return f"not compared: {left_out}"
    on = "level on" if table.verdict is Verdict.LEVEL else "compared"
    columns = "column" if table.columns_compared == 1 else "columns"
    return f"{on} {table.columns_compared:,} {columns}; not compared: {left_out}"


def causes_of(table: TableReport) -> str:
    """ "2 late, 1 manual edit", or nothing."""
    return ", ".join(f"{count:,} {cause.replace('_', ' ')}" for cause, count in table.causes.items())


def key_of(sample: Sample, named: bool = True) -> str:
    """The key's values, with their names unless ``named`` is False (a table's heading can carry them)."""
    if not named and sample.key:
        return ", ".join(shown(value, 60) for value in sample.key.values())
    return ", ".join(f"{shown(name)}={shown(value, 60)}" for name, value in sample.key.items()) or "(no key)"


def keys_of(table: TableReport) -> str:
    """How many keys were looked at: "3 keys" where a run looked at some, else the table's rows, of those expected."""
    if table.scope.keys_checked is not None:
        return f"{table.scope.keys_checked:,} keys"
    return rows_of(table)


def next_step(report: Report) -> str | None:
    """The command that a reader of this report would type next."""
    aimed = aim(report.aimed)
    names = " ".join(shlex.quote(shown(table.name)) for table in report.tables if table.verdict is Verdict.DRIFT)
    if report.verdict is Verdict.DRIFT and report.command == "check":
        return f"reconcile repair -s {names}{aimed}"
    if report.verdict is Verdict.DRIFT and report.repair and not report.repair.applied:
        delete = " --allow-delete" if report.repair.deleted else ""
        return f"reconcile repair --plan {report.repair.plan_file} --apply{delete}{aimed}"
    return None


def aim(target: str | None) -> str:
    """The option that a command needs to mean the same target: nothing where that is the profile's own."""
    return f" --target {shlex.quote(target)}" if target else ""


def duration(seconds: float | None) -> str:
    """ "-", "45 s", "12 min", "3.5 h" or "2.0 d"."""
    if seconds is None:
        return "-"
    for unit, length in (("d", 86_400), ("h", 3_600)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"


def state_of(overview: Overview) -> str:
    """The state of a project, in a sentence."""
    drifted = [model for model in overview.models if model.open_since is not None]
    stale = [source for source in overview.sources if source.status != "pass"]
    said = "every model was level when it was last looked at"
    if drifted:
        said = f"{len(drifted)} of {len(overview.models)} models have open drift"
    elif overview.verdict is not Verdict.LEVEL:
        unjudged = sum(model.verdict is not Verdict.LEVEL for model in overview.models)
        said = f"{unjudged} of {len(overview.models)} models could not be judged when they were last looked at"
    if stale:
        said += f"; {len(stale)} of {len(overview.sources)} sources are not fresh"
    return said[0].upper() + said[1:] + "."


def rows_of(table: TableReport) -> str:
    """ "287 of 287" (in the table of expected), or "-" where rows were not counted."""
    expected, actual = table.scope.rows_expected, table.scope.rows_actual
    return "-" if expected is None or actual is None else f"{actual:,} of {expected:,}"
