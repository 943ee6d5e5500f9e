"""The report: what a run found, as frozen data. Renderers read it and nothing else."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any

SCHEMA_VERSION = 1
SAMPLE_LIMIT = 100  # rows kept per table; counts are exact
LONGEST_VALUE = 4_000  # characters of a value in the JSON report


class Verdict(StrEnum):
    """Of a table, and of a run; unverified (not judged) is never level."""

    LEVEL = "level"
    DRIFT = "drift"
    UNVERIFIED = "unverified"
    ERROR = "error"


# drift outranks what could not be judged: a project with one model that is always unverified must still show drift
_RANK = {Verdict.LEVEL: 0, Verdict.UNVERIFIED: 1, Verdict.ERROR: 2, Verdict.DRIFT: 3}


def worst(verdicts: list[Verdict]) -> Verdict:
    """The verdict of a run over its tables; unverified if there are none."""
    return max(verdicts, key=_RANK.__getitem__, default=Verdict.UNVERIFIED)


@dataclass(frozen=True)
class Drift:
    """How many keys differ, by kind. ``pending`` is what the last build could not have seen, and is no drift."""

    missing: int = 0
    extra: int = 0
    changed: int = 0
    duplicate: int = 0
    null_key: int = 0
    schema: int = 0
    pending: int = 0

    def __add__(self, other: Drift) -> Drift:
        return Drift(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)})

    def any(self) -> bool:
        return any(getattr(self, f.name) for f in fields(self) if f.name != "pending")

    def of_rows(self) -> int:
        """Keys that differ, without schema and pending."""
        return self.missing + self.extra + self.changed + self.duplicate + self.null_key


KINDS = tuple(f.name for f in fields(Drift))
FAIL_ON = (*KINDS, Verdict.UNVERIFIED.value)  # what --fail-on may name


@dataclass(frozen=True)
class SchemaChange:
    """A column on one side only, or of another type. ``problem``: missing, extra or type."""

    column: str
    problem: str
    expected: str | None
    actual: str | None


@dataclass(frozen=True)
class Cell:
    """One value on both sides, as the engine prints it (None is NULL): no double ever rounds an id."""

    expected: str | None
    actual: str | None


@dataclass(frozen=True)
class Sample:
    """One differing key: for ``changed`` the columns that differ, for a one-sided row all of them."""

    kind: str
    key: dict[str, str | None]
    columns: dict[str, Cell]
    cause: str | None = None

    @property
    def stands_in_table(self) -> bool:
        """For a one-sided row: whether it is the table that has it (else the definition has)."""
        return any(cell.actual is not None for cell in self.columns.values()) or self.kind == "extra"


@dataclass(frozen=True)
class Scope:
    """What was looked at. ``mode``: sweep, keys or capture; rows are None where they were not counted."""

    mode: str
    reason: str
    keys_checked: int | None = None
    rows_expected: int | None = None
    rows_actual: int | None = None
    lsn: str | None = None
    settled: int | None = None  # keys that differed between two databases at a first look, and not at a second


@dataclass(frozen=True)
class NotCompared:
    """A column that the comparison leaves out, and why: "build time", "ignored", ..."""

    column: str
    reason: str


@dataclass(frozen=True)
class Declared:
    """Where a model's yml names it: a file, from the project's root, and a line, from 1."""

    path: str
    line: int


@dataclass(frozen=True)
class Excluded:
    """An incremental model that was not judged because it was left out, and by what."""

    name: str
    unique_id: str
    reason: str


@dataclass(frozen=True)
class PastTable:
    """What an earlier run found of a table: its verdict, and how many keys differed."""

    verdict: Verdict
    keys: int


@dataclass(frozen=True)
class PastRun:
    """An earlier run on the same target, table by table (by name)."""

    run_id: str
    at: str
    tables: dict[str, PastTable]


@dataclass(frozen=True)
class TableReport:
    name: str
    unique_id: str | None
    relation: str
    key: tuple[str, ...]
    verdict: Verdict
    scope: Scope
    drift: Drift = Drift()
    columns: dict[str, int] = field(default_factory=dict)
    causes: dict[str, int] = field(default_factory=dict)
    schema_changes: tuple[SchemaChange, ...] = ()
    samples: tuple[Sample, ...] = ()
    truncated: bool = False
    error: str | None = None
    hints: tuple[str, ...] = ()
    elapsed_ms: int = 0
    path: str | None = None  # the model's .sql file, from the project's root
    declared: Declared | None = None
    columns_compared: int | None = None  # None: not known
    not_compared: tuple[NotCompared, ...] = ()


def _cut(value: str | None) -> str | None:
    """A value as the JSON report holds it: one of a megabyte would make a report that no reader opens."""
    if value is None or len(value) <= LONGEST_VALUE:
        return value
    digest = hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{value[:LONGEST_VALUE]}… ({len(value):,} characters, sha256 {digest})"


def _cut_sample(sample: dict[str, Any]) -> dict[str, Any]:
    cells = {name: {side: _cut(value) for side, value in cell.items()} for name, cell in sample["columns"].items()}
    return {**sample, "key": {name: _cut(value) for name, value in sample["key"].items()}, "columns": cells}


@dataclass(frozen=True)
class PlannedChange:
    """One row of a plan: of an update the columns that it changes, else all of them; ``copies`` as in the plan.

    A cell's ``actual`` is what the table holds, ``expected`` what it should hold.
    """

    action: str
    reason: str
    key: dict[str, str | None]
    columns: dict[str, Cell]
    copies: int = 0


@dataclass(frozen=True)
class PlannedPart:
    """What a plan holds for one table: exact counts, and the first of its rows."""

    name: str
    insert: int
    update: int
    delete: int
    changes: tuple[PlannedChange, ...]

    @property
    def hidden(self) -> int:
        """Rows that ``changes`` does not show."""
        return self.insert + self.update + self.delete - sum(change.copies or 1 for change in self.changes)


@dataclass(frozen=True)
class Refusal:
    """A model that was not repaired, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class RepairOutcome:
    """What a repair planned or did: rows in all tables. ``run_id`` names the journal's entries, once applied."""

    plan_id: str
    plan_file: str | None
    applied: bool
    run_id: str | None
    inserted: int
    updated: int
    deleted: int
    stale: int = 0
    tables: tuple[PlannedPart, ...] = ()
    refused: tuple[Refusal, ...] = ()
    unneeded: int = 0  # rows that are right, and that the plan deletes and inserts again

    def as_dict(self) -> dict[str, Any]:
        body = asdict(self)
        counts = {"insert": body.pop("inserted"), "update": body.pop("updated"), "delete": body.pop("deleted")}
        tables = [{**part, "changes": [_cut_sample(change) for change in part["changes"]]} for part in body["tables"]]
        return {**body, "rows": counts, "tables": tables, "refused": list(body["refused"])}


