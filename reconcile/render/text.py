"""Words and values as every renderer shows them: cut where they are long, and harmless whatever they hold."""

from __future__ import annotations

import unicodedata

from reconcile.report import KINDS, Drift, Sample, TableReport

LONGEST = 200  # characters of a value shown; the JSON report holds it whole


def shown(value: str | None, longest: int = LONGEST) -> str:
    """A value on one line: NULL spelled out, control and direction characters as escapes, cut with its full length."""
    if value is None:
        return "NULL"
    cut = value[:longest]
    safe = "".join(_escaped(character) for character in cut)
    return safe if len(value) <= longest else f"{safe}… ({len(value):,} characters)"


def preview(sample: Sample, columns: int = 2, longest: int = 16) -> str:
    """A one-sided row in short: its first columns that hold something."""
    values = ((name, cell.actual if cell.expected is None else cell.expected) for name, cell in sample.columns.items())
    filled = [(name, value) for name, value in values if value is not None]
    said = [f"{shown(name)}={shown(v[:longest])}{'…' if len(v) > longest else ''}" for name, v in filled[:columns]]
    return ", ".join(said) + (", …" if len(filled) > columns else "")


def _escaped(character: str) -> str:
    # Cc: control (ANSI escapes, newlines); Cf: direction overrides and joiners, which would reorder their neighbours
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(character, f"\\u{{{ord(character):x}}}")
    return character


def kinds(drift: Drift) -> str:
    """ "2 missing, 1 changed", or "-"."""
    said = [f"{getattr(drift, kind):,} {kind.replace('_', ' ')}" for kind in KINDS if getattr(drift, kind)]
    return ", ".join(said) or "-"


def causes_of(table: TableReport) -> str:
    """ "2 late, 1 manual edit", or nothing."""
    return ", ".join(f"{count:,} {cause.replace('_', ' ')}" for cause, count in table.causes.items())


def key_of(sample: Sample, named: bool = True) -> str:
    """The key's values, with their names unless ``named`` is False (a table's heading can carry them)."""
    if not named and sample.key:
        return ", ".join(shown(value, 60) for value in sample.key.values())
    return ", ".join(f"{shown(name)}={shown(value, 60)}" for name, value in sample.key.items()) or "(no key)"


def rows_of(table: TableReport) -> str:
    """ "287 of 287" (in the table of expected), or "-" where rows were not counted."""
    expected, actual = table.scope.rows_expected, table.scope.rows_actual
    return "-" if expected is None or actual is None else f"{actual:,} of {expected:,}"
