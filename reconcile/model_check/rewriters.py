"""What changes a table's rows other than dbt's builds, so that rows that differ may be neither a fault nor an edit.

A full refresh replaces the table, and a trigger, a rule, a foreign key or a child table goes with it. If the table
equals its definition in spite of them it is level. If rows differ, nothing tells whether a build, a person or one of
these wrote them: the model is unverified, and no repair is planned.
"""

from __future__ import annotations

from collections.abc import Sequence

from reconcile.compare.align import Prepared
from reconcile.compare.comparison import Compared
from reconcile.definition.model import Definition
from reconcile.engines.base import Engine
from reconcile.report.model import KINDS

_FIXES = {
    "trigger": "write in the model's SQL what it does and drop it, or name the columns that it fills in "
    "meta.reconcile.ignore",
    "rule": "drop it, and write in the model's SQL what it does",
    "foreign key": "give it the action `no action`, or let the model's SQL leave out what has no parent",
    "child table": "end the inheritance with `alter table ... no inherit ...`",
}


def why_rewritten(engine: Engine, definition: Definition, prepared: Prepared, found: Compared) -> str | None:
    """Why the rows that differ may not be drift, with their counts; None if no row differs or only dbt writes them."""
    if not found.drift.of_rows():
        return None
    counts = ", ".join(
        f"{count:,} {kind}" for kind in KINDS if kind != "pending" and (count := getattr(found.drift, kind))
    )
    if rewriters := _rewriters(engine, definition.relation_name, found):
        return f"{_may_change('its', rewriters)}, and rows differ ({counts}): {_FIXES[rewriters[0][0]]}"
    if computed := _only_generated(prepared, found):
        return (
            f"its generated column {computed[0]} is computed by the table, and nothing else differs ({counts}): "
            f"drop it from the table, or name it in meta.reconcile.ignore"
        )
    for upstream in definition.upstream_tables:
        place = f"the upstream model {upstream.name}"
        if rewriters := _rewriters(engine, upstream.relation_name, None):
            return (
                f"{_may_change(f'{place}: its', rewriters)}, and rows differ ({counts}): {_FIXES[rewriters[0][0]]}, "
                "or compare with the upstream tables as they are (--upstream shallow)"
            )
        kept = definition.never_refreshed and found.drift.of_rows() == found.drift.extra
        if upstream.never_refreshed and not kept:
            return (
                f"{place} is never refreshed in full (full_refresh: false) and may keep more than its source, and rows "
                f"differ ({counts}): compare with the upstream tables as they are (--upstream shallow)"
            )
    return None


def _rewriters(engine: Engine, relation_name: str, found: Compared | None) -> list[tuple[str, str]]:
    """What may have changed a table's rows. A foreign key with an action takes rows away or changes them: it adds none
    to the table that is judged (``found``: what differs there)."""
    takes_away = found is None or found.drift.missing or found.drift.changed
    return [(kind, name) for kind, name in engine.rewriters(relation_name) if kind != "foreign key" or takes_away]


def generates_columns(prepared: Prepared) -> bool:
    """Whether the table computes a column that is compared."""
    compared = {column.name for column in prepared.comparison.columns if not column.ignored}
    return any(column.generated and column.name in compared for column in prepared.actual_columns)


def _only_generated(prepared: Prepared, found: Compared) -> list[str]:
    """The generated columns, if rows differ in nothing else: such a column depends on the others of its row alone."""
    if found.drift.of_rows() != found.drift.changed:
        return []
    generated = [column.name for column in prepared.actual_columns if column.generated]
    differing = {name for name, count in found.columns.items() if count}
    return [name for name in generated if name in differing] if differing <= set(generated) else []


def _may_change(whose: str, rewriters: Sequence[tuple[str, str]]) -> str:
    kind = rewriters[0][0]
    names = [name for other, name in rewriters if other == kind]
    named = f"{kind}{'s' if len(names) > 1 else ''} {' and '.join(names)}"
    if kind == "child table":
        return f"{whose} {named} {'is' if len(names) == 1 else 'are'} read with it"
    return f"{whose} {named} may change rows after dbt writes them"
