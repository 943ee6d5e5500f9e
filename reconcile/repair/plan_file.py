"""A repair plan: exactly which rows would be written, bound to one database and sealed by its hash.

A plan file is JSON with one row per line, and is written and read line by line: a plan of any length takes the memory
of one row, and a file that is no plan is refused at its first line.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from reconcile.atomic_files import write_whole
from reconcile.errors import Refused

PLAN_VERSION = 3
CODEC_VERSION = 1  # 1: each value as its type prints it under ``Engine.pinned()``
_ROWS = ' "rows": [\n'
_LONGEST_HEAD, _LONGEST_ROW = 64 << 20, 1 << 30  # bytes of a line; a value of Postgres has at most 1 GB
VALID_FOR = timedelta(hours=24)
Values = dict[str, str | None]


@dataclass(frozen=True)
class PlannedRow:
    """One row to write. Values are text as the engine prints them; None is NULL.

    ``action`` is insert (no before), update or delete (no after). ``copies`` is 0 for a row that its key names, else
    the number of equal rows: of a key that occurs too often, or that is NULL.
    """

    action: str
    reason: str
    before: Values | None
    after: Values | None
    copies: int = 0


@dataclass(frozen=True)
class PlannedColumn:
    """A column of a table for which a plan was made, with its type as the database prints it."""

    name: str
    type: str
    collation: str | None = None
    generated: bool = False
    identity_always: bool = False


@dataclass(frozen=True)
class TableShape:
    """What a plan relies on beside the rows of its table. ``rules``: as ``Engine.table_rules`` lists them."""

    columns: tuple[PlannedColumn, ...]
    rules: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Dragged:
    """Rows of another table that a deletion changes: ``action`` is delete, set null or set default."""

    table: str
    action: str
    rows: int


@dataclass(frozen=True)
class PlannedTable:
    """What would be written into one table, and how many rows the table and its definition have.

    Rows are counted with their copies.
    """

    name: str
    unique_id: str
    relation: str
    key: tuple[str, ...]
    rows_expected: int
    rows_actual: int
    inserts: int
    updates: int
    deletes: int
    shape: TableShape
    dragged: tuple[Dragged, ...] = ()
    unneeded: int = 0  # copies that are deleted and inserted with equal values

    @property
    def written(self) -> int:
        return self.inserts + self.updates + self.deletes


@dataclass(frozen=True)
class RepairPlan:
    """The head of a plan; its rows are in a session or a file.

    ``database`` is the connection's identity, without user or password. ``codec`` is the version of how values are
    written as text.
    """

    plan_id: str
    target: str
    database: str
    created_at: str
    expires_at: str
    tables: tuple[PlannedTable, ...]
    codec: int = CODEC_VERSION


Rows = Iterable[tuple[int, PlannedRow]]  # each with the index of its table in the plan


class _Seal:
    """The hash of everything in a plan, row by row: the hash in an edited plan is not its own."""

    def __init__(self, plan: RepairPlan) -> None:
        self._hash = hashlib.sha256()
        self._add(asdict(plan))

    def rows(self, rows: Rows) -> Iterator[tuple[int, PlannedRow]]:
        """Pass the rows on, and add each to the hash."""
        for index, row in rows:
            self._add([index, vars(row)])
            yield index, row

    def hex(self) -> str:
        return self._hash.hexdigest()

    def _add(self, value: Any) -> None:
        self._hash.update(json.dumps(value, sort_keys=True, ensure_ascii=False).encode() + b"\n")


def new_plan(plan_id: str, target: str, database: str, tables: tuple[PlannedTable, ...]) -> RepairPlan:
    created = datetime.now(UTC).replace(microsecond=0)
    return RepairPlan(plan_id, target, database, created.isoformat(), (created + VALID_FOR).isoformat(), tables)


def write_plan(plan: RepairPlan, rows: Rows, path: Path) -> None:
    """Write a plan whole or not at all, one row per line, in flat memory. Raises Refused if it cannot be written."""
    seal = _Seal(plan)
    head = json.dumps({"plan_version": PLAN_VERSION, **asdict(plan)}, indent=1, ensure_ascii=False)

    def write(file: TextIO) -> None:
        file.write(head.removesuffix("\n}") + ",\n" + _ROWS)
        before = ""
        for index, row in seal.rows(rows):
            file.write(before + "  " + json.dumps({"table": index, **vars(row)}, ensure_ascii=False))
            before = ",\n"
        file.write(f'{before and chr(10)} ],\n "sha256": "{seal.hex()}"\n}}\n')

    try:
        write_whole(path, write)
    except OSError as error:
        raise Refused(f"cannot write the plan to {path} ({error.strerror}): nothing was changed") from error


@contextmanager
def open_plan(path: Path, target: str, database: str) -> Iterator[tuple[RepairPlan, Rows]]:
    """A plan's head, and its rows to be read once. The seal is checked at the end: no row counts before.

    Raises Refused if it was edited, is another database's, has expired, or is no plan.
    """
    try:
        with path.open("rb") as file:
            body = _head(file)
            if body.get("plan_version") != PLAN_VERSION:
                raise Refused(
                    f"{path} is a plan of version {body.get('plan_version')!r}, this applies {PLAN_VERSION}: plan again"
                )
            if body["codec"] != CODEC_VERSION:
                raise Refused(f"{path} holds values in codec {body['codec']!r}, this reads {CODEC_VERSION}: plan again")
            plan = _plan_of(body)
            seal = _Seal(plan)
            found: list[str] = []
            rows = seal.rows(_rows(file, len(plan.tables), found))
            yield plan, rows
            for _ in rows:
                pass
    except OSError as error:
        raise Refused(f"cannot read the plan {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Refused(
            f"{path} is no repair plan, or was edited ({type(error).__name__}: {str(error)[:200]}): make one with "
            "`reconcile repair`"
        ) from None
    if found != [seal.hex()]:
        raise Refused(f"{path} was edited after it was made: make a new plan with `reconcile repair --plan {path}`")
    if (plan.target, plan.database) != (target, database):
        raise Refused(f"{path} was made for target {plan.target} ({plan.database}), this is {target} ({database})")
    if datetime.fromisoformat(plan.expires_at) < datetime.now(UTC):
        raise Refused(f"{path} expired at {plan.expires_at}: make a new plan with `reconcile repair --plan {path}`")


def _line(file: BinaryIO, most: int) -> str:
    line = file.readline(most + 1)
    if len(line) > most:
        raise ValueError(f"a line of it is longer than {most:,} bytes")
    return line.decode()


def _head(file: BinaryIO) -> dict[str, Any]:
    """Everything in a plan file before its rows. The file is read line by line, as ``write_plan`` writes it."""
    if _line(file, 2).strip() != "{":
        raise ValueError("it does not begin as a plan does")
    lines, size = ["{"], 0
    while (line := _line(file, _LONGEST_HEAD)) != _ROWS:
        size += len(line)
        if not line or size > _LONGEST_HEAD:
            raise ValueError("it has no rows")
        lines.append(line)
    body = json.loads("".join(lines) + _ROWS + "]}")
    if not isinstance(body, dict):
        raise ValueError("it is no JSON object")
    return body


def _rows(file: BinaryIO, tables: int, sha256: list[str]) -> Iterator[tuple[int, PlannedRow]]:
    """The rows of a plan file, each checked; what it says of its hash goes to ``sha256``."""
    while (line := _line(file, _LONGEST_ROW).strip()) != "],":
        if not line:
            raise ValueError("it ends early")
        row = json.loads(line.removesuffix(","))
        index = row.pop("table")
        if type(index) is not int or not 0 <= index < tables:
            raise ValueError(f"a row is of table {index!r}")
        yield index, _checked(PlannedRow(**row))
    rest = json.loads("{" + _line(file, _LONGEST_HEAD) + _line(file, _LONGEST_HEAD))
    if set(rest) != {"sha256"} or file.read(1):
        raise ValueError("it goes on after its rows")
    sha256.append(str(rest["sha256"]))


def _checked(row: PlannedRow) -> PlannedRow:
    images = {"insert": (False, True), "update": (True, True), "delete": (True, False)}[row.action]
    if images != (row.before is not None, row.after is not None) or type(row.copies) is not int or row.copies < 0:
        raise ValueError(f"a row to {row.action} is not whole")
    for image in (row.before, row.after):
        if image is not None and not all(value is None or type(value) is str for value in image.values()):
            raise ValueError(f"a row to {row.action} holds a value that is no text")
    return row


def _plan_of(body: dict[str, Any]) -> RepairPlan:
    names = {"plan_id", "target", "database", "created_at", "expires_at", "codec"}
    if set(body) != names | {"plan_version", "tables", "rows"}:
        raise ValueError("its head has other fields than a plan's")
    return RepairPlan(
        **{name: body[name] for name in names}, tables=tuple(_table_of(table) for table in body["tables"])
    )


def _table_of(table: dict[str, Any]) -> PlannedTable:
    shape = table["shape"]
    columns = tuple(PlannedColumn(**column) for column in shape["columns"])
    dragged = tuple(Dragged(**entry) for entry in table["dragged"])
    parts = {"key": tuple(table["key"]), "shape": TableShape(columns, shape["rules"]), "dragged": dragged}
    return PlannedTable(**{**table, **parts})
