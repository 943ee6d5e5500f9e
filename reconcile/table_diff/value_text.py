"""One text per value, whatever form it is written in: how values without a type compare with values of one.

A csv or json file holds texts. Casting them to the other side's type would round them (5.4 to an integer 5), cut them
(13:45 of a date) or drop a part (+05 of a time). So both sides become texts here: equal exactly if the values are. A
text that is not exactly a value of the type stays as it is, and equals only itself.

Documented exceptions of equality: -0 equals 0, a number's scale does not count, JSON names have no order.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from reconcile.engines.base import Column, Engine
from reconcile.errors import EvaluationFailed, NotComparable
from reconcile.table_diff.json_text import canonical_json, plain_number

if TYPE_CHECKING:
    from reconcile.engines.duckdb import DuckDBEngine

_DATE = r"\d{4,7}-\d{2}-\d{2}( \(BC\))?"
_TIME = r"\d{2}:\d{2}(:\d{2}(\.\d{1,6}0*)?)?"
_ZONE = r" ?(Z|UTC|[+-]\d{2}(:?\d{2}(:\d{2})?)?)"
_SHORT_NUMBER = r"0|-?[1-9]\d*|-?(0|[1-9]\d*)\.\d*[1-9]"
_SIGNED = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
EXACT_NUMBERS = frozenset({*_SIGNED, *(f"U{name}" for name in _SIGNED), "DECIMAL", "BIGNUM"})
UNBOUNDED = "DECIMAL(38, 10)"  # by which a condition sees a number of any length, if it is one


class Form(StrEnum):
    """How the values of a type are written."""

    TEXT = "text"
    NUMBER = "number"
    DOUBLE = "double"
    REAL = "real"
    BOOLEAN = "boolean"
    DATE = "date"
    TIMESTAMP = "timestamp"
    NANOSECONDS = "nanoseconds"
    TIMESTAMPTZ = "timestamptz"
    TIME = "time"
    UUID = "uuid"
    JSON = "json"


_FORMS = {
    "DOUBLE": Form.DOUBLE,
    "FLOAT": Form.REAL,
    "BOOLEAN": Form.BOOLEAN,
    "DATE": Form.DATE,
    "TIMESTAMP": Form.TIMESTAMP,
    "TIMESTAMP_S": Form.TIMESTAMP,
    "TIMESTAMP_MS": Form.TIMESTAMP,
    "TIMESTAMP_NS": Form.NANOSECONDS,
    "TIMESTAMP WITH TIME ZONE": Form.TIMESTAMPTZ,
    "TIME": Form.TIME,
    "UUID": Form.UUID,
    "JSON": Form.JSON,
    **dict.fromkeys(EXACT_NUMBERS, Form.NUMBER),
}

# For texts that are not as DuckDB prints the value. Of a text that is not exactly one, the text itself.
_MACROS = rf"""
create or replace temp macro boolean_form(t) as
  case when lower(trim(t)) in ('true', 't', 'yes', 'y', 'on', '1') then 'true'
       when lower(trim(t)) in ('false', 'f', 'no', 'n', 'off', '0') then 'false' else t end;

-- Postgres prints 0044-03-15 01:00:00 BC, DuckDB 0044-03-15 (BC) 01:00:00, and reads the former without its BC
create or replace temp macro before_christ(t) as regexp_replace(t, '^(\d+-\d\d-\d\d)([^(]*) BC$', '\1 (BC)\2');

create or replace temp macro date_form(t) as
  case when regexp_full_match(before_christ(trim(t)), '{_DATE}([ T]00:00(:00(\.0+)?)?)?')
       then coalesce(cast(try_cast(regexp_extract(before_christ(trim(t)), '^{_DATE}') as date) as varchar), t)
       else t end;
create or replace temp macro timestamp_form(t) as
  case when regexp_full_match(before_christ(trim(t)), '{_DATE}([ T]{_TIME})?')
       then coalesce(cast(try_cast(before_christ(trim(t)) as timestamp) as varchar), t) else t end;
create or replace temp macro nanoseconds_form(t) as
  case when regexp_full_match(before_christ(trim(t)), '{_DATE}([ T]{_TIME.replace("1,6", "1,9")})?')
       then coalesce(cast(try_cast(before_christ(trim(t)) as timestamp_ns) as varchar), t) else t end;
create or replace temp macro timestamptz_form(t) as
  case when regexp_full_match(before_christ(trim(t)), '{_DATE}[ T]{_TIME}{_ZONE}')
       then coalesce(cast(try_cast(before_christ(trim(t)) as timestamp with time zone) as varchar), t) else t end;
create or replace temp macro time_form(t) as
  case when regexp_full_match(trim(t), '{_TIME}')
       then coalesce(cast(try_cast(trim(t) as time) as varchar), t) else t end;
