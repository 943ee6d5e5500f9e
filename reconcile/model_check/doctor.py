"""``reconcile doctor``: what prevents or slows a check or a repair, and how to fix it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from reconcile.capture.setup import capture_findings
from reconcile.dbt.project import Options, Project
from reconcile.definition.model import Definition
from reconcile.engines.base import CommitsStatements, Engine
from reconcile.engines.factory import open_engine
from reconcile.errors import ReconcileError
from reconcile.model_check.build_clock import as_of_last_build
from reconcile.model_check.hints import index_config
from reconcile.model_check.missing_settings import MissingSetting, missing_setting
from reconcile.model_check.prepare_definition import NotSettled, prepare_definition
from reconcile.model_check.run import open_project
from reconcile.report.diagnosis import Diagnosis, Level
from reconcile.state.folder import state_folder
from reconcile.state.proofs import Proofs

_SUPPORTED = ("1.11",)  # dbt-core, as tested


def examine(options: Options, missing: list[MissingSetting] | None = None) -> Iterator[Diagnosis]:
    """Findings about dbt, the project, the database, and each selected model.

    ``missing`` receives the settings that would let models be judged, or be compared by a key.
    """
    yield _dbt()
    try:
        project = open_project(options)
    except ReconcileError as error:
        yield Diagnosis(Level.TROUBLE, "project", str(error))
        return
    count = len(project.definitions)
    yield Diagnosis(Level.FINE, "project", f"{count} incremental models selected, target {project.connection.target}")
    yield _state(project)
    try:
        engine = open_engine(project.connection)
    except ReconcileError as error:
        yield Diagnosis(Level.TROUBLE, "database", str(error))
        return
    try:
        yield Diagnosis(Level.FINE, "database", engine.about())
        yield _repair(engine)
        yield from capture_findings(engine, project)
        proofs = Proofs(project.state)
        for definition in project.definitions:
            yield from _model(engine, definition, proofs)
            if missing is not None and (setting := missing_setting(engine, definition)) is not None:
                missing.append(MissingSetting(project.root, project.name, definition, *setting))
    finally:
        engine.close()


def _dbt() -> Diagnosis:
    try:
        found = version("dbt-core")
    except PackageNotFoundError:
        return Diagnosis(
            Level.TROUBLE, "dbt", "dbt-core is not installed beside reconcile", "pip install dbt-core and an adapter"
        )
    if found.rsplit(".", 1)[0] not in _SUPPORTED:
        tested = ", ".join(_SUPPORTED)
        return Diagnosis(
            Level.WARNING, "dbt", f"dbt-core {found} was not tested", f"use dbt-core {tested} where you can"
        )
    return Diagnosis(Level.FINE, "dbt", f"dbt-core {found}")


def _state(project: Project) -> Diagnosis:
    places = project.state.places()
    kept = f"build times, proofs and past runs are kept in {' and in '.join(places)}"
    if places:
        return Diagnosis(Level.FINE, "state", kept)
    folder = state_folder(project.root, project.state_dir)
    return Diagnosis(
        Level.WARNING,
        "state",
        f"{folder} cannot be written: no pending rows, causes or history are known",
        "run reconcile install with a role that may create schema reconcile, or name a folder with --state-dir",
    )


def _repair(engine: Engine) -> Diagnosis:
    if engine.kind == "duckdb":
        said = "one process has the file: a repair needs it to itself, and locks no single rows"
        return Diagnosis(Level.FINE, "repair", said)
    if isinstance(engine, CommitsStatements):
        said = "a table is repaired by one MERGE, noted in schema reconcile before; one at a time on this machine"
        return Diagnosis(Level.FINE, "repair", said)
    if engine.may_journal():
        return Diagnosis(Level.FINE, "repair", "this role may keep the journal in schema reconcile")
    said = "this role may check and not repair: it cannot create or write schema reconcile"
    return Diagnosis(Level.WARNING, "repair", said, f'create schema reconcile authorization "{engine.role()}"')


def _model(engine: Engine, definition: Definition, proofs: Proofs) -> Iterator[Diagnosis]:
    name = definition.name
    if definition.unverifiable is not None:
        yield Diagnosis(Level.TROUBLE, name, f"it is never judged: {definition.unverifiable}")
        return
    try:
        columns = engine.table_columns(definition.relation_name)
    except ReconcileError as error:
        yield Diagnosis(Level.TROUBLE, name, str(error))
        return
    if columns is None:
        said = f"{definition.relation_name} does not exist"
        yield Diagnosis(Level.TROUBLE, name, said, f"dbt build -s {name}")
        return
    if not engine.may_read(definition.relation_name):
        grant = f'grant select on {definition.relation_name} to "{engine.role()}"'
        yield Diagnosis(Level.TROUBLE, name, "this role may not read its table", grant)
        return
    lacking = [part for part in definition.key if part.isidentifier() and part not in {c.name for c in columns}]
    if lacking:
        mend = f"correct unique_key, or set meta.reconcile.key, in {definition.path}"
        yield Diagnosis(Level.TROUBLE, name, f"its key column {lacking[0]} is not in the table", mend)
        return
    try:
        with engine.built_as(definition.session):
            prepare_definition(engine, as_of_last_build(engine, definition))
    except NotSettled as unsettled:
        yield Diagnosis(Level.TROUBLE, name, f"it is never judged: {unsettled}", next(iter(unsettled.hints), None))
        return
    except ReconcileError as error:
        yield Diagnosis(Level.TROUBLE, name, str(error))
        return
    yield from _warnings(engine, definition)
    proof = proofs.of(definition)
    when = f"proven level {proof.moment.at}" if proof is not None else "not proven level yet"
    yield Diagnosis(Level.FINE, name, f"can be judged; {when}")


def _warnings(engine: Engine, definition: Definition) -> Iterator[Diagnosis]:
    name = definition.name
    if not definition.key:
        yield Diagnosis(
            Level.WARNING,
            name,
            "it has no unique_key: rows are compared as a multiset, without keys, causes or a cheap repair",
            f"set meta.reconcile.key in {definition.path} where its rows have a key",
        )
    elif engine.has_index(definition.relation_name, definition.key) is False:
        said = "no index begins with its key: builds and checks by key read the whole table"
        yield Diagnosis(Level.WARNING, name, said, f"add {index_config(definition.key)} to its config")
    if engine.analyzed(definition.relation_name) is False:
        yield Diagnosis(
            Level.WARNING,
            name,
            "its table has no statistics: the planner guesses, and progress is not told",
            f"analyze {definition.relation_name}",
        )
    if rewriters := engine.rewriters(definition.relation_name):
        named = ", ".join(f"{kind} {name}" for kind, name in rewriters)
        said = f"its table has the {named}: if rows differ, it is unverified and not repaired"
        yield Diagnosis(Level.WARNING, name, said, "write in the model's SQL what it does, and drop it")
    silent = [relation for relation, loaded_at in definition.sources.items() if loaded_at is None]
    if silent:
        yield Diagnosis(
            Level.WARNING,
            name,
            f"{silent[0]} tells no load time: rows that the last build could not see count as drift",
            "declare loaded_at_field on the source",
        )
    elif definition.built_at is None:
        yield Diagnosis(
            Level.WARNING,
            name,
            "no build of it is noted here: rows that the last build could not see count as drift",
            "run reconcile install, so that dbt records its builds in the database",
        )
