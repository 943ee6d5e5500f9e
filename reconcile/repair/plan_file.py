"""A repair plan: exactly which rows would be written, bound to one database and sealed by its hash.

Rows are written and read one at a time: a plan of any length takes the memory of one row.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import ijson

from reconcile.atomic_files import write_whole
from reconcile.errors import Refused

PLAN_VERSION = 2
VALID_FOR = timedelta(hours=24)
Values = dict[str, str | None]


@dataclass(frozen=True)
class PlannedRow:
    """One row to write. Values are text as the engine prints them; None is NULL.

    ``action`` is insert (no before), update or delete (no after). ``copies`` is 0 for a row that its key names, else
    how many equal rows are meant: of a key that stands too often, or that is NULL.
    """

    action: str
    reason: str
    before: Values | None
    after: Values | None
    copies: int = 0


@dataclass(frozen=True)
class PlannedTable:
    """What would be written into one table: how many rows of it and of its definition there are, and how many go where.

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

    @property
    def written(self) -> int:
        return self.inserts + self.updates + self.deletes


@dataclass(frozen=True)
class RepairPlan:
    """The head of a plan; its rows stand in a session or a file. ``database`` is the connection's identity, without
    user or password."""

    plan_id: str
    target: str
    database: str
    created_at: str
    expires_at: str
    tables: tuple[PlannedTable, ...]


Rows = Iterable[tuple[int, PlannedRow]]  # each with the number of its table in the plan


class _Seal:
    """The hash of everything in a plan, row by row: an edited plan no longer carries its own."""

    def __init__(self, plan: RepairPlan) -> None:
        self._hash = hashlib.sha256()
        self._add(asdict(plan))

    def rows(self, rows: Rows) -> Iterator[tuple[int, PlannedRow]]:
        """Hand the rows on, and take each into the hash."""
        for index, row in rows:
            self._add([index, asdict(row)])
            yield index, row

    def hex(self) -> str:
        return self._hash.hexdigest()

    def _add(self, value: Any) -> None:
        self._hash.update(json.dumps(value, sort_keys=True, ensure_ascii=False).encode() + b"\n")


def new_plan(plan_id: str, target: str, database: str, tables: tuple[PlannedTable, ...]) -> RepairPlan:
    created = datetime.now(UTC).replace(microsecond=0)
    return RepairPlan(plan_id, target, database, created.isoformat(), (created + VALID_FOR).isoformat(), tables)


def write_plan(plan: RepairPlan, rows: Rows, path: Path) -> None:
    """Write a plan whole or not at all, a row a line, in flat memory. Raises Refused where it cannot be written."""
    seal = _Seal(plan)
    head = json.dumps({"plan_version": PLAN_VERSION, **asdict(plan)}, indent=1, ensure_ascii=False)

    def write(file: TextIO) -> None:
        file.write(head.removesuffix("\n}") + ',\n "rows": [')
        for i, (index, row) in enumerate(seal.rows(rows)):
            line = json.dumps({"table": index, **asdict(row)}, ensure_ascii=False)
            file.write(f"{',' if i else ''}\n  {line}")
        file.write(f'\n ],\n "sha256": "{seal.hex()}"\n}}\n')

    try:
        write_whole(path, write)
    except OSError as error:
        raise Refused(f"cannot write the plan to {path} ({error.strerror}): nothing was changed") from error


@contextmanager
def open_plan(path: Path, target: str, database: str) -> Iterator[tuple[RepairPlan, Rows]]:
    """A plan's head, and its rows to be read once; at the end the seal is looked at, and nothing counts before.

    Raises Refused where it was edited, is another database's, has expired, or is no plan.
    """
    try:
        with path.open("rb") as file:
            body = _head(file)
            if body["plan_version"] != PLAN_VERSION:
                raise Refused(
                    f"{path} is a plan of version {body['plan_version']}, this applies {PLAN_VERSION}: plan again"
                )
            plan = _plan_of(body)
            seal = _Seal(plan)
            file.seek(0)
            rows = seal.rows((row.pop("table"), PlannedRow(**row)) for row in ijson.items(file, "rows.item"))
            yield plan, rows
            for _ in rows:
                pass
    except OSError as error:
        raise Refused(f"cannot read the plan {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, ijson.JSONError) as error:
        raise Refused(
            f"{path} is no repair plan ({type(error).__name__}: {error}): make one with `reconcile repair`"
        ) from None
    if seal.hex() != body.get("sha256"):
        raise Refused(f"{path} was edited after it was made: make a new plan with `reconcile repair --plan {path}`")
    if (plan.target, plan.database) != (target, database):
        raise Refused(f"{path} was made for target {plan.target} ({plan.database}), this is {target} ({database})")
    if datetime.fromisoformat(plan.expires_at) < datetime.now(UTC):
        raise Refused(f"{path} expired at {plan.expires_at}: make a new plan with `reconcile repair --plan {path}`")


def _head(file: BinaryIO) -> dict[str, Any]:
    """Everything in a plan file but its rows."""
    found: dict[str, Any] = {}
    builder, name = ijson.ObjectBuilder(), ""
    for prefix, event, value in ijson.parse(file):
        if prefix == "" and event == "map_key":
            name, builder = value, ijson.ObjectBuilder()
        elif prefix.split(".")[0] == name and name and name != "rows":
            builder.event(event, value)
            found[name] = builder.value
    return found


def _plan_of(body: dict[str, Any]) -> RepairPlan:
    tables = tuple(PlannedTable(**{**table, "key": tuple(table["key"])}) for table in body["tables"])
    names = ("plan_id", "target", "database", "created_at", "expires_at")
    return RepairPlan(**{name: body[name] for name in names}, tables=tables)
