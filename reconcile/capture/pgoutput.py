"""pgoutput's messages (protocol 1, values as text): https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

Row = dict[str, str | None]


@dataclass(frozen=True)
class RelationMessage:
    """A relation as it was when its next changes were made: the columns that are published, in order, with their types
    (oid, modifier); ``identity``: the letter of its replica identity; ``key``: the columns that belong to it."""

    oid: int
    columns: tuple[str, ...]
    identity: str = "d"
    key: frozenset[str] = frozenset()
    types: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Change:
    """One row of a relation before and after; None if that side does not exist or was not sent.

    ``kind``: I, U or D. An update sends its old row only if the replica identity is full or the key changed. A value
    that was not sent (unchanged, and stored out of line) is missing from its row.
    """

    oid: int
    before: Row | None
    after: Row | None
    kind: str = "I"


@dataclass(frozen=True)
class Truncate:
    oids: tuple[int, ...]


Message = RelationMessage | Change | Truncate


def decode(data: bytes, shapes: Mapping[int, RelationMessage]) -> Message | None:
    """A message about rows or their relation; None for any other. ``shapes``: the relations described before it.

    Raises KeyError if the relation of a change was not described, ValueError if it is not such a message.
    """
    kind = data[:1]
    if kind == b"R":
        return _shape(data)
    if kind == b"T":
        count, _options = struct.unpack_from(">IB", data, 1)
        return Truncate(struct.unpack_from(f">{count}I", data, 6))
    if kind not in (b"I", b"U", b"D"):
        return None
    (oid,) = struct.unpack_from(">I", data, 1)
    sides: dict[bytes, Row] = {}
    at = 5
    while at < len(data):
        side = data[at : at + 1]
        sides[side], at = _row(data, at + 1, shapes[oid].columns)
    whole, after = sides.get(b"O"), sides.get(b"N")
    if whole is not None and after is not None:
        after = {**whole, **after}  # what was not sent is unchanged
    return Change(oid, whole if whole is not None else sides.get(b"K"), after, kind.decode())


def commit_end(data: bytes) -> str:
    """The position (LSN) at which a commit ends in the log, from its message."""
    high, low = struct.unpack_from(">II", data, 10)
    return f"{high:X}/{low:X}"


def _shape(data: bytes) -> RelationMessage:
    (oid,) = struct.unpack_from(">I", data, 1)
    at = 5
    for _ in range(2):  # the schema's name, the table's
        at = data.index(b"\0", at) + 1
    identity = chr(data[at])
    (count,) = struct.unpack_from(">H", data, at + 1)
    at += 3
    names, key, types = [], set(), []
    for _ in range(count):
        in_key = data[at] & 1
        end = data.index(b"\0", at + 1)
        names.append(_text(data[at + 1 : end]))
        if in_key:
            key.add(names[-1])
        types.append(struct.unpack_from(">Ii", data, end + 1))
        at = end + 9
    return RelationMessage(oid, tuple(names), identity, frozenset(key), tuple(types))


def _row(data: bytes, at: int, columns: tuple[str, ...]) -> tuple[Row, int]:
    (count,) = struct.unpack_from(">H", data, at)
    if count != len(columns):
        raise ValueError(f"a row of {count} values for {len(columns)} columns")
    at += 2
    row: Row = {}
    for name in columns:
        kind = data[at : at + 1]
        at += 1
        if kind == b"n":
            row[name] = None
        elif kind == b"t":
            (length,) = struct.unpack_from(">I", data, at)
            row[name] = _text(data[at + 4 : at + 4 + length])
            at += 4 + length
        elif kind != b"u":
            raise ValueError(f"a value of the unknown kind {kind!r}")
    return row, at


def _text(data: bytes) -> str:
    """A database of encoding SQL_ASCII holds any bytes: those that are not UTF-8 become surrogates, which no statement
    accepts, so that they are never taken for another value."""
    return data.decode(errors="surrogateescape")
