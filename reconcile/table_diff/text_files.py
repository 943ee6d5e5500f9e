"""csv and json files as text: every record checked and counted here, then copied into one form that DuckDB reads.

Nothing is guessed from the values: no types, no comments, no other words for NULL. In csv an empty field without quotes
is NULL and ``""`` is the empty text, as in Postgres' COPY ... CSV. In json null and an absent name are NULL, and every
other value is its text, digit by digit. The copy holds each record's file and first line (json: its number) first.
"""

from __future__ import annotations

import gzip
import io
import re
import sys
import zlib
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_BE, BOM_UTF32_LE
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from reconcile.errors import NotComparable
from reconcile.table_diff.endpoints import Files
from reconcile.table_diff.json_text import JsonError, json_records, json_text

FILE, LINE = "reconcile file", "reconcile line"  # columns of the copy, before those of the records
_DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_BOMS = {
    BOM_UTF8: "utf-8-sig",
    BOM_UTF32_LE: "utf-32",  # begins as UTF-16's does, so it is looked for first
    BOM_UTF32_BE: "utf-32",
    BOM_UTF16_LE: "utf-16",
    BOM_UTF16_BE: "utf-16",
}
_LONGEST = 256_000_000  # characters of one record: more is a quote that is not closed, not a value


@dataclass(frozen=True)
class Dialect:
    """How csv files are written, as given by the user. None: recognised from the first line (delimiter) or the byte
    order mark (encoding), else a comma and UTF-8."""

    delimiter: str | None = None
    encoding: str | None = None
    null_text: str = ""


@dataclass(frozen=True)
class TextCopy:
    """The records of a side's files in one csv file without a header, for ``read_csv``."""

    path: Path
    columns: tuple[str, ...]
    records: int
    longest: int  # bytes of the longest record
    delimiter: str
    null_text: str
    ragged: bool  # a record may lack fields at its end: they are NULL
    notes: tuple[str, ...]  # what was recognised, per file
    files: tuple[str, ...]


@dataclass
class _Copying:
    """The state of a copy while its files are read one after another."""

    out: IO[str]
    dialect: Dialect
    columns: list[str] = field(default_factory=list)
    delimiter: str = ","
    records: int = 0
    longest: int = 0
    ragged: bool = False
    notes: list[str] = field(default_factory=list)

    def write(self, file: int, line: int, record: str) -> None:
        text = f"{file}{self.delimiter}{line}{self.delimiter}{record}\n"
        self.out.write(text)
        self.records += 1
        if len(text) * 4 > self.longest:
            self.longest = max(self.longest, len(text.encode()))


def copy_text(files: Files, copy: Path, dialect: Dialect) -> TextCopy:
    """Check and copy the records of csv or json files. Raises NotComparable with file and line for what is not valid.

    Memory stays flat; the copy is as large as the files. ``files`` without paths is stdin: json if it begins with {,
    else csv.
    """
    names = [str(path) for path in files.paths] or ["stdin"]
    with copy.open("w", encoding="utf-8", newline="") as out:
        copying = _Copying(out, dialect)
        for number, name in enumerate(names):
            with _opened(files.paths[number] if files.paths else None, name) as stream:
                is_json = files.format == "json" or (not files.paths and _peek(stream).lstrip()[:1] == b"{")
                read = _copy_json if is_json else _copy_csv
                before = copying.records
                try:
                    noted = read(stream, number, name, copying)
                except UnicodeDecodeError as error:
                    raise NotComparable(
                        f"{name} is not {error.encoding.upper()} (after {copying.records - before:,} records): "
                        "give its encoding with --encoding"
                    ) from error
                except UnicodeEncodeError as error:
                    raise NotComparable(
                        f"{name} record {copying.records - before + 1} holds half a surrogate pair, which is no text"
                    ) from error
                copying.notes.append(f"{name}: {', '.join([*noted, f'{copying.records - before:,} records'])}")
    _refuse_duplicates(copying.columns, ", ".join(names))
    return TextCopy(
        copy,
        tuple(copying.columns),
        copying.records,
        copying.longest,
        copying.delimiter,
        dialect.null_text,
        copying.ragged,
        tuple(copying.notes),
        tuple(names),
    )


