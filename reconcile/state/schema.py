"""The schema `reconcile` of a user's database: repair journal, verdicts, state of checks and of change capture.

The tables of build times, proofs and reports come with it, for dbt to write to; each other one is created when it is
first needed. A change of a table between two releases is a step here; the first
command that writes migrates the tables of an older release.
"""

from __future__ import annotations

from reconcile.engines.base import CommitsStatements, Engine
from reconcile.engines.own_schema import SCHEMA
from reconcile.errors import Refused

VERSION = 7
_NUMBER = f"{SCHEMA}.schema_version"
BUILD, PROOF, RUN_REPORT = (f"{SCHEMA}.{name}" for name in ("build", "proof", "run_report"))
_STATE = (
    f"""create table if not exists {BUILD} (
        unique_id varchar not null, relation varchar not null, target varchar not null, invocation_id varchar,
        started_at timestamp with time zone not null, completed_at timestamp with time zone
    )""",
    f"""create table if not exists {PROOF} (
        unique_id varchar not null, relation varchar not null, proven_at timestamp with time zone not null,
        xid bigint, server varchar, sql_text varchar not null, session varchar
    )""",
    f"""create table if not exists {RUN_REPORT} (
        run_id varchar not null, project varchar not null, command varchar not null, target varchar not null,
        finished_at timestamp with time zone not null, report varchar not null
    )""",
)
# version -> what makes it the next one. 1: the journal; 2: capture beside it; 3: its read_at, once created_at;
# 4: verdicts; 5: the number itself is kept; 6: proofs and dirty keys of capture hold more, and are made anew;
# 7: build times, proofs and reports
_STEPS: dict[int, tuple[str, ...]] = {
    2: (f"alter table if exists {SCHEMA}.capture rename column created_at to read_at",),
    5: tuple(f"drop table if exists {SCHEMA}.{name}" for name in ("capture_key", "capture_model", "capture_table")),
}


def is_at_home(engine: Engine) -> bool:
    """Whether the schema is there."""
    return engine.has_schema(SCHEMA)


def version_of(engine: Engine) -> int | None:
    """The version of our tables in this database; None where there are none. Raises Refused for one of the future."""
    if engine.table_columns(_NUMBER) is not None:
        found = engine.rows(f"select max(version) from {_NUMBER}")[0][0]
        if found is not None and found > VERSION:
            raise Refused(
                f"schema {SCHEMA} of this database is of version {found}, and this reconcile knows versions up to "
                f"{VERSION}: upgrade reconcile; nothing was changed"
            )
        return int(found) if found is not None else None
    capture = engine.table_columns(f"{SCHEMA}.capture")
    if engine.table_columns(f"{SCHEMA}.verdict") is not None:
        return 4
    if capture is not None:
        return 2 if any(column.name == "created_at" for column in capture) else 3
    return 1 if engine.table_columns(f"{SCHEMA}.repair") is not None else None


def settle_in(engine: Engine, found: int | None) -> None:
    """Make the schema where it is not there, and bring our tables in it up to date from the version that was ``found``.

    ``version_of`` is asked before a transaction begins: inside one, DuckDB ends it over a table that is not there.

    Raises EvaluationFailed where we may not. "create schema if not exists" alone would ask for the right to make
    schemas also where there is one.
    """
    if not is_at_home(engine):
        engine.make_schema(SCHEMA)
    if found == VERSION:
        return
    for version in range(found or VERSION, VERSION):
        for statement in _STEPS.get(version, ()):
            engine.execute(statement)
    if not isinstance(engine, CommitsStatements):  # there, state is kept in files
        for statement in _STATE:
            engine.execute(statement)
    engine.execute(f"create table if not exists {_NUMBER} (version bigint not null)")
    engine.execute(f"delete from {_NUMBER}")
    engine.execute(f"insert into {_NUMBER} values ({VERSION})")


def move_out(engine: Engine) -> None:
    """Drop the schema where nothing but its number, and tables of the state without a row, is left in it."""
    ours = (_NUMBER, BUILD, PROOF, RUN_REPORT)
    others = "select relname from pg_class where relnamespace = to_regnamespace($1) and relkind <> 'i'"
    if {f"{SCHEMA}.{name}" for (name,) in engine.rows(others, [SCHEMA])} - set(ours):
        return
    there = [table for table in ours[1:] if engine.table_columns(table) is not None]
    if not any(engine.rows(f"select 1 from {table} limit 1") for table in there):
        for table in ours:
            engine.execute(f"drop table if exists {table}")
        engine.execute(f"drop schema if exists {SCHEMA}")
