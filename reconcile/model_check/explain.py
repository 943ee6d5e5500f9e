"""``reconcile explain``: what a check of a model would do, as SQL that can be run, with the reasons as comments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from reconcile.capture.session import Capture, Captured, NotCaptured, open_capture
from reconcile.compare.multiset import Rows, surplus_counts_sql
from reconcile.compare.sql import totals_sql
from reconcile.dbt.project import Options
from reconcile.definition.model import Definition
from reconcile.engines.base import Engine
from reconcile.engines.factory import open_engine
from reconcile.errors import ReconcileError
from reconcile.model_check.build_clock import as_of_last_build
from reconcile.model_check.prepare_definition import prepare_definition
from reconcile.model_check.run import open_project


def explain(options: Options) -> Iterator[str]:
    """One text a selected model. Raises ReconcileError where the project cannot be loaded."""
    project = open_project(options)
    capture = open_capture(project)
    try:
        for definition in project.definitions:
            engine = open_engine(project.connection)
            try:
                with engine.built_as(definition.session):
                    yield "\n".join(_told(engine, definition, capture)) + "\n"
            finally:
                engine.close()
    finally:
        if isinstance(capture, Captured):
            capture.session.close()


def _told(engine: Engine, definition: Definition, capture: Capture) -> Iterator[str]:
    settings = definition.settings
    yield f"-- {definition.name} ({definition.path})"
    yield f"-- table:     {definition.relation_name}"
    yield f"-- key:       {', '.join(definition.key) or 'none: rows are compared as a multiset'}"
    if settings.ignore:
        yield f"-- ignored:   {', '.join(sorted(settings.ignore))}"
    if settings.tolerance:
        yield f"-- tolerance: {', '.join(f'{name} {eps:g}' for name, eps in settings.tolerance.items())}"
    unknown = "not distinguished: no loaded_at_field on its sources, or no build is known"
    told_apart = "rows loaded since its last build are reported separately"
    yield f"-- pending:   {told_apart if definition.as_of_sql else unknown}"
    if definition.unverifiable is not None or definition.sql is None:
        yield f"-- scope:     none, because {definition.unverifiable}"
        return
    yield from _scope(definition, capture)
    try:
        definition = as_of_last_build(engine, definition)
        prepared = prepare_definition(engine, definition)
    except ReconcileError as error:
        yield f"-- trouble:   {error}"
        return
    if definition.clock is not None:
        yield f"-- clock:     of the build of {definition.clock.began.isoformat()}: {definition.clock.what}"
    if prepared is None:
        yield f"-- trouble:   {definition.relation_name} does not exist: run `dbt build -s {definition.name}` first"
        return
    if aside := [entry for entry in prepared.not_compared if entry.column not in settings.ignore]:
        yield f"-- set aside: {', '.join(f'{entry.column} ({entry.reason})' for entry in aside)}"
    for change in prepared.schema_changes:
        yield f"-- schema:    {change.column} is {change.problem} in the table"
    if definition.key and engine.kind == "postgres" and not prepared.actual_unique:
        columns = ", ".join(definition.key)
        yield f"-- hint:      no unique index keeps ({columns}): one, or a contract's primary key, spares a pass"
    comparison = replace(prepared.comparison, as_of=None)
    statement = totals_sql(comparison, prepared.actual_unique)
    if not comparison.key:
        statement = surplus_counts_sql(comparison, Rows.ALL)
    shown = engine.shown(statement)
    with engine.snapshot():
        estimate = engine.plan(statement)
    if estimate:
        yield f"-- estimate:  cost {estimate.cost:,.0f}, about {estimate.scanned:,} rows scanned"
    for setting in definition.session.statements():  # as dbt's build has them
        yield f"{setting};"
    yield f"{shown};"


def _scope(definition: Definition, capture: Capture) -> Iterator[str]:
    """Which way a check would judge the model now; the slot is not read for it."""
    if isinstance(capture, NotCaptured):
        yield f"-- scope:     sweep, because {capture.reason}: every row of both sides is read"
        return
    for relation, mapping in capture.session.describe(definition).items():
        yield f"-- changes:   {relation}: {mapping}"
    why = capture.session.why_swept(definition)
    if why is None:
        yield "-- scope:     capture: the statement below, for the keys that changed since it was proven level"
    else:
        yield f"-- scope:     sweep, because {why}: every row of both sides is read"
