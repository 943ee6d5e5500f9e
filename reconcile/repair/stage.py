"""Evaluate a model's definition into a plan table: the rows that would make the table equal to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from reconcile.compare.align import Prepared
from reconcile.compare.sql import later_build_sql
from reconcile.definition.model import Definition
from reconcile.engines.base import Engine
from reconcile.errors import NotComparable, Refused
from reconcile.model_check.build_clock import as_of_last_build
from reconcile.model_check.prepare_definition import prepare_definition
from reconcile.repair.plan_tables import Images, PlanTable
from reconcile.repair.writers import new_plan_table


def stage(engine: Engine, definition: Definition, unique: bool, then: Callable[[PlanTable], None]) -> PlanTable:
    """A plan table with what the definition asks for now. ``then`` is called in its snapshot, under pinned settings.

    ``unique``: no key is known to occur twice.
    """
    with engine.built_as(definition.session):
        return _staged(engine, definition, unique, then)


def _staged(engine: Engine, definition: Definition, unique: bool, then: Callable[[PlanTable], None]) -> PlanTable:
    prepared = _prepared(engine, as_of_last_build(engine, definition))
    comparison = replace(prepared.comparison, keeps_extra=definition.never_refreshed)
    key = tuple(part.name for part in comparison.key)
    compared = tuple(column.name for column in comparison.columns if not column.ignored)
    named = key + tuple(column.name for column in comparison.columns)
    table = new_plan_table(engine, Images(prepared.actual_columns, named, compared, key))
    with engine.snapshot():
        if comparison.as_of is not None and engine.one(later_build_sql(comparison))[0] > 0:
            comparison = replace(comparison, as_of=None)  # a later build exists: nothing is pending
        table.fill(comparison, unique)
        with engine.pinned():
            table.check_texts()
            then(table)
    return table


def _prepared(engine: Engine, definition: Definition) -> Prepared:
    prepared = prepare_definition(engine, definition, carry=True)
    if prepared is None:
        raise NotComparable(f"{definition.relation_name} no longer exists")
    for part in prepared.comparison.key:
        if part.expression.startswith("("):
            raise Refused(f"its unique_key is an expression ({part.name}), and rows cannot be found by it")
    return prepared
