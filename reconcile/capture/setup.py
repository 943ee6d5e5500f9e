"""``reconcile setup`` and ``teardown``, and what ``doctor`` reports about capture."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

from reconcile.capture.coverage import Coverage, Unfit
from reconcile.capture.publication import Publication
from reconcile.capture.session import name_of, pin
from reconcile.capture.slot import PREFIX, state
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
_IDLE_SECONDS = 86_400  # a slot that was not read for so long is forgotten, or its reader fails each time
_FULL = 0.8  # of the log that a slot may keep
_LIMIT = "10GB"


def setup(project: Project, unbounded: bool = False) -> Iterator[Diagnosis]:
    """Create slot, publication and state, and publish the tables of the selected models. Can be repeated.

    If something that is needed is missing, nothing is created: each thing is one finding, with its fix. ``unbounded``
    accepts a server that does not limit the log an abandoned slot keeps.
    """
    if project.connection.adapter != "postgres":
        yield Diagnosis(Level.TROUBLE, "capture", "changes are captured on Postgres only: elsewhere checks sweep")
        return
    engine = open_engine(project.connection)
    assert isinstance(engine, PostgresEngine)
    try:
        pin(engine)
        missing = _missing(engine, name_of(project), unbounded)
        yield from missing
        if any(finding.level is Level.TROUBLE for finding in missing):
            return
        name = name_of(project)
        try:
            yield from _create(engine, name, project)
        except EvaluationFailed as error:
            yield Diagnosis(Level.TROUBLE, "slot", f"{name} could not be created: {error}")
            return
        coverage = Coverage(engine, name)
        for definition in project.definitions:
            yield _publish(coverage, definition)
    finally:
        engine.close()


def teardown(project: Project) -> Iterator[Diagnosis]:
    """Drop slot, publication and state of the project; the repair journal stays. Slots and publications of other
    projects in this database, or of this one under an older name, are listed with the statements that drop them."""
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
        others = list(_others(engine, name))
        if engine.table_columns(f"{SCHEMA}.capture") is not None:
            for table in NAMES:
                if engine.table_columns(table) is not None:
                    engine.execute(f"delete from {table} where slot = $1", [name])
            if not engine.one(f"select count(*) from {SCHEMA}.capture")[0]:  # another project's capture continues
                for table in NAMES:
                    engine.execute(f"drop table if exists {table}")
        move_out(engine)
        yield from others
        if not others:
            yield Diagnosis(Level.FINE, "capture", "nothing of it is left")
    except EvaluationFailed as error:
        yield Diagnosis(Level.TROUBLE, "capture", f"it could not be removed: {error}")
    finally:
        engine.close()


_OTHERS = """
    select coalesce(s.slot_name::text, p.pubname::text), s.slot_name is not null, p.pubname is not null,
           pg_catalog.obj_description(p.oid, 'pg_publication')
    from (
        select slot_name from pg_catalog.pg_replication_slots
        where database = current_database() and plugin = 'pgoutput'
    ) as s
    full join pg_catalog.pg_publication p on p.pubname = s.slot_name
    where starts_with(coalesce(s.slot_name::text, p.pubname::text), $1)
      and coalesce(s.slot_name::text, p.pubname::text) <> $2
    order by 1
"""


def _others(engine: PostgresEngine, name: str) -> Iterator[Diagnosis]:
    """Slots and publications of capture in this database that are not this project's."""
    for other, has_slot, has_publication, comment in engine.rows(_OTHERS, [PREFIX, name]):
        drops = [f"select pg_drop_replication_slot('{other}')"] if has_slot else []
        drops += [f'drop publication "{other}"'] if has_publication else []
        owner = f" ({comment})" if comment else ""
        problem = f"{other}{owner} is still in this database: another project's, or this one's under an older name"
        yield Diagnosis(Level.WARNING, "capture", problem, "; ".join(drops))


