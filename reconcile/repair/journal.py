"""The journal: who repaired what and when, with every row before and after, written in the repair's transaction."""

from __future__ import annotations

import getpass
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from reconcile.engines.base import Column, Engine
from reconcile.engines.own_schema import SCHEMA
from reconcile.errors import Refused
from reconcile.repair.plan_file import CODEC_VERSION, PlannedColumn, TableShape
from reconcile.repair.plan_tables import Images, PlanTable
from reconcile.repair.row_writer import Written
from reconcile.state.schema import settle_in, version_of

VERSION = 2  # 2: the columns, and the codec and settings under which values were written as text
_AT_ONCE = 500  # runs per statement

# Values are kept as JSON text of text values: no digit is lost, whatever the column's type.
_TABLES = (
    f"""create table if not exists {SCHEMA}.repair (
        run_id varchar not null, unique_id varchar not null, relation varchar not null, key_columns varchar not null,
        plan_id varchar not null, applied_by varchar not null, applied_at timestamp with time zone not null,
        inserted bigint not null, updated bigint not null, deleted bigint not null, undoes varchar,
        journal_version bigint not null, written_as varchar
    )""",
    f"""create table if not exists {SCHEMA}.repair_row (
        run_id varchar not null, unique_id varchar not null, position bigint not null, action varchar not null,
        reason varchar not null, copies bigint not null, row_before varchar, row_after varchar
    )""",
)


@dataclass(frozen=True)
class Entry:
    """One table's part of a repair run."""

    run_id: str
    unique_id: str
    relation: str
    key: tuple[str, ...]
    plan_id: str
    undoes: str | None = None
    shape: TableShape | None = None  # the table when it was written; None in a journal of version 1


def ensure_tables(engine: Engine) -> None:
    """Create the journal if it does not exist. Raises EvaluationFailed if we may not."""
    settle_in(engine, version_of(engine))
    columns = engine.table_columns(f"{SCHEMA}.repair")
    if engine.table_columns(f"{SCHEMA}.repair_row") is None:
        for statement in _TABLES:
            engine.execute(statement)
    elif all(column.name != "written_as" for column in columns or ()):
        engine.execute(f"alter table {SCHEMA}.repair add column written_as varchar")


def write(engine: Engine, entry: Entry, written: Written, rows: PlanTable) -> None:
    """Add an entry with the rows of the plan table, inside the transaction that has written them."""
    write_head(engine, entry, written)
    write_rows(engine, entry, rows.journal_sql())


def write_head(engine: Engine, entry: Entry, written: Written) -> None:
    """Add what a run did to one table."""
    counts = [written.inserted, written.updated, written.deleted]
    columns = [asdict(column) for column in entry.shape.columns] if entry.shape is not None else None
    engine.execute(
        f"insert into {SCHEMA}.repair (run_id, unique_id, relation, key_columns, plan_id, applied_by, applied_at,"
        " inserted, updated, deleted, undoes, journal_version, written_as)\n"
        f"values ($1, $2, $3, $4, $5, $6, current_timestamp, $7, $8, $9, $10, {VERSION}, $11)",
        [
            entry.run_id,
            entry.unique_id,
            entry.relation,
            json.dumps(entry.key),
            entry.plan_id,
            _who(),
            *counts,
            entry.undoes,
            json.dumps({"codec": CODEC_VERSION, "settings": engine.pinned_settings, "columns": columns}),
        ],
    )


def write_rows(engine: Engine, entry: Entry, rows_sql: str) -> None:
    """Add the rows of a SELECT in the form of ``PlanTable.journal_sql``."""
    engine.execute(
        f"insert into {SCHEMA}.repair_row\n"
        f"  (run_id, unique_id, position, action, reason, copies, row_before, row_after)\n"
        f"select cast($1 as varchar), cast($2 as varchar), position, action, reason, copies, row_before, row_after\n"
        f"from ({rows_sql}) as planned",
        [entry.run_id, entry.unique_id],
    )


