"""The journal: who repaired what, when, every row before and after; in the database, in the repair's transaction."""

from __future__ import annotations

import getpass
import json
from dataclasses import dataclass

from reconcile.engines.base import Engine
from reconcile.errors import Refused
from reconcile.plan import PlannedRow, Values

SCHEMA = "reconcile"
VERSION = 1

# Values are kept as JSON text of text values: no digit is lost, whatever the column's type.
_TABLES = (
    f"create schema if not exists {SCHEMA}",
    f"""create table if not exists {SCHEMA}.repair (
        run_id varchar not null, unique_id varchar not null, relation varchar not null, key_columns varchar not null,
        plan_id varchar not null, applied_by varchar not null, applied_at timestamp with time zone not null,
        inserted bigint not null, updated bigint not null, deleted bigint not null, undoes varchar,
        journal_version bigint not null
    )""",
    f"""create table if not exists {SCHEMA}.repair_row (
        run_id varchar not null, unique_id varchar not null, position bigint not null, action varchar not null,
        reason varchar not null, copies bigint not null, row_before varchar, row_after varchar
    )""",
)


@dataclass(frozen=True)
class Entry:
    """One table's part of a repair run, with the rows that were written, in their order."""

    run_id: str
    unique_id: str
    relation: str
    key: tuple[str, ...]
    plan_id: str
    rows: tuple[PlannedRow, ...]
    undoes: str | None = None


def ensure_tables(engine: Engine) -> None:
    """Create the journal where it does not exist. Raises EvaluationFailed where we may not."""
    if engine.table_columns(f"{SCHEMA}.repair_row") is None:
        for statement in _TABLES:
            engine.execute(statement)


def write(engine: Engine, entry: Entry) -> None:
    """Add an entry, inside the transaction of the repair it tells of."""
    counts = [sum(row.copies or 1 for row in entry.rows if row.action == a) for a in ("insert", "update", "delete")]
    engine.execute(
        f"insert into {SCHEMA}.repair values ($1, $2, $3, $4, $5, $6, current_timestamp, $7, $8, $9, $10, {VERSION})",
        [
            entry.run_id,
            entry.unique_id,
            entry.relation,
            json.dumps(entry.key),
            entry.plan_id,
            _who(),
            *counts,
            entry.undoes,
        ],
    )
    engine.load(
        f"{SCHEMA}.repair_row",
        ["run_id", "unique_id", "position", "action", "reason", "copies", "row_before", "row_after"],
        [
            [
                entry.run_id,
                entry.unique_id,
                i,
                row.action,
                row.reason,
                row.copies,
                _packed(row.before),
                _packed(row.after),
            ]
            for i, row in enumerate(entry.rows)
        ],
    )


def read(engine: Engine, run_id: str) -> list[Entry]:
    """The entries of a repair run. Raises Refused where the journal holds no such run."""
    if engine.table_columns(f"{SCHEMA}.repair_row") is None:
        raise Refused("this database has no repair journal: nothing was ever repaired here")
    heads = list(
        engine.stream(
            f"select run_id, unique_id, relation, key_columns, plan_id, undoes from {SCHEMA}.repair "
            "where run_id = $1 order by unique_id",
            [run_id],
        )
    )
    if not heads:
        known = [
            row[0] for row in engine.stream(f"select distinct run_id from {SCHEMA}.repair order by 1 desc limit 3")
        ]
        raise Refused(f"the journal holds no repair {run_id!r}; the latest are {', '.join(known) or 'none'}")
    entries = []
    for run, unique_id, relation, key, plan_id, undoes in heads:
        rows = engine.stream(
            f"select action, reason, copies, row_before, row_after from {SCHEMA}.repair_row "
            "where run_id = $1 and unique_id = $2 order by position",
            [run, unique_id],
        )
        planned = tuple(PlannedRow(a, r, _unpacked(b), _unpacked(c), n) for a, r, n, b, c in rows)
        entries.append(Entry(run, unique_id, relation, tuple(json.loads(key)), plan_id, planned, undoes))
    return entries


def reversed_row(row: PlannedRow) -> PlannedRow:
    """The row that takes another one back: what it left is the before-image, what it found is restored."""
    opposite = {"insert": "delete", "delete": "insert", "update": "update"}[row.action]
    return PlannedRow(opposite, "undo", row.after, row.before, row.copies)


def _packed(values: Values | None) -> str | None:
    return None if values is None else json.dumps(values, ensure_ascii=False)


def _unpacked(text: str | None) -> Values | None:
    return None if text is None else json.loads(text)


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