@dataclass(frozen=True)
class UndoOutcome:
    """What an undo restored: rows of the repair ``undoes``. ``stale`` rows were changed since, and left as they are."""

    undoes: str
    inserted: int
    updated: int
    deleted: int
    stale: int


def _change(body: dict[str, Any]) -> PlannedChange:
    return PlannedChange(**{**body, "columns": {name: Cell(**cell) for name, cell in body["columns"].items()}})


def _repair_from_dict(body: dict[str, Any] | None) -> RepairOutcome | None:
    if body is None:
        return None
    rows = body["rows"]
    rest = {name: value for name, value in body.items() if name not in ("rows", "tables", "refused")}
    refused = tuple(Refusal(**entry) for entry in body.get("refused", ()))
    tables = tuple(
        PlannedPart(**{**part, "changes": tuple(_change(change) for change in part["changes"])})
        for part in body.get("tables", ())
    )
    counts = {"inserted": rows["insert"], "updated": rows["update"], "deleted": rows["delete"]}
    return RepairOutcome(**rest, **counts, tables=tables, refused=refused)


@dataclass(frozen=True)
class Report:
    """One run. Times are ISO 8601 in UTC.

    ``past`` and ``docs`` (the address of the dbt docs) are what the page shows beside the run, ``aimed`` what --target
    said, for the command that comes next: no part of its JSON.
    """

    run_id: str
    command: str
    target: str
    started_at: str
    finished_at: str
    tables: tuple[TableReport, ...]
    error: str | None = None
    repair: RepairOutcome | None = None
    undo: UndoOutcome | None = None
    fail_on: tuple[str, ...] = ()
    excluded: tuple[Excluded, ...] = ()
    past: tuple[PastRun, ...] = ()
    docs: str | None = None
    aimed: str | None = None

    @property
    def verdict(self) -> Verdict:
        if self.error is not None:
            return Verdict.ERROR
        return worst([table.verdict for table in self.tables])

    @property
    def exit_code(self) -> int:
        """2 if a model was not repaired; else 1 if anything drifted (see ``fail_on``), else 2 if one was not judged."""
        if self.undo is not None:
            return 1 if self.undo.stale else 0
        if self.repair is not None and self.repair.refused:
            return 2
        found = {kind for kind in KINDS if getattr(self.totals, kind)}
        found |= {table.verdict.value for table in self.tables}
        if self.error is None and found & set(self.fail_on or (Verdict.DRIFT.value,)):
            return 1
        if self.error is not None or not self.tables or found & {Verdict.UNVERIFIED.value, Verdict.ERROR.value}:
            return 2
        stale = self.repair is not None and self.repair.stale > 0
        return 1 if stale else 0  # stale: rows of the plan that somebody else has changed were left as they are

    @property
    def verdicts(self) -> dict[str, int]:
        """How many tables have which verdict."""
        return {verdict.value: sum(table.verdict is verdict for table in self.tables) for verdict in Verdict}

    @property
    def totals(self) -> Drift:
        return sum((table.drift for table in self.tables), Drift())

    def as_dict(self) -> dict[str, Any]:
        """The JSON report, as reconcile/schemas/report.schema.json describes it."""
        tables = []
        for table in self.tables:
            entry = asdict(table)
            entry["key"] = list(table.key)
            entry["verdict"] = table.verdict.value
            entry["schema_changes"] = list(entry["schema_changes"])
            entry["samples"] = [_cut_sample(sample) for sample in entry["samples"]]
            entry["hints"] = list(table.hints)
            entry["not_compared"] = list(entry["not_compared"])
            tables.append(entry)
        body: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "run_id": self.run_id,
            "command": self.command,
            "target": self.target,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "verdict": self.verdict.value,
            "exit_code": self.exit_code,
            "verdicts": self.verdicts,
            "totals": asdict(self.totals),
            "tables": tables,
            "excluded": [asdict(excluded) for excluded in self.excluded],
            "repair": self.repair.as_dict() if self.repair is not None else None,
        }
        if self.undo is not None:
            body["undo"] = asdict(self.undo)
        if self.error is not None:
            body["error"] = self.error
        return body

    def to_json(self) -> str:
        """``as_dict`` as JSON text, two blanks an indent, with a final line break."""
        return json.dumps(self.as_dict(), ensure_ascii=False, indent=2) + "\n"


