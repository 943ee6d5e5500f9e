"""A repair plan: exactly which rows would be written, bound to one database and sealed by its hash."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from reconcile.errors import Refused

PLAN_VERSION = 1
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
    name: str
    unique_id: str
    relation: str
    key: tuple[str, ...]
    rows_expected: int
    rows_actual: int
    rows: tuple[PlannedRow, ...]

    def count(self, action: str) -> int:
        return sum(row.copies or 1 for row in self.rows if row.action == action)

    @property
    def written(self) -> int:
        return sum(row.copies or 1 for row in self.rows)


@dataclass(frozen=True)
class Plan:
    """What a repair would do, table by table. ``database`` is the connection's identity, without user or password."""

    plan_id: str
    target: str
    database: str
    created_at: str
    expires_at: str
    tables: tuple[PlannedTable, ...]

    def seal(self) -> str:
        """The hash of everything in the plan: an edited plan no longer carries its own."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True, ensure_ascii=False).encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        return {"plan_version": PLAN_VERSION, **asdict(self), "sha256": self.seal()}


def new_plan(plan_id: str, target: str, database: str, tables: tuple[PlannedTable, ...]) -> Plan:
    created = datetime.now(UTC).replace(microsecond=0)
    return Plan(plan_id, target, database, created.isoformat(), (created + VALID_FOR).isoformat(), tables)


def write_plan(plan: Plan, path: Path) -> None:
    """Write a plan whole or not at all. Raises Refused where the file cannot be written."""
    half = path.with_name(f".{path.name}.half")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        half.write_text(json.dumps(plan.as_dict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        half.replace(path)
    except OSError as error:
        raise Refused(f"cannot write the plan to {path} ({error.strerror}): nothing was changed") from error


def read_plan(path: Path, target: str, database: str) -> Plan:
    """Read a plan back. Raises Refused where it was edited, is another database's, has expired, or is no plan."""
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        if body["plan_version"] != PLAN_VERSION:
            raise Refused(
                f"{path} is a plan of version {body['plan_version']}, this applies {PLAN_VERSION}: plan again"
            )
        tables = tuple(
            PlannedTable(**{**t, "key": tuple(t["key"]), "rows": tuple(PlannedRow(**row) for row in t["rows"])})
            for t in body["tables"]
        )
        names = ("plan_id", "target", "database", "created_at", "expires_at")
        plan = Plan(**{name: body[name] for name in names}, tables=tables)
        sealed = body["sha256"]
    except OSError as error:
        raise Refused(f"cannot read the plan {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise Refused(
            f"{path} is no repair plan ({type(error).__name__}: {error}): make one with `reconcile repair`"
        ) from None
    if plan.seal() != sealed:
        raise Refused(f"{path} was edited after it was made: make a new plan with `reconcile repair --plan {path}`")
    if (plan.target, plan.database) != (target, database):
        raise Refused(f"{path} was made for target {plan.target} ({plan.database}), this is {target} ({database})")
    if datetime.fromisoformat(plan.expires_at) < datetime.now(UTC):
        raise Refused(f"{path} expired at {plan.expires_at}: make a new plan with `reconcile repair --plan {path}`")
    return plan
