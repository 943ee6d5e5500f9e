"""A model's own settings: ``config.meta.reconcile``, all optional."""

from __future__ import annotations

from typing import Any

from reconcile.definition.model import ModelSettings
from reconcile.errors import ProjectError


def settings_of(node: Any) -> ModelSettings:
    """A dbt node's settings. Raises ProjectError for one that does not exist."""
    meta = {**(node.config.meta or {}), **(node.meta or {})}.get("reconcile") or {}
    unknown = set(meta) - {"key", "ignore", "tolerance", "enabled", "key_from", "allow_empty", "panel", "audit_keys"}
    if unknown:
        raise ProjectError(
            f"{node.name}: meta.reconcile has no setting {sorted(unknown)[0]!r}: correct {node.original_file_path}"
        )
    # only dbt's strategy merge reads it; under another strategy a build writes these columns too
    merged = node.config.get("incremental_strategy") == "merge"
    never_updated = (node.config.get("merge_exclude_columns") or []) if merged else []
    return ModelSettings(
        key=names_of(meta["key"]) if meta.get("key") else None,
        ignore=frozenset(names_of(meta.get("ignore") or []) + names_of(never_updated)),
        tolerance={name: float(value) for name, value in (meta.get("tolerance") or {}).items()},
        never_updated=frozenset(names_of(never_updated)),
        enabled=bool(meta.get("enabled", True)),
        key_from={
            name: said if isinstance(said, str) else tuple(said) for name, said in (meta.get("key_from") or {}).items()
        },
        allow_empty=bool(meta.get("allow_empty", False)),
        audit_keys=int(meta.get("audit_keys", ModelSettings.audit_keys)),
    )


def names_of(value: str | list[str]) -> tuple[str, ...]:
    """One name or a list of them, as yml files have it."""
    return (value,) if isinstance(value, str) else tuple(value)
