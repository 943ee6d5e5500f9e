"""What surrounds the incremental models of a project: the freshness of its sources, the tables to show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconcile.dbt.project import Options, connection_of, nothing_on_stdout, root_of, run_command
from reconcile.engines.factory import Connection


@dataclass(frozen=True)
class SourceFreshnessRule:
    """A source with a freshness rule: ``newest_sql`` yields when its newest row was loaded.

    ``status`` is dbt's own rule: an age in seconds -> pass, warn or error.
    """

    name: str
    newest_sql: str
    status: Callable[[float], str]
    warn_after: str | None
    error_after: str | None


@dataclass(frozen=True)
class Surroundings:
    """``panels``: title and relation of each model with a ``meta.reconcile.panel``."""

    connection: Connection
    sources: tuple[SourceFreshnessRule, ...]
    panels: tuple[tuple[str, str], ...]


def look_around(options: Options, before_connect: Callable[[str, Path], None]) -> Surroundings:
    """Parse the project; nothing is asked of the database. Raises ProjectError where there is no project.

    `dbt source freshness` itself would run the project's hooks, which may write.
    """
    root = root_of(options.project_dir)
    with nothing_on_stdout():
        manifest = run_command(options, None, "parse", resolve_root=root)
        connection = connection_of(options, root)
        before_connect(connection.target, root)
    sources = tuple(_source(node) for node in manifest.sources.values() if _tells_its_age(node))
    models = [node for node in manifest.nodes.values() if node.resource_type == "model" and node.relation_name]
    panels = tuple((title, node.relation_name) for node in models if (title := _panel(node)))
    return Surroundings(connection, sources, panels)


def _panel(node: Any) -> str | None:
    meta = {**(node.config.meta or {}), **(node.meta or {})}.get("reconcile") or {}
    return str(meta["panel"]) if meta.get("panel") else None


def _tells_its_age(node: Any) -> bool:
    return bool(node.has_freshness and (node.loaded_at_field or getattr(node, "loaded_at_query", None)))


def _source(node: Any) -> SourceFreshnessRule:
    limits = node.freshness
    where = f" where {limits.filter}" if limits.filter else ""
    newest = f"select max({node.loaded_at_field}) from {node.relation_name}{where}"
    return SourceFreshnessRule(
        name=f"{node.source_name}.{node.name}",
        newest_sql=getattr(node, "loaded_at_query", None) or newest,
        status=lambda age: str(limits.status(age)),
        warn_after=_limit(limits.warn_after),
        error_after=_limit(limits.error_after),
    )


def _limit(threshold: Any) -> str | None:
    if threshold is None or threshold.count is None:
        return None
    return (
        f"{threshold.count} {getattr(threshold.period, 'value', threshold.period)}{'s' if threshold.count != 1 else ''}"
    )