def capture_findings(engine: Engine, project: Project) -> Iterator[Diagnosis]:
    """The state of the slot, the published tables and the captured models."""
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
    publication = Publication(engine, name)
    for table, reason in publication.refused():
        problem = f"updates and deletes of {table} are refused because it is published: {reason}"
        yield Diagnosis(Level.TROUBLE, "capture", problem, publication.removal(table))
    if engine.table_columns(f"{SCHEMA}.capture_model") is not None:
        yield from _models(engine, name)


def _models(engine: PostgresEngine, name: str) -> Iterator[Diagnosis]:
    models = engine.rows(
        f"""
        select m.model, m.sweep is null, m.since_lsn::text, m.since::timestamp(0)::text,
               count(k.key) filter (where k.key <> '{{}}'), max(k.why), m.audited_keys,
               m.audited_since::timestamp(0)::text
        from {SCHEMA}.capture_model m
        left join {SCHEMA}.capture_key k on k.slot = m.slot and k.model = m.model
        where m.slot = $1 group by 1, 2, 3, 4, 7, 8 order by 1
        """,
        [name],
    )
    for model, proven, lsn, since, dirty, why, audited, audited_since in models:
        text = f"captured since {lsn} ({since}); {dirty:,} keys to compare" if proven else "not proven level yet"
        if audited:
            text += f"; {audited:,} random keys audited since {audited_since}"
        if why:
            text += f"; next a sweep: {why}"
        yield Diagnosis(Level.FINE, model.rsplit(".", 1)[-1], f"capture: {text}")


def _slot(name: str, slot: dict[str, object], seconds: int) -> Diagnosis:
    lag, kept, safe = (slot[key] for key in ("lag_bytes", "retained_bytes", "safe_bytes"))
    text = f"{name}: {_size(lag)} behind, read {seconds:,} s ago, {_size(kept)} of the log kept"
    if seconds > _IDLE_SECONDS:
        text += "; it does not advance, and the log grows"
        return Diagnosis(Level.TROUBLE, "capture", text, "run reconcile check, or reconcile teardown to give it up")
    if not isinstance(safe, int):
        limit = f"alter system set max_slot_wal_keep_size = '{_LIMIT}'; select pg_reload_conf()"
        return Diagnosis(Level.WARNING, "capture", f"{text}; without a limit an abandoned slot fills the disk", limit)
    assert isinstance(kept, int)
    if slot["wal_status"] == "unreserved" or kept > _FULL * (kept + safe):
        text += f"; it is invalidated after {_size(safe)} more"
        return Diagnosis(Level.TROUBLE, "capture", text, "run reconcile check, or raise max_slot_wal_keep_size")
    return Diagnosis(Level.FINE, "capture", f"{text}; {_size(safe)} more may be kept")


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
    has_slot: bool
    unbounded: bool

    def texts(self) -> dict[str, object]:
        return {**asdict(self), "quoted_role": quote(self.role), "quoted_database": quote(self.database)}


_SERVER = """
    select current_setting('server_version_num')::int / 10000, current_setting('wal_level'),
           (select rolreplication or rolsuper from pg_catalog.pg_roles where rolname = current_user)
               or coalesce(
                   (select pg_has_role(oid, 'usage') from pg_catalog.pg_roles where rolname = 'rds_replication'), false
               ),
           has_database_privilege(current_database(), 'create'),
           current_setting('max_replication_slots')::int
               - (select count(*) from pg_catalog.pg_replication_slots)::int,
           current_setting('max_slot_wal_keep_size'), current_setting('idle_replication_slot_timeout', true),
           current_user::text, current_database()::text
"""


@dataclass(frozen=True)
class _Requirement:
    """``holds``: whether the server meets it; ``problem`` and ``fix`` are shown if it does not."""

    about: str
    holds: Callable[[_Server], bool]
    problem: str
    fix: str
    level: Level = Level.TROUBLE


