"""pgoutput's messages (protocol 1, values as text): https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

Row = dict[str, str | None]


@dataclass(frozen=True)
class RelationMessage:
    """A relation as a session of decoding describes it: the columns that it publishes, in order."""

    oid: int
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Change:
    """One row of a relation before and after; None where there is no such side, or where it was not sent.

    An update sends its old row only where the replica identity is full or the key changed. A value that was not sent
    (unchanged, and stored apart) is missing from its row.
    """

    oid: int
    before: Row | None
    after: Row | None


@dataclass(frozen=True)
class Truncate:
    oids: tuple[int, ...]


Message = RelationMessage | Change | Truncate


def decode(data: bytes, shapes: Mapping[int, RelationMessage]) -> Message | None:
    """A message about rows or their relation; None for any other. ``shapes`` are those told of before it.

    Raises KeyError where a change's relation has not been described, ValueError for what is no such message.
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
    return Change(oid, whole if whole is not None else sides.get(b"K"), after)


def commit_end(data: bytes) -> str:
    """Where a commit ends in the log (an LSN), of its message."""
    high, low = struct.unpack_from(">II", data, 10)
    return f"{high:X}/{low:X}"


def _shape(data: bytes) -> RelationMessage:
    (oid,) = struct.unpack_from(">I", data, 1)
    at = 5
    for _ in range(2):  # the schema's name, the table's
        at = data.index(b"\0", at) + 1
    (count,) = struct.unpack_from(">H", data, at + 1)  # after the replica identity's letter
    at += 3
    names = []
    for _ in range(count):
        end = data.index(b"\0", at + 1)  # after a column's flags
        names.append(data[at + 1 : end].decode())
        at = end + 9  # its type and modifier
    return RelationMessage(oid, tuple(names))


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
            row[name] = data[at + 4 : at + 4 + length].decode()
            at += 4 + length
        elif kind != b"u":
            raise ValueError(f"a value of the unknown kind {kind!r}")
    return row, at
