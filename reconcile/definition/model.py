"""A dbt model as reconcile judges it: its compiled node, its settings and its definition."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from reconcile.engines.build_session import BuildSession


@dataclass(frozen=True)
class Node:
    """One compiled dbt model, as far as its definition needs it."""

    unique_id: str
    name: str
    relation_name: str
    sql: str
    upstream: tuple[str, ...]
    materialized: str
    contract: Mapping[str, str] = field(default_factory=dict)  # column -> type; only where the contract is enforced
    # microbatch: relation -> a predicate that holds for the rows of its batches; dbt adds it to refs when it runs
    batches: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelSettings:
    """A model's ``config.meta.reconcile``, all optional."""

    key: tuple[str, ...] | None = None
    ignore: frozenset[str] = frozenset()
    never_updated: frozenset[str] = frozenset()  # those of ``ignore`` that dbt's merge_exclude_columns names
    tolerance: Mapping[str, float] = field(default_factory=dict)
    enabled: bool = True
    key_from: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)  # source -> how it names keys
    audit_keys: int = 20  # random keys that every capture check compares beside the changed ones; 0: none
    allow_empty: bool = False  # level, not unverified, where neither side holds a row


@dataclass(frozen=True)
class UpstreamTable:
    """An incremental model that another one reads: a build reads its table, the definition contains its SQL instead."""

    name: str
    relation_name: str
    never_refreshed: bool = False  # as of a definition


@dataclass(frozen=True)
class Build:
    """When a model's last build began and ended (aware, UTC); ``ended`` is None where it is not known."""

    began: datetime
    ended: datetime | None = None


@dataclass(frozen=True)
class SplicedSql:
    """The SQL of one model in a definition, its own or that of a model above.

    ``built_by``: the unique ids of the models in whose builds it is evaluated: a table's own, a view's readers.
    """

    unique_id: str
    name: str
    sql: str
    built_by: tuple[str, ...]


@dataclass(frozen=True)
class BuildClock:
    """The builds as of which a definition is judged whose rows the clock decides: from when to when they ran.

    ``what`` is what the clock decides, in words: "current_date decides its rows or its key". ``sql_now`` is the
    definition by the clock of the check itself; None where that is the same SQL.
    """

    began: datetime
    ended: datetime
    what: str
    sql_now: str | None = None


@dataclass(frozen=True)
class Definition:
    """A model to judge: ``sql`` is its definition; None with ``unverifiable`` saying why there is none."""

    unique_id: str
    name: str
    relation_name: str
    key: tuple[str, ...]
    sql: str | None
    contract: Mapping[str, str]
    settings: ModelSettings
    path: str
    declared_in: str | None = None  # the yml file that names it
    fqn: tuple[str, ...] = ()  # package, folders and name, as dbt_project.yml nests configs
    unverifiable: str | None = None
    as_of_sql: str | None = None  # the definition over what the sources held when the table was last built
    built_at: str | None = None  # when that was (ISO 8601)
    # the definition over some rows of its sources only: relation -> a predicate on its rows
    over: Callable[[Mapping[str, str]], str] | None = None
    sources: Mapping[str, str | None] = field(default_factory=dict)  # what it reads -> its loaded_at_field
    upstream_tables: tuple[UpstreamTable, ...] = ()
    never_refreshed: bool = False  # full_refresh: false: its table may hold rows whose sources were purged
    version: str | None = None  # of a model with versions; its name is then dim_x.v2
    parts: tuple[SplicedSql, ...] = ()  # what ``sql`` is spliced of
    builds: Mapping[str, Build | None] = field(default_factory=dict)  # the last build of each of ``built_by``
    # the definition with other SQL in place of some of its parts: unique id -> SQL
    respliced: Callable[[Mapping[str, str]], Definition] | None = None
    clock: BuildClock | None = None  # set where the clock's values are replaced by the time of the last build
    stamps: frozenset[str] = frozenset()  # with ``clock``: the columns that hold nothing but the time of a build
    session: BuildSession = field(default_factory=BuildSession)  # what holds where dbt evaluates it, and where we do
    incremental_sql: Callable[[], str | None] = lambda: None  # the SQL that the next build would run

    @property
    def declared_name(self) -> str:
        """Its name in a yml file, where a version is part of the model."""
        return self.name if self.version is None else self.name.removesuffix(f".v{self.version}")