@contextmanager
def _opened(path: Path | None, name: str) -> Iterator[io.BufferedReader[Any]]:
    try:
        if path is None:
            stdin: io.BufferedReader[Any] = io.BufferedReader(sys.stdin.buffer)
            yield stdin
            stdin.detach()
            return
        with path.open("rb") as raw:
            if path.suffix.lower() != ".gz":
                yield raw
                return
            with gzip.open(raw) as unpacked, io.BufferedReader(unpacked) as stream:
                yield stream
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise NotComparable(f"{name} is cut off or no gzip file ({error}): make it again") from error
    except OSError as error:
        raise NotComparable(
            f"cannot read {name} ({error.strerror or error}): check its path and permissions"
        ) from error


def _peek(stream: io.BufferedReader[Any]) -> bytes:
    return stream.peek(4096)


def _decoded(stream: io.BufferedReader[Any], dialect: Dialect, noted: list[str]) -> tuple[str, str]:
    """The encoding and the line ending of a stream, which is not read on by this."""
    start = _peek(stream)
    mark = next((encoding for bom, encoding in _BOMS.items() if start.startswith(bom)), None)
    encoding = dialect.encoding or mark or "utf-8"
    if mark is not None:
        noted.append("byte order mark")
    if encoding != "utf-8":
        noted.append(f"encoding {encoding.removesuffix('-sig')}")
    try:
        head = start.decode(encoding, errors="ignore")
    except (LookupError, TypeError) as error:
        raise NotComparable(f"--encoding {encoding}: unknown; for example utf-8, latin-1, cp1252 or utf-16") from error
    ending = re.search(r"\r\n|\n|\r(?!$)", head)
    return encoding, "\r" if ending is not None and ending[0] == "\r" else "\n"


def _copy_csv(stream: io.BufferedReader[Any], number: int, name: str, copying: _Copying) -> list[str]:
    noted: list[str] = []
    encoding, ending = _decoded(stream, copying.dialect, noted)
    text = io.TextIOWrapper(stream, encoding=encoding, newline=ending)
    records = _csv_records(text, name, ending)
    _, header = next(records, (0, ""))
    header = header.removeprefix("\ufeff")
    if not header:
        raise NotComparable(f"{name} has no header line: its first line must name the columns")
    delimiter = copying.dialect.delimiter or _delimiter_of(header)
    columns = [field or f"column{i}" for i, field in enumerate(_fields(header, delimiter, f"{name} line 1"), 1)]
    if delimiter != "," or copying.dialect.delimiter:
        noted.append(f"delimiter {_DELIMITERS.get(delimiter, delimiter)}")
    if number and (columns, delimiter) != (copying.columns, copying.delimiter):
        raise NotComparable(f"{name} has other columns than the file before it: {', '.join(columns)}")
    copying.columns, copying.delimiter = columns, delimiter
    _copy_records(records, number, name, copying)
    text.detach()
    return noted


def _copy_records(records: Iterator[tuple[int, str]], number: int, name: str, copying: _Copying) -> None:
    delimiter, width = copying.delimiter, len(copying.columns)
    empty = 0  # the first of the empty lines just read: at the end of a file they are no records
    for line, text in records:
        record = text
        if not record and width > 1:
            empty = empty or line
            continue
        if empty:
            raise NotComparable(f"{name} line {empty} is empty, and the header names {width} columns")
        if '"' in record or "\r" in record:
            fields = len(_fields(record, delimiter, f"{name} line {line}"))
            if "\r" in record:  # a line ending to DuckDB, unless it is quoted
                record = _quoted_returns(record, delimiter)
        else:
            fields = record.count(delimiter) + 1
        if fields != width:
            raise NotComparable(
                f"{name} line {line} has {fields} field{'s' * (fields != 1)}, and the header has {width} (delimiter "
                f"{_DELIMITERS.get(delimiter, delimiter)}; give another with --delimiter)"
            )
        copying.write(number, line, record)


