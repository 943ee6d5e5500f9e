"""Both sides of a diff under LEFT's column names, with values in one form if only one side has types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from reconcile.engines.base import Column, Engine
from reconcile.engines.identifiers import quote
from reconcile.errors import NotComparable
from reconcile.table_diff.guests import SCRATCH, Guest
from reconcile.table_diff.text_files import FILE, LINE, TextCopy
from reconcile.table_diff.value_text import EXACT_NUMBERS, Cast, Form, cast_to, form_of


@dataclass(frozen=True)
class LinedUp:
    """One side before it is lined up: ``select`` reads it, ``names`` maps its column names to LEFT's.

    ``numbers`` are the columns of a Postgres numeric without a scale (or of more than 38 digits): texts in DuckDB.
    """

    select: str
    columns: list[Column]
    names: dict[str, str] = field(default_factory=dict)
    text: TextCopy | None = None
    has_json: bool = False  # its lists and structs are JSON: a json file
    numbers: frozenset[str] = frozenset()
    lined_up: str = ""  # the table for its values in their forms

    @classmethod
    def of(cls, guest: Guest, side: str, names: dict[str, str]) -> LinedUp:
        numbers = frozenset(
            theirs.name
            for own, theirs in zip(guest.own, guest.columns, strict=True)
            if own.base == "numeric" and theirs.type == "VARCHAR"
        )
        is_json = guest.side.files is not None and guest.side.files.format == "json"
        table = f"{SCRATCH}.{side}_values"
        return cls(f"select * from {guest.source}", guest.columns, names, guest.text, is_json, numbers, table)

    def name(self, column: Column) -> str:
        return self.names.get(column.name, column.name)


def known_casts(engine: Engine, casts: dict[str, str], sides: Sequence[LinedUp]) -> dict[str, Cast]:
    """The types that the user named, per column. Raises NotComparable for an unknown column or type."""
    found = {}
    for name, spelled in casts.items():
        for side in sides:
            need_column(name, [side.name(column) for column in side.columns], "to cast")
        found[name] = cast_to(engine, spelled)
    return found


def shared_forms(sides: Sequence[LinedUp], casts: dict[str, Cast]) -> dict[str, Cast]:
    """The columns that are compared as texts of one form; all others keep their types."""
    left, right = ({side.name(column): column for column in side.columns} for side in sides)
    forms = {name: cast for name, cast in casts.items() if name in left and name in right}
    for name in left:
        if name in right and name not in forms:
            cast = _form_of_pair(left[name], right[name], sides)
            if cast is not None:
                forms[name] = cast
    return forms


def _form_of_pair(left: Column, right: Column, sides: Sequence[LinedUp]) -> Cast | None:
    texts = [side.text is not None for side in sides]
    if all(texts):
        return None  # texts are compared as they are
    if any(texts):
        typed, its_side, text_side = (right, sides[1], sides[0]) if texts[0] else (left, sides[0], sides[1])
        if typed.name in its_side.numbers:
            return Cast(Form.NUMBER, "DECIMAL")
        if text_side.has_json and _nested(typed):
            return Cast(Form.JSON, typed.type)
        return Cast(Form.TEXT if _nested(typed) else form_of(typed.base), typed.type)
    numbers = [column.name in side.numbers for column, side in zip((left, right), sides, strict=True)]
    if any(numbers) and all(
        number or column.base in EXACT_NUMBERS for number, column in zip(numbers, (left, right), strict=True)
    ):
        return Cast(Form.NUMBER, "DECIMAL")
    if left.base == right.base == "JSON":
        return Cast(Form.JSON, "JSON")
    return None


def _nested(column: Column) -> bool:
    return column.type.endswith("]") or column.base in ("STRUCT", "MAP", "UNION")


def columns_after(side: LinedUp, forms: dict[str, Cast]) -> list[Column]:
    """A side's columns as ``lined_up`` selects them."""
    if side.names:
        for name in side.names:
            need_column(name, [column.name for column in side.columns], "to rename")
    return [
        Column(side.name(c), "VARCHAR", "VARCHAR")
        if side.name(c) in forms
        else Column(**{**c.__dict__, "name": side.name(c)})
        for c in side.columns
    ]


def lined_up(side: LinedUp, select: str, forms: dict[str, Cast], where: str | None = None, places: bool = False) -> str:
    """``select`` with LEFT's names and values in their forms; only the rows that ``where`` holds for.

    ``where`` sees values with types. A row with a text that is not exactly a value of its type is kept if the condition
    cannot be decided without it. With ``places`` each row's file and line come first (of a text copy).
    """
    if not forms and not side.names and where is None and not places and side.text is None:
        return select
    head = [quote(FILE), quote(LINE)] if places else []
    if where is None:
        listed = [f"{_value(side, c, quote(c.name), forms)} as {quote(side.name(c))}" for c in side.columns]
        return f"select {', '.join([*head, *listed])} from (\n{select}\n) as lined_up"
    typed, kept, inexact = [], [], ["false"]
    for i, column in enumerate(side.columns):
        name, cast, value = side.name(column), forms.get(side.name(column)), quote(column.name)
        if cast is not None and side.text is not None and cast.form is not Form.TEXT:
            raw = quote(f"reconcile text {i}")
            typed += [f"{cast.exactly(value)} as {quote(name)}", f"{value} as {raw}"]
            kept.append(f"{_value(side, column, raw, forms)} as {quote(name)}")
            inexact.append(f"({raw} is not null and {quote(name)} is null)")
        else:
            typed.append(f"{value} as {quote(name)}")
            kept.append(f"{_value(side, column, quote(name), forms)} as {quote(name)}")
    condition = f"coalesce(({where}), {' or '.join(inexact)})"
    return (
        f"select {', '.join([*head, *kept])} from (\nselect {', '.join([*head, *typed])} from (\n{select}\n) as named"
        f"\n) as lined_up where {condition}"
    )


def _value(side: LinedUp, column: Column, expression: str, forms: dict[str, Cast]) -> str:
    cast = forms.get(side.name(column))
    if cast is None:
        return expression
    if side.text is not None or column.name in side.numbers:
        return cast.of_text(expression)
    if cast.form is Form.JSON and _nested(column):
        return cast.of_text(f"cast(to_json({expression}) as varchar)")
    return cast.of_typed(expression, column)


def need_column(name: str, names: Sequence[str], purpose: str) -> None:
    """Raise NotComparable, with the name that was probably meant, if there is no such column."""
    if name not in names:
        close = get_close_matches(name, names, n=1) or [n for n in names if n.lower() == name.lower()]
        meant = f" (did you mean {close[0]!r}?)" if close else ""
        raise NotComparable(f"no column {name!r} {purpose}{meant}: the columns are {', '.join(names)}")
