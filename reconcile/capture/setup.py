"""``reconcile setup`` and ``teardown``, and what ``doctor`` says of capture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from reconcile.capture.coverage import Coverage
from reconcile.capture.session import name_of
from reconcile.capture.slot import state
from reconcile.capture.tables import NAMES, TABLES
from reconcile.dbt.project import Project
from reconcile.definition.model import Definition
from reconcile.engines.base import Engine
from reconcile.engines.factory import open_engine
from reconcile.engines.identifiers import quote
from reconcile.engines.own_schema import SCHEMA
from reconcile.engines.postgres import PostgresEngine
from reconcile.errors import EvaluationFailed, ReconcileError
from reconcile.report.diagnosis import Diagnosis, Level
from reconcile.state.schema import move_out, settle_in, version_of

_OLDEST = 15
_SLOT_SECONDS = 60  # how long to wait for running transactions to end before a slot begins
_FULL = 0.8  # of the log that a slot may keep
_LIMIT = "10GB"


def setup(project: Project, unbounded: bool = False) -> Iterator[Diagnosis]:
    """Create slot, publication and state, and publish the tables of the selected models. Can be repeated.

    Where something that is needed is missing nothing is created: each thing is one finding, with what mends it.
    ``unbounded`` takes a server that sets no limit to the log an abandoned slot keeps.
    """
    if project.connection.adapter != "postgres":
        yield Diagnosis(Level.TROUBLE, "capture", "changes are captured on Postgres only: elsewhere checks sweep")
        return
    engine = open_engine(project.connection)
    assert isinstance(engine, PostgresEngine)
    try:
        missing = list(_missing(engine, name_of(project), unbounded))
        yield from missing
        if any(finding.level is Level.TROUBLE for finding in missing):
            return
        name = name_of(project)
        try:
            yield from _create(engine, name)
        except EvaluationFailed as error:
            yield Diagnosis(Level.TROUBLE, "slot", f"{name} could not be created: {error}")
            return
        coverage = Coverage(engine, name)
        for definition in project.definitions:
            yield _publish(coverage, definition)
    finally:
        engine.close()


def teardown(project: Project) -> Iterator[Diagnosis]:
    """Drop slot, publication and state; the repair journal stays."""
    if project.connection.adapter != "postgres":
        yield Diagnosis(Level.FINE, "capture", "nothing was set up")
        return
    engine = open_engine(project.connection)
    assert isinstance(engine, PostgresEngine)
    name = name_of(project)
    try:
        if state(engine, name) is not None:
            engine.execute("select pg_drop_replication_slot($1)", [name])
            yield Diagnosis(Level.FINE, "slot", f"{name} is dropped")
        engine.execute(f'drop publication if exists "{name}"')
        if engine.table_columns(f"{SCHEMA}.capture") is not None:
            for table in NAMES:
                engine.execute(f"delete from {table} where slot = $1", [name])
            if not engine.one(f"select count(*) from {SCHEMA}.capture")[0]:  # another project's capture goes on
                for table in NAMES:
                    engine.execute(f"drop table {table}")
        move_out(engine)
        yield Diagnosis(Level.FINE, "capture", "nothing of it is left")
    except EvaluationFailed as error:
        yield Diagnosis(Level.TROUBLE, "capture", f"it could not be taken down: {error}")
    finally:
        engine.close()


def capture_findings(engine: Engine, project: Project) -> Iterator[Diagnosis]:
    """The slot's state and the models it vouches for."""
    if not isinstance(engine, PostgresEngine):
        return
    name = name_of(project)
    rows = []
    if engine.table_columns(f"{SCHEMA}.capture") is not None:
        rows = engine.rows(
            f"select extract(epoch from current_timestamp - read_at)::bigint from {SCHEMA}.capture where slot = $1",
            [name],
        )
    slot = state(engine, name)
    if not rows and slot is None:
        yield Diagnosis(Level.FINE, "capture", "changes are not captured: checks sweep (reconcile setup)")
        return
    if slot is None or not rows or slot["wal_status"] == "lost":
        why = "is gone" if slot is None else "is not known here" if not rows else "was invalidated"
        yield Diagnosis(Level.TROUBLE, "capture", f"the slot {name} {why}: checks sweep", "reconcile setup")
        return
    yield _slot(name, slot, rows[0][0])
    vouched = engine.rows(
        f"""
        select m.model, m.sweep is null, m.since_lsn::text, m.since::timestamp(0)::text,
               count(k.key) filter (where k.key <> '{{}}'), max(k.why)
        from {SCHEMA}.capture_model m
        left join {SCHEMA}.capture_key k on k.slot = m.slot and k.model = m.model
        where m.slot = $1 group by 1, 2, 3, 4 order by 1
        """,
        [name],
    )
    for model, proven, lsn, since, dirty, why in vouched:
        said = f"vouched for since {lsn} ({since}); {dirty:,} keys to compare" if proven else "not proven level yet"
        yield Diagnosis(Level.FINE, model.rsplit(".", 1)[-1], f"capture: {said}" + (f"; a sweep: {why}" if why else ""))


