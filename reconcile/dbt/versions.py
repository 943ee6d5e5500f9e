"""Which releases of dbt-core reconcile knows: their nodes, configs and invocations are the ones that it reads."""

from __future__ import annotations

import re

from reconcile.errors import ProjectError

_OLDEST, _NEWEST = (1, 9), (1, 11)


def check_release(dbt_core: str) -> None:
    """Raises ProjectError for a release (as "1.11.16") that is not one of them."""
    if not _OLDEST <= tuple(int(part) for part in re.findall(r"\d+", dbt_core)[:2]) <= _NEWEST:
        known = f"{_OLDEST[0]}.{_OLDEST[1]} to {_NEWEST[0]}.{_NEWEST[1]}"
        raise ProjectError(
            f"dbt-core {dbt_core} is installed, and reconcile knows {known}: install one of those beside it, or a "
            "newer reconcile"
        )
