"""Where differing values are in csv and json files: file, line (json: record) and column, and why a text is inexact."""

from __future__ import annotations

from collections.abc import Sequence

from reconcile.compare.comparison import Compared
from reconcile.engines.base import Engine
from reconcile.engines.identifiers import quote
from reconcile.report.model import Sample
from reconcile.table_diff.line_up import LinedUp
from reconcile.table_diff.text_files import FILE, LINE
from reconcile.table_diff.value_text import Cast, Form

_MOST = 10  # places that are named


def places_of(
    engine: Engine, sides: Sequence[LinedUp], forms: dict[str, Cast], key: tuple[str, ...], found: Compared
) -> list[str]:
    """One message per differing row of a text file, for the first samples that have one."""
    messages = [
        message
        for sample in found.samples[:_MOST]
        if key and all(value is not None for value in sample.key.values())
        for side in sides
        for message in _places(engine, side, forms, key, sample)
    ]
    return list(dict.fromkeys(messages))[:_MOST]


def _places(engine: Engine, side: LinedUp, forms: dict[str, Cast], key: tuple[str, ...], sample: Sample) -> list[str]:
    assert side.text is not None
    same = " and ".join(f"{quote(name)} = ${i}" for i, name in enumerate(key, 1))
    rows = engine.rows(
        f"select {quote(FILE)}, {quote(LINE)} from {side.lined_up} where {same} order by 1, 2 limit 2",
        [sample.key[name] for name in key],
    )
    unit = "record" if side.has_json else "line"
    named = ", ".join(f"{name} {value}" for name, value in sample.key.items())
    messages = []
    for file, line in rows:
        place = f"{side.text.files[file]} {unit} {line} ({named})"
        columns = _inexact(engine, side, forms, (file, line)) if sample.kind != "missing" else []
        differing = list(sample.columns) if sample.kind == "changed" else []
        named_columns = [
            *columns,
            *(name for name in differing if not any(one.startswith(f"{name} ") for one in columns)),
        ]
        messages.append(f"{place}: {', '.join(named_columns) if named_columns else sample.kind}")
    return messages


def _inexact(engine: Engine, side: LinedUp, forms: dict[str, Cast], place: tuple[int, int]) -> list[str]:
    """The columns of a record whose text is not exactly a value of the other side's type, with that type."""
    found = []
    for column in side.columns:
        cast = forms.get(side.name(column))
        if cast is None or cast.form in (Form.TEXT, Form.JSON):
            continue
        value = quote(column.name)
        [(text, exact)] = engine.rows(
            f"select {value}, {value} is null or {cast.exactly(value)} is not null "
            f"from (\n{side.select}\n) as placed where {quote(FILE)} = $1 and {quote(LINE)} = $2",
            list(place),
        )
        if not exact:
            found.append(f"{side.name(column)} is {text[:60]!r}, which is not exactly a value of {cast.type}")
    return found