def _slot(name: str, slot: dict[str, object], seconds: int) -> Diagnosis:
    lag, kept, safe = (slot[key] for key in ("lag_bytes", "retained_bytes", "safe_bytes"))
    said = f"{name}: {_size(lag)} behind, read {seconds:,} s ago, {_size(kept)} of the log kept"
    if not isinstance(safe, int):
        limit = f"alter system set max_slot_wal_keep_size = '{_LIMIT}'; select pg_reload_conf()"
        return Diagnosis(Level.WARNING, "capture", f"{said}; without a limit an abandoned slot fills the disk", limit)
    assert isinstance(kept, int)
    if slot["wal_status"] == "unreserved" or kept > _FULL * (kept + safe):
        said += f"; it is invalidated after {_size(safe)} more"
        return Diagnosis(Level.TROUBLE, "capture", said, "reconcile check reads it; or raise max_slot_wal_keep_size")
    return Diagnosis(Level.FINE, "capture", f"{said}; {_size(safe)} more may be kept")


def _size(count: object) -> str:
    assert isinstance(count, int)
    for unit, size in (("GB", 1 << 30), ("MB", 1 << 20), ("kB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"


@dataclass(frozen=True)
class _Server:
    version: int
    wal_level: str
    may_replicate: bool
    may_publish: bool
    free_slots: int
    keep_size: str
    idle_timeout: str | None
    role: str
    database: str


def _missing(engine: PostgresEngine, name: str, unbounded: bool) -> Iterator[Diagnosis]:
    """What stands in the way of capture, each with the statement that mends it."""

    def trouble(about: str, said: str, mend: str) -> Diagnosis:
        return Diagnosis(Level.TROUBLE, about, said, mend)

    if engine.pooled():
        yield trouble(
            "connection",
            "it goes through a pooler, whose sessions change between transactions",
            "give the profile the server's own address and port",
        )
        return
    server = _Server(
        *engine.one("""
            select current_setting('server_version_num')::int / 10000, current_setting('wal_level'),
                   (select rolreplication or rolsuper from pg_roles where rolname = current_user)
                       or coalesce(
                           (select pg_has_role(oid, 'usage') from pg_roles where rolname = 'rds_replication'), false
                       ),
                   has_database_privilege(current_database(), 'create'),
                   current_setting('max_replication_slots')::int - (select count(*) from pg_replication_slots)::int,
                   current_setting('max_slot_wal_keep_size'), current_setting('idle_replication_slot_timeout', true),
                   current_user::text, current_database()::text
        """)
    )
    role, database = quote(server.role), quote(server.database)
    if server.version < _OLDEST:
        yield trouble("server", f"it is Postgres {server.version}", f"use Postgres {_OLDEST} or newer")
    if server.wal_level != "logical":
        mend = "alter system set wal_level = 'logical', and restart the server"
        yield trouble("server", f"wal_level is {server.wal_level}, and capture needs logical", mend)
    if not server.may_replicate:
        yield trouble("role", f"{server.role} may not read a replication slot", f"alter role {role} replication")
    if not server.may_publish:
        yield trouble(
            "role", f"{server.role} may not create a publication", f"grant create on database {database} to {role}"
        )
    if server.free_slots < 1 and state(engine, name) is None:
        mend = "alter system set max_replication_slots to more, and restart the server"
        yield trouble("server", "it has no free replication slot", mend)
    if server.keep_size == "-1" and not unbounded:
        mend = f"alter system set max_slot_wal_keep_size = '{_LIMIT}'; select pg_reload_conf() (or --unbounded)"
        yield trouble("server", "nothing limits the log that an abandoned slot keeps: it can fill the disk", mend)
    if server.idle_timeout not in (None, "0"):
        said = f"idle_replication_slot_timeout is {server.idle_timeout}: a slot not read for so long is invalidated"
        yield Diagnosis(Level.WARNING, "server", said, "check more often than that, or set it to 0")


def _create(engine: PostgresEngine, name: str) -> Iterator[Diagnosis]:
    settle_in(engine, version_of(engine))
    for statement in TABLES:
        engine.execute(statement)
    if not engine.rows("select 1 from pg_publication where pubname = $1", [name]):
        engine.execute(f'create publication "{name}"')  # before the slot: it is looked up as of each change
    slot = state(engine, name)
    known = engine.rows(
        "select s.confirmed_flush_lsn <= c.position"
        " and c.system = (select system_identifier::text from pg_control_system())"
        f" from {SCHEMA}.capture c"
        " join pg_replication_slots s on s.slot_name = c.slot where c.slot = $1",
        [name],
    )
    if slot is not None and slot["wal_status"] != "lost" and known == [(True,)]:
        yield Diagnosis(Level.FINE, "slot", f"{name} stands already")
        return
    if slot is not None:
        engine.execute("select pg_drop_replication_slot($1)", [name])
    with engine.transaction():
        engine.execute(f"set local statement_timeout = '{_SLOT_SECONDS}s'")
        try:
            [(position,)] = engine.rows(
                "select lsn::text from pg_create_logical_replication_slot($1, 'pgoutput')", [name]
            )
        except EvaluationFailed as error:
            said = f"{error}: it waits for every running transaction to end; end the long one, and run it again"
            raise EvaluationFailed(said) from None
    for table in ("capture_key", "capture_model", "capture_table"):
        engine.execute(f"delete from {SCHEMA}.{table} where slot = $1", [name])
    engine.execute(
        f"insert into {SCHEMA}.capture (slot, system, position)"
        " values ($1, (select system_identifier::text from pg_control_system()), $2::pg_lsn)"
        " on conflict (slot) do update set system = excluded.system, position = excluded.position",
        [name, position],
    )
    yield Diagnosis(Level.FINE, "slot", f"{name} is created")


def _publish(coverage: Coverage, definition: Definition) -> Diagnosis:
    """Publish a model's tables, as its next sweep would, so that nothing is in that sweep's way."""
    try:
        mapped, why = coverage.publish(definition)
    except ReconcileError as error:
        mapped, why = {}, str(error)
    if why is not None:
        return Diagnosis(Level.WARNING, definition.name, f"it is swept always: {why}", _after_colon(why))
    costly = [mapping.why for mapping in mapped.values() if mapping.why is not None]
    said = "captured from its next level check on"
    if costly:
        said += f"; a change of some sources costs a sweep: {'; '.join(costly)} (meta.reconcile.key_from can say)"
    return Diagnosis(Level.FINE, definition.name, said)


def _after_colon(why: str) -> str | None:
    """The statement that a reason ends with."""
    mend = why.rpartition(": ")[2]
    return mend if mend.startswith("alter table") else None