# The texts are formatted with the fields of _Server.
_REQUIREMENTS = (
    _Requirement(
        "server", lambda s: s.version >= _OLDEST, "it is Postgres {version}", f"use Postgres {_OLDEST} or newer"
    ),
    _Requirement(
        "server",
        lambda s: s.wal_level == "logical",
        "wal_level is {wal_level}, and capture needs logical",
        "alter system set wal_level = 'logical', and restart the server",
    ),
    _Requirement(
        "role",
        lambda s: s.may_replicate,
        "{role} may not read a replication slot",
        "alter role {quoted_role} replication",
    ),
    _Requirement(
        "role",
        lambda s: s.may_publish,
        "{role} may not create a publication",
        "grant create on database {quoted_database} to {quoted_role}",
    ),
    _Requirement(
        "server",
        lambda s: s.free_slots > 0 or s.has_slot,
        "it has no free replication slot",
        "alter system set max_replication_slots to more, and restart the server",
    ),
    _Requirement(
        "server",
        lambda s: s.keep_size != "-1" or s.unbounded,
        "nothing limits the log that an abandoned slot keeps: it can fill the disk",
        f"alter system set max_slot_wal_keep_size = '{_LIMIT}'; select pg_reload_conf() (or --unbounded)",
    ),
    _Requirement(
        "server",
        lambda s: s.idle_timeout in (None, "0"),
        "idle_replication_slot_timeout is {idle_timeout}: a slot that is not read for so long is invalidated",
        "check more often than that, or set it to 0",
        Level.WARNING,
    ),
)


def _missing(engine: PostgresEngine, name: str, unbounded: bool) -> list[Diagnosis]:
    """What prevents capture, each with the statement that fixes it."""
    if engine.pooled():
        problem = "it goes through a pooler, whose sessions change between transactions"
        return [Diagnosis(Level.TROUBLE, "connection", problem, "give the profile the server's own address and port")]
    server = _Server(*(*engine.one(_SERVER), state(engine, name) is not None, unbounded))
    texts = server.texts()
    return [
        Diagnosis(need.level, need.about, need.problem.format(**texts), need.fix.format(**texts))
        for need in _REQUIREMENTS
        if not need.holds(server)
    ]


def _create(engine: PostgresEngine, name: str, project: Project) -> Iterator[Diagnosis]:
    settle_in(engine, version_of(engine))
    for statement in TABLES:
        engine.execute(statement)
    if not engine.rows("select 1 from pg_publication where pubname = $1", [name]):
        engine.execute(f'create publication "{name}"')  # before the slot: it is looked up as of each change
        owner = f"reconcile: change capture of project {project.name}, {project.connection.identity}"
        engine.execute(f'comment on publication "{name}" is {engine.literal(owner)}')
    slot = state(engine, name)
    known = engine.rows(
        "select s.confirmed_flush_lsn <= c.position"
        " and c.system = (select system_identifier::text from pg_control_system())"
        f" from {SCHEMA}.capture c"
        " join pg_replication_slots s on s.slot_name = c.slot where c.slot = $1",
        [name],
    )
    if slot is not None and slot["wal_status"] != "lost" and known == [(True,)]:
        yield Diagnosis(Level.FINE, "slot", f"{name} exists already")
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
            text = f"{error}: it waits for every running transaction to end; end the long one, and run it again"
            raise EvaluationFailed(text) from None
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
    """Publish a model's tables, as its next sweep would, so that nothing prevents capture after that sweep."""
    try:
        found = coverage.publish(definition)
    except ReconcileError as error:
        return Diagnosis(Level.WARNING, definition.name, f"it is always swept: {error}")
    if isinstance(found, Unfit):
        return Diagnosis(Level.WARNING, definition.name, f"it is always swept: {found.reason}", found.fix)
    _, mapped = found
    costly = [mapping.why for mapping in mapped.values() if mapping.why is not None]
    text = "captured from its next level check on"
    if costly:
        text += f"; a change of some sources costs a sweep: {'; '.join(costly)} (declare meta.reconcile.key_from)"
    return Diagnosis(Level.FINE, definition.name, text)
