"""Default answers for engines without transaction ids, indexes or privileges."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from reconcile.engines.base import Column, Estimate, Reference, RowCounts
from reconcile.engines.build_session import BuildSession, Settings
from reconcile.errors import NotSetUp


class OwnDialect:
    """An engine that our statements are written for: nothing of them is translated."""

    def spelled(self, sql: str) -> str:
        return sql

    def shown(self, sql: str) -> str:
        return sql

    def given(self, sql: str) -> str:
        return sql


class PlainEngine:
    """The part of the protocol in which only a server like Postgres has something to tell."""

    pinned_settings: dict[str, str] = {}  # noqa: RUF012
    row_lock = ""  # a transaction that conflicts fails whole there
    skip_conflicts = ""
    functions = ""
    equal = "="
    tells_instants = ages_at_midnight = False

    def has_unique_index(self, relation_name: str, columns: Sequence[str]) -> bool:
        return False

    def unique_keys(self, relation_name: str) -> list[tuple[str, ...]]:
        return []

    def plan(self, sql: str) -> Estimate | None:
        return None  # their planners tell rows or sizes, and no cost

    def prefer_merge(self, sql: str) -> None:
        """Nothing to prefer: they hash, or adapt while they run."""

    def histogram(self, relation_name: str, column: Column) -> list[str]:
        return []

    def losses(self) -> list[str]:
        return []

    def xid(self) -> int | None:
        return None

    def server(self) -> str | None:
        return None

    def snapshot_name(self) -> str:
        return ""

    def writer(self, relation_name: str) -> str | None:
        return None

    def has_index(self, relation_name: str, columns: Sequence[str]) -> bool | None:
        return None

    def may_read(self, relation_name: str) -> bool:
        return True

    def analyzed(self, relation_name: str) -> bool | None:
        return None

    @contextmanager
    def built_as(self, session: BuildSession) -> Iterator[None]:
        if session:
            raise NotSetUp(f"settings of dbt's session are not applied on {type(self).__name__}")
        yield

    @contextmanager
    def set_instead(self, settings: Settings) -> Iterator[None]:
        if settings:
            raise NotSetUp(f"settings of dbt's session are not applied on {type(self).__name__}")
        yield

    @contextmanager
    def pinned(self) -> Iterator[None]:
        yield  # texts of their values depend on no setting but the time zone, which is part of the text

    def pinning_sql(self) -> list[str]:
        return []

    def table_rules(self, relation_name: str) -> list[tuple[str, str]]:
        return []

    def rewriters(self, relation_name: str) -> list[tuple[str, str]]:
        return []

    def lock_table(self, relation_name: str) -> None:
        """Their transactions fail if another one changes the table."""

    def row_counts(self, relation_name: str) -> RowCounts | None:
        return None

    def unique_sets(self, relation_name: str) -> list[tuple[str, ...]]:
        return []

    def bound_to(self, relation_name: str) -> list[str]:
        return []

    def references(self, relation_name: str) -> list[Reference]:
        return []

    def parents(self, relation_name: str) -> list[str]:
        return []

    def same_table(self, relation_name: str) -> str:
        return relation_name

    def lacking(self, relation_name: str, actions: Iterable[str]) -> list[str]:
        return []