def read(engine: Engine, run_id: str) -> list[Entry]:
    """The entries of a repair run. Raises Refused if the journal holds no such run."""
    if engine.table_columns(f"{SCHEMA}.repair_row") is None:
        raise Refused(f"no repair {run_id!r}: this database has no repair journal")
    version_of(engine)
    known = {column.name for column in engine.table_columns(f"{SCHEMA}.repair") or ()}
    written_as = "written_as" if "written_as" in known else "null"
    heads = engine.rows(
        f"select run_id, unique_id, relation, key_columns, plan_id, undoes, {written_as} from {SCHEMA}.repair "
        "where run_id = $1 order by unique_id",
        [run_id],
    )
    if not heads:
        latest = [row[0] for row in engine.rows(f"select distinct run_id from {SCHEMA}.repair order by 1 desc limit 3")]
        raise Refused(f"the journal holds no repair {run_id!r}; the latest are {', '.join(latest) or 'none'}")
    return [
        Entry(run, unique_id, relation, tuple(json.loads(key)), plan_id, undoes, _shape(text))
        for run, unique_id, relation, key, plan_id, undoes, text in heads
    ]


def _shape(written_as: str | None) -> TableShape | None:
    if written_as is None:
        return None
    body = json.loads(written_as)
    if body["codec"] != CODEC_VERSION:
        raise Refused(
            f"the journal holds values in codec {body['codec']}, this reads {CODEC_VERSION}: upgrade reconcile"
        )
    columns = body["columns"]
    return None if columns is None else TableShape(tuple(PlannedColumn(**column) for column in columns))


def rows_of(engine: Engine, entry: Entry) -> str:
    """A SELECT of what an entry did, for ``PlanTable.fill_from``."""
    return f"select * from {SCHEMA}.repair_row where {is_of(engine, entry)}"


def reversed_rows(engine: Engine, entry: Entry) -> str:
    """A SELECT of the rows that undo an entry, for ``PlanTable.fill_from``."""
    return (
        "select position, copies, 'undo' as reason, row_after as row_before, row_before as row_after,\n"
        "  case action when 'insert' then 'delete' when 'delete' then 'insert' else action end as action\n"
        f"from {SCHEMA}.repair_row where {is_of(engine, entry)}"
    )


def is_of(engine: Engine, entry: Entry) -> str:
    """A condition on a table of the journal: the rows of this entry."""
    return f"run_id = {engine.literal(entry.run_id)} and unique_id = {engine.literal(entry.unique_id)}"


def images_of(engine: Engine, entry: Entry, columns: Sequence[Column]) -> Images:
    """What the images of an entry hold, for a table that has these columns now.

    Raises Refused if the table has lost a column that the entry holds values of, or has another type for one.
    """
    now = {column.name: column for column in columns}
    named, compared = _columns_of(engine, entry)
    then = {column.name: column.type for column in entry.shape.columns} if entry.shape is not None else {}
    for name in named:
        place = f'column "{name}" of {entry.relation}'
        if name not in now:
            raise Refused(
                f"{place} no longer exists, and the journal of {entry.run_id} holds values of it: not restored"
            )
        if name in then and then[name] != now[name].type:
            raise Refused(
                f"{place} changed type ({then[name]} -> {now[name].type}) after the repair {entry.run_id}: not restored"
            )
    return Images(tuple(columns), tuple(named), tuple(compared), entry.key)


def _columns_of(engine: Engine, entry: Entry) -> tuple[list[str], list[str]]:
    """The columns that any row of the entry holds, and those that every row holds."""
    firsts = engine.rows(
        f"select distinct on (action, copies = 0) row_before, row_after from {SCHEMA}.repair_row"
        " where run_id = $1 and unique_id = $2 order by action, copies = 0, position",
        [entry.run_id, entry.unique_id],
    )
    images = [json.loads(image) for row in firsts for image in row if image is not None]
    every = list(dict.fromkeys(name for image in images for name in image))
    return every, [name for name in every if all(name in image for image in images)]


def prune(engine: Engine, days: int) -> int:
    """Delete the entries and rows of repairs that are older than ``days`` days; how many entries were deleted."""
    old = f"applied_at < current_timestamp - interval '{int(days)} days'"
    with engine.transaction():
        runs = [run_id for (run_id,) in engine.rows(f"select run_id from {SCHEMA}.repair where {old}")]
        listed = list(dict.fromkeys(runs))
        for first in range(0, len(listed), _AT_ONCE):
            named = ", ".join(engine.literal(run_id) for run_id in listed[first : first + _AT_ONCE])
            for table in ("repair_row", "repair"):
                engine.execute(f"delete from {SCHEMA}.{table} where run_id in ({named})")
    return len(runs)


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