def _csv_records(text: io.TextIOWrapper, name: str, ending: str) -> Iterator[tuple[int, str]]:
    """The first line's number and the text of each record, without its line ending."""
    number = 0
    for first in text:
        number += 1
        start, record = number, first
        if first.count('"') % 2:
            parts, open_quote, length = [first], True, len(first)
            while open_quote:
                more = next(text, None)
                if more is None or length > _LONGEST:
                    raise NotComparable(f"{name} line {start}: a double quote is never closed (RFC 4180)")
                number += 1
                length += len(more)
                parts.append(more)
                open_quote = more.count('"') % 2 == 0
            record = "".join(parts)
        if ending == "\n":
            yield start, record[:-2] if record.endswith("\r\n") else record.removesuffix("\n")
        else:
            yield start, record.removesuffix("\r")


def _field_pattern(delimiter: str) -> re.Pattern[str]:
    return re.compile(rf'("[^"]*+(?:""[^"]*+)*+"|[^"{re.escape(delimiter)}]*+)({re.escape(delimiter)}|\Z)')


def _split_fields(record: str, delimiter: str, where: str) -> list[str]:
    """The fields of a record with their quotes."""
    pattern, fields, at = _field_pattern(delimiter), [], 0
    while True:
        match = pattern.match(record, at)
        if match is None:
            raise NotComparable(f"{where}: a double quote inside a field that is not quoted as a whole (RFC 4180)")
        fields.append(match[1])
        at = match.end()
        if not match[2]:
            return fields


def _fields(record: str, delimiter: str, where: str) -> list[str]:
    parts = _split_fields(record, delimiter, where)
    return [part[1:-1].replace('""', '"') if part.startswith('"') else part for part in parts]


def _quoted_returns(record: str, delimiter: str) -> str:
    parts = _split_fields(record, delimiter, "")
    return delimiter.join(f'"{part}"' if "\r" in part and not part.startswith('"') else part for part in parts)


def _delimiter_of(header: str) -> str:
    """The delimiter of a header line: the comma if it holds one, else the first other one that it holds."""
    outside = re.sub(r'"[^"]*"', "", header)
    return next((delimiter for delimiter in _DELIMITERS if delimiter in outside), ",")


def _copy_json(stream: io.BufferedReader[Any], number: int, name: str, copying: _Copying) -> list[str]:
    noted: list[str] = []
    encoding, _ = _decoded(stream, copying.dialect, noted)
    text = io.TextIOWrapper(stream, encoding=encoding)
    place = {column: i for i, column in enumerate(copying.columns)}
    null = copying.dialect.null_text
    try:
        for record, values in enumerate(json_records(text), 1):
            fields = [null] * len(place)  # columns that occur later are padded by the reader
            for column, value in values:
                index = place.setdefault(column, len(place))
                if index == len(fields):
                    fields.append(null)
                if value is not None:
                    fields[index] = '"' + json_text(value).replace('"', '""') + '"'
            copying.write(number, record, ",".join(fields))
    except JsonError as error:
        raise NotComparable(f"{name} record {error.record}: {error}") from error
    copying.columns = list(place)
    copying.ragged = True
    text.detach()
    return noted


def _refuse_duplicates(columns: list[str], names: str) -> None:
    seen: dict[str, str] = {}
    for column in columns:
        if column.lower() in seen:
            raise NotComparable(
                f"{names} has the columns {seen[column.lower()]!r} and {column!r}: rename one, case does not count"
            )
        seen[column.lower()] = column