def report_from_dict(body: dict[str, Any]) -> Report:
    """The report that ``as_dict`` wrote. Raises ValueError for another schema version."""
    if body.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(f"a report of schema version {body.get('schema_version')!r}, this reads {SCHEMA_VERSION}")
    tables = tuple(
        TableReport(
            **{
                **table,
                "key": tuple(table["key"]),
                "verdict": Verdict(table["verdict"]),
                "scope": Scope(**table["scope"]),
                "drift": Drift(**table["drift"]),
                "hints": tuple(table.get("hints", ())),
                "not_compared": tuple(NotCompared(**entry) for entry in table.get("not_compared", ())),
                "declared": Declared(**table["declared"]) if table.get("declared") else None,
                "schema_changes": tuple(SchemaChange(**change) for change in table["schema_changes"]),
                "samples": tuple(
                    Sample(**{**s, "columns": {name: Cell(**cell) for name, cell in s["columns"].items()}})
                    for s in table["samples"]
                ),
            }
        )
        for table in body["tables"]
    )
    names = ("run_id", "command", "target", "started_at", "finished_at")
    repair = _repair_from_dict(body["repair"])
    excluded = tuple(Excluded(**entry) for entry in body.get("excluded", ()))
    given = {name: body[name] for name in names}
    undo = UndoOutcome(**body["undo"]) if body.get("undo") else None
    return Report(**given, undo=undo, tables=tables, error=body.get("error"), repair=repair, excluded=excluded)
