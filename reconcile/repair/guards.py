"""What limits a repair: how much it may write, and that its table is still the one that was planned for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from reconcile.engines.base import Engine
from reconcile.engines.own_schema import SCHEMA
from reconcile.errors import Refused
from reconcile.repair.plan_file import Dragged, PlannedColumn, PlannedTable, TableShape

# Up to this many rows a plan passes --max-percent, if they are at most this share of the table: in a table of 24 rows
# 3 wrong rows are 12.5 %, and a limit of 10 % would make every small table unrepairable.
_FEW_ROWS = 5
_FEW_SHARE = 0.25


@dataclass(frozen=True)
class Guards:
    """The limits of a repair, per table. Each refusal names the flag that lifts it."""

    max_rows: int = 10_000
    max_percent: float = 10.0
    allow_delete: bool = False
    cascade: bool = False


def check_guards(table: PlannedTable, guards: Guards, rows_now: int | None = None) -> None:
    """Refuse a table's part of a plan if it writes too much. ``rows_now``: the table's rows, if counted again."""
    if table.rows_expected == 0:
        raise Refused(
            f"{table.name}: its definition yields no rows, and a repair would empty it: check its sources "
            "(no flag lifts this; `dbt build --full-refresh` does it on purpose)"
        )
    if table.written > guards.max_rows:
        raise Refused(f"{table.name}: {table.written} or more rows to write, --max-rows allows {guards.max_rows}")
    rows = max(table.rows_expected, table.rows_actual if rows_now is None else rows_now)
    percent = min(100 * table.written / rows, 100)
    few = guards.max_percent > 0 and table.written <= min(_FEW_ROWS, _FEW_SHARE * rows)
    if percent > guards.max_percent and not few:
        raise Refused(
            f"{table.name}: {table.written} rows to write are {percent:.1f} % of the table, "
            f"--max-percent allows {guards.max_percent:g}"
        )
    if table.dragged and not guards.cascade:
        raise Refused(f"{table.name}: {dragged_text(table.dragged)}, which needs --cascade")
    if table.deletes and not guards.allow_delete:
        raise Refused(f"{table.name}: {table.deletes} rows to delete, which needs --allow-delete")


def check_journal_rights(engine: Engine) -> None:
    """Refuse if the role may not write the journal, or create it."""
    if engine.table_columns(f"{SCHEMA}.repair_row") is not None:
        for name in ("repair", "repair_row"):
            _check_grants(engine, f"{SCHEMA}.{name}", ["insert"])
    elif not engine.may_journal():
        role = engine.role()
        raise Refused(f"the role {role} may not create the repair journal: grant create on database ... to {role}")


def check_rights(engine: Engine, table: PlannedTable) -> None:
    """Refuse if the role may not write what the plan writes."""
    counts = {"insert": table.inserts, "update": table.updates, "delete": table.deletes}
    _check_grants(engine, table.relation, [action for action, count in counts.items() if count])


def _check_grants(engine: Engine, relation: str, actions: list[str]) -> None:
    lacking = ", ".join(engine.lacking(relation, actions))
    if lacking:
        role = engine.role()
        raise Refused(f"the role {role} may not {lacking} in {relation}: grant {lacking} on {relation} to {role}")


def shape_of(engine: Engine, relation: str) -> TableShape:
    """What a plan for a table relies on, beside its rows."""
    columns = tuple(
        PlannedColumn(column.name, column.type, column.collation, column.generated, column.identity_always)
        for column in engine.table_columns(relation) or ()
    )
    return TableShape(columns, dict(engine.table_rules(relation)))


def check_shape(engine: Engine, relation: str, name: str, planned: TableShape) -> None:
    """Refuse if the table is not what it was when the plan was made. To be called while the table is locked."""
    now = shape_of(engine, relation)
    for change in changes(planned, now, relation):
        raise Refused(f"{change} after the plan was made. Make a new plan: reconcile repair -s {name} --plan plan.json")


def changes(before: TableShape, now: TableShape, relation: str) -> Iterator[str]:
    """What differs between two shapes of a table, as the beginning of a sentence."""
    shown = relation.replace('"', "")
    if not now.columns:
        yield f"{shown} was dropped"
        return
    was, is_now = ({column.name: column for column in shape.columns} for shape in (before, now))
    for name, column in was.items():
        place = f'column "{name}" of {shown}'
        if name not in is_now:
            yield f"{place} was dropped or renamed"
        elif column.type != is_now[name].type:
            yield f"{place} changed type ({column.type} -> {is_now[name].type})"
        elif column.collation != is_now[name].collation:
            yield f"{place} changed collation ({column.collation} -> {is_now[name].collation})"
        elif column != is_now[name]:
            yield f"{place} changed how its value is generated"
    for name in is_now:
        if name not in was:
            yield f'column "{name}" of {shown} was added'
    renamed = _renamed(before.rules, now.rules)
    for rule in [rule for rule in dict.fromkeys([*before.rules, *now.rules]) if rule not in renamed]:
        text, text_now = before.rules.get(rule), now.rules.get(rule)
        if text is None or text_now is None:
            yield f"{rule} of {shown} was {'added' if text is None else 'dropped'}"
        elif text != text_now:
            yield f"{rule} of {shown} changed ({text} -> {text_now})"


def _renamed(before: dict[str, str], now: dict[str, str]) -> set[str]:
    """Both names of each constraint that has another name and the same definition, as after dbt's full refresh."""
    gone = {text: rule for rule, text in before.items() if rule.startswith("constraint ") and rule not in now}
    new = {text: rule for rule, text in now.items() if rule.startswith("constraint ") and rule not in before}
    return {rules[text] for text in gone.keys() & new.keys() for rules in (gone, new)}


def write_order(engine: Engine, tables: Sequence[tuple[str, str, bool]]) -> list[int]:
    """An order of tables (name, relation, whether it only loses rows) that foreign keys allow.

    A table that others refer to is written before them, and after them if it only loses rows. Raises Refused for a
    circle.
    """
    same = [engine.same_table(relation) for _, relation, _ in tables]
    before: dict[int, set[int]] = {i: set() for i in range(len(tables))}
    for child, (_, relation, loses) in enumerate(tables):
        for other in range(child):  # one table twice: rows that a cascade changed come after the rows it began with
            if same[other] == same[child]:
                before[other if loses else child].add(child if loses else other)
        parents = set(engine.parents(relation)) - {same[child]}
        for parent in [i for i, name in enumerate(same) if name in parents]:
            first, then = (child, parent) if tables[parent][2] else (parent, child)
            before[then].add(first)
    try:
        return list(TopologicalSorter(before).static_order())
    except CycleError as cycle:
        names = ", ".join(sorted({tables[i][0] for i in cycle.args[1]}))
        raise Refused(f"the foreign keys of {names} form a circle: repair one table at a time, with -s") from None


DRAGGED = {"delete": "deleted by cascade", "set null": "set to null", "set default": "set to their default"}


def dragged_text(dragged: Sequence[Dragged]) -> str:
    """What a deletion changes in other tables, as the beginning of a sentence."""
    return " and ".join(f"{one.rows} rows of {one.table} would be {DRAGGED[one.action]}" for one in dragged)
