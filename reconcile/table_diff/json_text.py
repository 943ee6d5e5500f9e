"""JSON as text: numbers keep every digit, and equal values have one text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from io import TextIOBase
from typing import Any

_BLANKS = " \t\r\n"
_CHUNK = 1 << 20  # characters
_LONGEST = 256_000_000  # characters of one record: more is a brace that is not closed
_SURROGATE = re.compile("[\ud800-\udfff]")  # half a pair is no text to DuckDB: it stays escaped
_PLAIN_EXPONENT = 9_999  # a number beyond 10 to this power is compared by its text


class JsonError(ValueError):
    """Invalid JSON in a file: ``record`` counts from 1."""

    def __init__(self, message: str, record: int) -> None:
        super().__init__(message)
        self.record = record


class Number(str):
    """A number as JSON has it, digit by digit."""

    __slots__ = ()


Pairs = list[tuple[str, Any]]


class _Object(list[tuple[str, Any]]):
    """An object's names and values, in its order."""


_DECODER = json.JSONDecoder(object_pairs_hook=_Object, parse_int=Number, parse_float=Number, parse_constant=Number)


def json_records(text: TextIOBase) -> Iterator[Pairs]:
    """The objects of a file: one after another, or of one array. Raises JsonError. Memory stays flat."""
    source = _Buffer(text)
    count, in_array, ended = 0, False, False
    while character := source.next_character():
        if ended:
            raise JsonError("there is more after the end of the array", count)
        if character == "[" and count == 0 and not in_array:
            in_array = True
            source.skip()
        elif in_array and character in ",]":
            ended = character == "]"
            source.skip()
        elif character == "{":
            count += 1
            values = source.decoded(count)
            names = {name for name, _ in values}
            if len(names) < len(values):
                raise JsonError("a name occurs twice in it", count)
            yield values
        else:
            raise JsonError("not an object", count + 1)
    if in_array and not ended:
        raise JsonError("the array is cut off", count)


class _Buffer:
    """A text that is read in chunks, as far as the values in it need."""

    def __init__(self, text: TextIOBase) -> None:
        self._text, self._buffer, self._at = text, "", 0

    def next_character(self) -> str:
        """The next character that is no blank; empty at the end."""
        while True:
            while self._at < len(self._buffer) and self._buffer[self._at] in _BLANKS:
                self._at += 1
            if self._at < len(self._buffer):
                return self._buffer[self._at]
            self._buffer, self._at = self._text.read(_CHUNK), 0
            if not self._buffer:
                return ""

    def skip(self) -> None:
        self._at += 1

    def decoded(self, record: int) -> Pairs:
        """The object that begins here."""
        while True:
            try:
                values, self._at = _DECODER.raw_decode(self._buffer, self._at)
            except RecursionError:
                raise JsonError("nested too deeply", record) from None
            except json.JSONDecodeError as error:
                rest = self._buffer[self._at :]
                more = self._text.read(max(_CHUNK, len(rest)))
                if not more or len(rest) > _LONGEST:
                    raise JsonError(f"not valid JSON ({error.msg}), or cut off", record) from None
                self._buffer, self._at = rest + more, 0
            else:
                found: Pairs = values
                return found


def json_text(value: Any) -> str:
    """A value of a record as text: a text is itself, a number its digits, all else canonical JSON."""
    return str(value) if isinstance(value, str) else _canonical(value)


def canonical_json(text: str) -> str:
    """One text for equal JSON values: names in order, no blanks, numbers by value. Invalid JSON is unchanged."""
    try:
        return _canonical(_DECODER.decode(text))
    except (ValueError, RecursionError):
        return text


def _canonical(value: Any) -> str:
    if isinstance(value, Number):
        return plain_number(value)
    if isinstance(value, _Object):
        # names that occur twice stay in their order: which one counts differs between readers
        pairs = sorted(value, key=lambda pair: pair[0])
        return "{" + ",".join(f"{_quoted(name)}:{_canonical(inner)}" for name, inner in pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_canonical, value)) + "]"
    return _quoted(value)


def _quoted(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isascii() or not _SURROGATE.search(text) else json.dumps(value)


def plain_number(text: str) -> str:
    """A number without an exponent and without zeros that do not count; unchanged if it is too long for that."""
    try:
        number = Decimal(text)
    except ArithmeticError:
        return text
    if not number.is_finite() or (number and abs(number.adjusted()) > _PLAIN_EXPONENT):
        return text
    if not number:
        return "0"
    plain = format(number, "f")
    plain = plain.rstrip("0").rstrip(".") if "." in plain else plain
    return plain.removeprefix("+")
