"""``reconcile check``: every selected model against its definition, one report."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from reconcile.capture.session import Capture, Captured, NotCaptured, open_capture
from reconcile.dbt.project import Options, Project, load
from reconcile.dbt.yaml_location import find_declared
from reconcile.definition.model import Definition
from reconcile.engines.base import Engine
from reconcile.engines.factory import before_connect, open_engine
from reconcile.errors import ReconcileError
from reconcile.model_check.judge_model import CheckRequest, judge_definition
from reconcile.report.model import Report, TableReport, Verdict
from reconcile.report.progress import Watcher
from reconcile.report.run_id import new_run_id, now
from reconcile.state.database import make_home
from reconcile.state.proofs import Proofs
from reconcile.state.verdict_table import record

_EVERYTHING = CheckRequest()
_SILENT = Watcher()
log = logging.getLogger("reconcile")
_BETWEEN_CANCELS = 0.1  # seconds


def open_project(options: Options, manifest: Any = None) -> Project:
    """Load the project, with its target's server awake; ``manifest`` as ``load`` takes it. Raises ReconcileError."""
    return load(options, before_connect, manifest)


def check(
    source: Options | Project,
    fail_on: tuple[str, ...] = (),
    watcher: Watcher = _SILENT,
    asked: CheckRequest = _EVERYTHING,
    start_record: bool = False,
    manifest: Any = None,
) -> Report:
    """Judge every selected model of an opened project, or of the one to open. Raises ReconcileError if that fails.

    The verdicts are kept in the database where its schema ``reconcile`` exists, or with ``start_record``.
    ``manifest``: as ``reconcile.dbt.project.load`` takes it.
    A model that cannot be judged does not stop the others: it is in the report as error or unverified.
    """
    started_at, run_id = now(), new_run_id()
    watcher.phase("reading the dbt project")
    project = open_project(source, manifest) if isinstance(source, Options) else source
    if start_record:
        _make_home(project)
    tables = check_tables(project, watcher, asked)
    report = Report(
        run_id=run_id,
        command="check",
        target=project.connection.target,
        started_at=started_at,
        finished_at=now(),
        tables=tables,
        fail_on=fail_on,
        excluded=project.excluded,
        aimed=source.target if isinstance(source, Options) else None,
    )
    record(report, project.connection, create=start_record)
    return report


def _make_home(project: Project) -> None:
    """Before the check, so that its proofs are kept there too. Not being allowed to changes no verdict."""
    try:
        make_home(project.connection)
    except ReconcileError as error:
        log.info("schema reconcile could not be made in the database: %s", error)


def check_tables(
    project: Project, watcher: Watcher = _SILENT, asked: CheckRequest = _EVERYTHING
) -> tuple[TableReport, ...]:
    """Judge the project's definitions, as many at once as the profile has threads, in their order.

    Interrupted, it stops the statements that run and leaves no transaction open.
    """
    definitions = [d for d in project.definitions if d.settings.enabled]
    workers = 1 if project.connection.adapter == "duckdb" else max(1, min(project.connection.threads, len(definitions)))
    proofs = Proofs(project.state)
    capture: Capture = NotCaptured("its scope was given")
    if asked.mode in ("auto", "capture"):
        capture = open_capture(project)
    running: set[Engine] = set()
    lock = threading.Lock()

    def one(definition: Definition) -> TableReport:
        engine = open_engine(project.connection)
        with lock:
            running.add(engine)
        try:
            found = judge_definition(engine, definition, asked, proofs, now(), watcher, capture)
        finally:
            with lock:
                running.discard(engine)
            engine.close()
        watcher.ended(found)
        if found.verdict is Verdict.LEVEL:
            return found
        return replace(found, declared=find_declared(project.root, definition.declared_in, definition.declared_name))

    pool = ThreadPoolExecutor(workers)
    try:
        tables = tuple(pool.map(one, definitions))
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        while running:  # a thread between two statements goes on to its next one
            with lock:
                for engine in running:
                    engine.cancel()
            time.sleep(_BETWEEN_CANCELS)
        raise
    finally:
        pool.shutdown()
        if isinstance(capture, Captured):
            capture.session.close()
    proofs.keep()
    return tables
