"""Write reconcile/schemas/: the JSON schemas of reports and plans, from the dataclasses that are written as JSON.

    uv run tools/schemas.py

Types say the structure; ``SAID`` adds what a type cannot say: the values of a text, and what a reader should know.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from reconcile.repair.plan_file import CODEC_VERSION, PLAN_VERSION, PlannedRow, RepairPlan
from reconcile.report.model import (
    KINDS,
    SCHEMA_VERSION,
    Drift,
    Excluded,
    PlannedPart,
    Refusal,
    TableReport,
    UndoOutcome,
    Verdict,
)

FOLDER = Path(__file__).resolve().parent.parent / "reconcile" / "schemas"


@dataclass(frozen=True)
class Rows:
    insert: int
    update: int
    delete: int


@dataclass(frozen=True)
class Repair:
    """``RepairOutcome.as_dict``."""

    plan_id: str
    plan_file: str | None
    applied: bool
    run_id: str | None
    rows: Rows
    stale: int
    tables: list[PlannedPart]
    refused: list[Refusal]
    unneeded: int


@dataclass(frozen=True)
class Verdicts:
    level: int
    drift: int
    unverified: int
    error: int


@dataclass(frozen=True)
class Report:
    """``Report.as_dict``."""

    schema_version: int
    run_id: str
    command: Literal["check", "repair", "undo", "watch", "diff"]
    target: str
    started_at: str
    finished_at: str
    verdict: Verdict
    exit_code: Literal[0, 1, 2]
    verdicts: Verdicts
    totals: Drift
    tables: list[TableReport]
    repair: Repair | None
    error: str
    excluded: list[Excluded]
    undo: UndoOutcome


@dataclass(frozen=True, kw_only=True)
class Row(PlannedRow):
    """A row in a plan file."""

    table: int


@dataclass(frozen=True, kw_only=True)
class Plan(RepairPlan):
    """A plan file."""

    plan_version: int
    rows: list[Row]
    sha256: str


# not required: an error and an undo are there if there was one, the others were added to version 1 later
OPTIONAL = {
    "Report": {"error", "excluded", "undo", "verdicts"},
    "Repair": {"tables", "refused", "unneeded"},
    "TableReport": {"path", "declared", "columns_compared", "not_compared"},
}
_ACTION: dict[str, Any] = {"enum": ["insert", "update", "delete"]}
_TIME = {"format": "date-time"}
_UNNEEDED = {"description": "Rows that are right, and that would be deleted and inserted again."}
SAID: dict[str, dict[str, dict[str, Any]]] = {
    "Report": {
        "schema_version": {"const": SCHEMA_VERSION},
        "started_at": _TIME,
        "finished_at": _TIME,
        "verdicts": {"description": "How many tables have which verdict."},
        "error": {"description": "Only there when the run as a whole failed."},
        "excluded": {"description": "Incremental models that were left out, and by what."},
        "undo": {"description": "What an undo restored: rows of the repair `undoes`."},
    },
    "Repair": {
        "tables": {"description": "What was planned, table by table: exact counts, and the first rows."},
        "refused": {"description": "Models that were not repaired, each with the reason."},
        "unneeded": _UNNEEDED,
    },
    "TableReport": {
        "hints": {"description": "What would have avoided the drift, or would make the next check cheaper."},
        "path": {"description": "The model's .sql file, from the project's root."},
        "declared": {"description": "Where the model's yml names it."},
        "columns_compared": {"description": "How many columns were compared; null if not known."},
        "not_compared": {"description": "Columns that the comparison leaves out, and why."},
    },
    "Scope": {
        "mode": {"enum": ["capture", "sweep", "keys"]},
        "settled": {"description": "Keys that differed between two databases at a first look, and not at a second."},
    },
    "Declared": {"line": {"minimum": 1}},
    "SchemaChange": {"problem": {"enum": ["missing", "extra", "type"]}},
    "Sample": {"kind": {"enum": [kind for kind in KINDS if kind != "schema"]}},
    "PlannedChange": {"action": _ACTION},
    "Plan": {
        "plan_version": {"const": PLAN_VERSION},
        "database": {"description": "Which database, without user or password."},
        "created_at": _TIME,
        "expires_at": _TIME,
        "codec": {
            "const": CODEC_VERSION,
            "description": "How values are written as text: 1 is as the database prints them under pinned settings.",
        },
        "sha256": {"pattern": "^[0-9a-f]{64}$"},
    },
    "PlannedTable": {
        "shape": {"description": "The table when the plan was made: a plan for a table that changed since is refused."},
        "dragged": {"description": "Rows of other tables that the deletions change through foreign keys."},
        "unneeded": _UNNEEDED,
    },
    "TableShape": {"rules": {"description": "Triggers, rules, policies and constraints, each with its definition."}},
    "Dragged": {"action": {"enum": ["delete", "set null", "set default"]}},
    "Row": {
        "table": {"description": "The row's place in tables, from 0."},
        "action": _ACTION,
        "reason": {"enum": ["missing", "extra", "changed", "duplicate", "null_key", "copies"]},
        "copies": {"description": "0: the row that its key names; else how many equal rows are meant."},
    },
}


def schema_of(kind: type, title: str, description: str) -> dict[str, Any]:
    """The schema of one kind of file: closed objects, every field required but the optional ones, counts from 0."""
    found = TypeAdapter(kind).json_schema(mode="serialization")
    definitions = found.pop("$defs")
    for name, body in [*definitions.items(), (kind.__name__, found)]:
        body.pop("title", None)
        body.pop("description", None)
        if "properties" in body:
            optional = OPTIONAL.get(name, set())
            body["required"] = [field for field in body["properties"] if field not in optional]
            body["additionalProperties"] = False
        for field, schema in body.get("properties", {}).items():
            body["properties"][field] = _plain(schema) | SAID.get(name, {}).get(field, {})
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, "description": description}
    return {**head, **found, "$defs": dict(sorted(definitions.items()))}


def _plain(schema: Any) -> Any:
    """Without what pydantic adds, titles and defaults, and with every integer as a count."""
    if not isinstance(schema, dict):
        return schema
    kept = {name: _plain(part) for name, part in schema.items() if name not in ("title", "default")}
    if "anyOf" in kept:
        kept["anyOf"] = [_plain(part) for part in kept["anyOf"]]
    return {**kept, "minimum": 0} if kept.get("type") == "integer" and "enum" not in kept else kept


def schemas() -> dict[str, str]:
    """The files by name."""
    report = (
        f"reconcile report, version {SCHEMA_VERSION}",
        "What `reconcile check` and `reconcile repair` print with --output json. Values in samples are text: no double "
        "ever rounds an id; null is NULL.",
    )
    plan = (
        f"reconcile repair plan, version {PLAN_VERSION}",
        "What `reconcile repair` writes. sha256 seals everything else in the file: an edited plan is refused.",
    )
    made = {"report": schema_of(Report, *report), "plan": schema_of(Plan, *plan)}
    return {f"{name}.schema.json": json.dumps(body, indent=2) + "\n" for name, body in made.items()}


if __name__ == "__main__":
    for name, text in schemas().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
