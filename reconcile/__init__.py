"""Prove that each incremental dbt model holds exactly what a full refresh would build; report and repair what differs.

    from reconcile import check
    report = check(project_dir="warehouse", select="orders")

Knows dbt's artefacts and SQL, and nothing of what the tables mean: it works on any dbt project. What other code may
import is listed in ``reconcile.api``; it is loaded at first use, so that ``import reconcile`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reconcile.api import *  # noqa: F403

VERSION = "0.1.0"


def __getattr__(name: str) -> Any:
    if not name.startswith("_") and name in (api := import_module("reconcile.api")).__all__:
        return getattr(api, name)
    raise AttributeError(f"module 'reconcile' has no attribute {name!r}")