create or replace temp macro uuid_form(t) as coalesce(cast(try_cast(trim(t) as uuid) as varchar), t);
"""


@dataclass(frozen=True)
class Cast:
    """The form in which a column's values are compared, and the DuckDB type that has it."""

    form: Form
    type: str

    @property
    def base(self) -> str:
        return self.type.split("(")[0]

    def of_typed(self, expression: str, column: Column) -> str:
        """A value of a column with a type, as text."""
        if _form_of(column) is not self.form:
            return self.of_text(f"cast({expression} as varchar)")
        return _printed(self.form, expression, column.type)

    def of_text(self, expression: str) -> str:
        """A text as the one text of its value; unchanged if it is not exactly a value of the type."""
        match self.form:
            case Form.TEXT:
                return expression
            case Form.JSON:
                return f"json_form({expression})"
            case Form.NUMBER:
                short = f"regexp_full_match({expression}, '{_SHORT_NUMBER}')"
                return f"case when {short} then {expression} else number_form({expression}) end"
            case Form.DOUBLE | Form.REAL:
                same = f"cast(try_cast({expression} as {self.type}) as varchar) = {expression}"
                value = _printed(self.form, f"try_cast(trim({expression}) as {self.type})", self.type)
                exact = f"{same} or is_exact_{self.form}({expression}) = 'true'"
                return f"case when {exact} then {value} else {expression} end"
            case _:
                same = f"cast(try_cast({expression} as {self.type}) as varchar) = {expression}"
                return f"case when {same} then {expression} else {self.form}_form({expression}) end"

    def exactly(self, expression: str) -> str:
        """A text as a value of the type; NULL for a text that is not exactly one."""
        kind = UNBOUNDED if self.type == "DECIMAL" else self.type
        tried = f"try_cast(before_christ(trim({expression})) as {kind})"
        same = f"{self.of_text(expression)} = {_printed(self.form, tried, kind)}"
        return f"case when {same} then {tried} end"


def _printed(form: Form, expression: str, kind: str) -> str:
    if form in (Form.DOUBLE, Form.REAL):  # minus zero is zero
        return f"cast(case when {expression} = 0 then cast(0 as {kind}) else {expression} end as varchar)"
    text = f"cast({expression} as varchar)"
    if form is Form.NUMBER and kind.startswith("DECIMAL"):
        return f"case when contains({text}, '.') then rtrim(rtrim({text}, '0'), '.') else {text} end"
    return f"json_form({text})" if form is Form.JSON else text


def _form_of(column: Column) -> Form:
    return Form.TEXT if column.type.endswith("]") else form_of(column.base)


def form_of(base: str) -> Form:
    """The form of a DuckDB type, by its name without length or scale."""
    return _FORMS.get(base, Form.TEXT)


def cast_to(engine: Engine, spelled: str) -> Cast:
    """The form of a type that the user named, as Postgres or DuckDB spell it. Raises NotComparable for no such type."""
    if spelled.strip().lower() in ("numeric", "decimal", "number"):
        return Cast(Form.NUMBER, "DECIMAL")  # of any number of digits, as in Postgres; DuckDB alone takes 18 and 3
    try:
        [column] = engine.query_columns(f"select cast(null as {spelled}) as c")
    except (EvaluationFailed, ValueError) as error:
        raise NotComparable(
            f"--cast: there is no type {spelled!r}; for example bigint, numeric, date or uuid"
        ) from error
    return Cast(_form_of(column), column.type)


def make_forms(engine: DuckDBEngine) -> None:
    """Define the functions of the forms in a DuckDB session."""
    engine.define("json_form", canonical_json)
    engine.define("number_form", number_form)
    engine.define("is_exact_double", lambda text: str(is_exact(text, float, 17)).lower())
    engine.define("is_exact_real", lambda text: str(is_exact(text, _single, 9)).lower())
    engine.execute(_MACROS)


_WORDS = {"nan": "NaN", "inf": "Infinity", "infinity": "Infinity", "-inf": "-Infinity", "-infinity": "-Infinity"}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,9})?", re.ASCII)


def number_form(text: str) -> str:
    """An exact number without zeros that do not count; unchanged if it is none."""
    short = text.strip(" ")
    if word := _WORDS.get(short.lower().removeprefix("+")):
        return word
    return plain_number(short) if _NUMBER.fullmatch(short) else text


def is_exact(text: str, rounded: Callable[[str], float], digits: int) -> bool:
    """Whether a text denotes a floating point number: it is that number's print with so many digits, or fewer.

    0.1 and 0.10000000000000001 are prints of one double; 0.100000000000000006, read as the same double, is none.
    """
    short = text.strip(" ")
    if short.lower().removeprefix("+") in _WORDS:
        return True
    if not _NUMBER.fullmatch(short):
        return False
    number, value = Decimal(short), rounded(short)
    significant = len("".join(map(str, number.as_tuple().digits)).strip("0"))
    if not math.isfinite(value) or significant > digits:
        return False
    return Decimal(f"{value:.{max(1, significant)}g}") == number


def _single(text: str) -> float:
    try:
        return float(struct.unpack("f", struct.pack("f", float(text)))[0])
    except OverflowError:
        return math.inf
