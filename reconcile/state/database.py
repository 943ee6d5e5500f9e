"""State in the schema ``reconcile`` of the target's database: every machine that checks it knows the same.

Rows are only added, so that a role needs no more than SELECT and INSERT; the newest row counts. Old rows are deleted by
a role that may.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from reconcile.engines.base import CommitsStatements, Engine, Moment
from reconcile.engines.factory import Connection, engine_of, open_engine
from reconcile.errors import ReconcileError
from reconcile.report.model import Report, report_from_dict
from reconcile.state.schema import BUILD, PROOF, RUN_REPORT, is_at_home, settle_in, version_of
from reconcile.state.store import NotedBuild, Proof, Proven, session_from_json, session_to_json

log = logging.getLogger("reconcile")


class DatabaseState:
    """State in the database of ``connection``, of the dbt project ``project``. Every method raises ReconcileError."""

    def __init__(self, connection: Connection, project: str, keep_days: int) -> None:
        self._connection, self._project, self._keep_days = connection, project, keep_days

    def missing(self) -> str | None:
        """Why nothing can be kept there now; None if it can."""
        with self._session() as engine:
            if not is_at_home(engine):
                return "the database has no schema reconcile"
            if engine.table_columns(RUN_REPORT) is None:
                allowed = engine.may_journal()
                return None if allowed else "this role may not create tables in schema reconcile of the database"
            lacking = [table for table in (BUILD, PROOF, RUN_REPORT) if engine.lacking(table, ["insert"])]
            return f"this role may not insert into {lacking[0]}" if lacking else None

    def read(self) -> tuple[list[NotedBuild], Proven]:
        """The latest build and the newest proof of each table; empty without our tables."""
        with self._session() as engine:
            if engine.table_columns(PROOF) is None:
                return [], {}
            version_of(engine)
            builds = engine.rows(
                f"select unique_id, relation, max(target), max(started_at), max(completed_at) from {BUILD}"
                " group by unique_id, relation"
            )
            proofs = engine.rows(
                f"select unique_id, relation, proven_at, xid, sql_text, session, server from {PROOF} as proof"
                f" where proven_at = (select max(proven_at) from {PROOF} as other"
                " where other.unique_id = proof.unique_id and other.relation = proof.relation)"
            )
            server = engine.server()
        found = {
            (unique_id, relation): Proof(Moment(_iso(at), xid), sql, session_from_json(json.loads(session or "{}")))
            for unique_id, relation, at, xid, sql, session, at_server in proofs
            if at_server == server  # a database that was copied to another server numbers its transactions anew
        }
        return [_noted(*build) for build in builds], found

    def add(self, proofs: Proven, builds: Sequence[NotedBuild]) -> bool:
        """Add proofs and builds; False where there is no schema."""
        if not proofs and not builds:
            return True
        with self._written() as engine:
            if engine is None:
                return False
            server = engine.server()
            for (unique_id, relation), proof in proofs.items():
                moment, session = proof.moment, json.dumps(session_to_json(proof.session))
                _insert(engine, PROOF, [unique_id, relation, moment.at, moment.xid, server, proof.sql, session])
            for build in builds:
                ran = [build.began.isoformat(), build.ended and build.ended.isoformat()]
                _insert(engine, BUILD, [build.unique_id, build.relation, build.target, None, *ran])
        return True

    def reports(self, latest: int, run_id: str | None = None) -> list[Report]:
        """The project's latest reports, oldest first, or the one of ``run_id``."""
        with self._session() as engine:
            if engine.table_columns(RUN_REPORT) is None:
                return []
            version_of(engine)
            one = "" if run_id is None else " and run_id = $2"
            rows = engine.rows(
                f"select run_id, report from {RUN_REPORT} where project = $1{one} order by run_id desc"
                f" limit {int(latest)}",
                [self._project, *([] if run_id is None else [run_id])],
            )
        return [report for row in reversed(rows) if (report := _report(*row)) is not None]

    def keep_report(self, report: Report) -> bool:
        """Add a report, and forget what is old; False where there is no schema."""
        with self._written() as engine:
            if engine is None:
                return False
            values = [report.run_id, self._project, report.command, report.target, report.finished_at]
            _insert(engine, RUN_REPORT, [*values, report.to_json()])
        with suppress(ReconcileError):  # a role that may not delete leaves it to one that may
            self._forget()
        return True

    def _forget(self) -> None:
        """Delete reports, builds and proofs older than ``keep_days``; of each table the newest build and proof stay."""
        before = [(datetime.now(UTC) - timedelta(days=self._keep_days)).isoformat()]
        with self._session() as engine:
            engine.execute(f"delete from {RUN_REPORT} where finished_at < cast($1 as timestamp with time zone)", before)
            for table, at in ((BUILD, "started_at"), (PROOF, "proven_at")):
                engine.execute(
                    f"delete from {table} where {at} < cast($1 as timestamp with time zone) and {at} < (select"
                    f" max(newer.{at}) from {table} as newer where newer.unique_id = {table}.unique_id"
                    f" and newer.relation = {table}.relation)",
                    before,
                )

    @contextmanager
    def _session(self) -> Iterator[Engine]:
        engine = open_engine(self._connection)
        try:
            yield engine
        finally:
            engine.close()

    @contextmanager
    def _written(self) -> Iterator[Engine | None]:
        """A transaction in which our tables are there and up to date; None where there is no schema."""
        with self._session() as engine:
            if not is_at_home(engine):
                yield None
                return
            version = version_of(engine)
            with engine.transaction():
                settle_in(engine, version)
                yield engine


def keeps_state(connection: Connection) -> bool:
    """Whether state is kept in such a database: not without transactions over several statements."""
    return not issubclass(engine_of(connection.adapter), CommitsStatements)


def make_home(connection: Connection) -> None:
    """Make the schema ``reconcile`` with the tables of the state. Raises ReconcileError if that is not allowed."""
    engine = open_engine(connection)
    try:
        version = version_of(engine)
        with engine.transaction():
            settle_in(engine, version)
    finally:
        engine.close()


def _insert(engine: Engine, table: str, values: Sequence[Any]) -> None:
    places = ", ".join(f"${number}" for number in range(1, len(values) + 1))
    engine.execute(f"insert into {table} values ({places})", values)


def _noted(unique_id: str, relation: str, target: str, began: datetime, ended: datetime | None) -> NotedBuild:
    """The newest build; an end before its beginning is that of an older one."""
    known = ended.astimezone(UTC) if ended is not None and ended >= began else None
    return NotedBuild(unique_id, relation, target, began.astimezone(UTC), known)


def _report(run_id: str, text: str) -> Report | None:
    try:
        return report_from_dict(json.loads(text))
    except (ValueError, KeyError, TypeError) as error:
        log.warning("the report of run %s in the database is not one of this version (%s)", run_id, error)
        return None


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
