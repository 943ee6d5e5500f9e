"""Whether the order of rows that tie decides a value of a definition: it is evaluated with ties broken both ways."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from reconcile.compare.align import Prepared, stored_sql
from reconcile.compare.key_filter import Values
from reconcile.compare.key_ranges import narrowed_to_keys
from reconcile.compare.multiset import Rows, surplus_counts_sql
from reconcile.compare.sql import Totals, totals_sql
from reconcile.definition.model import Definition
from reconcile.engines.base import Engine
from reconcile.errors import EvaluationFailed, RowsHidden
from reconcile.model_check.prepare_definition import NotSettled, prepare_definition

log = logging.getLogger("reconcile")


def why_ties_unknown(
    engine: Engine, definition: Definition, keys: Sequence[Values] | None = None, prepared: Prepared | None = None
) -> str | None:
    """Why it is not known whether tied rows decide a value; None where they do not. Raises NotSettled where they do.

    ``keys``: of these keys alone; None for all. ``prepared``: the comparison, if its snapshot is open; else one is
    opened.
    """
    from reconcile.definition.nondeterminism import twisted  # only where it is needed: its import takes time

    assert definition.sql is not None
    try:
        stored = engine.spelled(stored_sql(definition.sql, dict(definition.contract)))
        ways = twisted(stored, engine.dialect, engine.whole_row)
    except ValueError as error:
        return str(error)
    if ways is None:
        return None
    try:
        with engine.snapshot() if prepared is None else engine.transaction():
            prepared = prepared or prepare_definition(engine, definition)
            if prepared is None:
                return None  # the comparison gives that as the reason
            one, other = engine.given(ways.one_way), engine.given(ways.other_way)
            differing = differing_keys(engine, prepared, one, other, keys)
    except RowsHidden:
        raise
    except NotSettled:
        return None  # the comparison gives that as the reason
    except EvaluationFailed as error:
        log.info("%s: ties could not be looked for: %s", definition.name, error)
        return f"its SQL with ties broken does not run ({error})"
    if not differing:
        return None
    where = "; ".join(ways.constructs)
    unit = "keys differ" if definition.key else "rows differ"
    why = f"two evaluations that break ties otherwise differ in it: {differing:,} {unit}; it orders by ties in {where}"
    settle = "add a column to that ORDER BY that no two rows share (a primary key), so that one result is right"
    raise NotSettled(why, (settle,))


def differing_keys(
    engine: Engine, prepared: Prepared, one: str, other: str, keys: Sequence[Values] | None = None
) -> int:
    """How many keys differ between two SELECTs of one definition, as its comparison reads it; without a key, rows."""
    both = replace(
        prepared.comparison,
        expected=one,
        actual=other,
        columns=tuple(replace(c, actual=c.expected) for c in prepared.comparison.columns),
        as_of=None,
    )
    prepared = replace(prepared, comparison=both)
    if keys is not None:
        prepared = narrowed_to_keys(prepared, keys)
    both = prepared.comparison
    if not both.key:
        surplus, lacking, _, _ = engine.one(surplus_counts_sql(both, Rows.ALL))
        return int(max(surplus, lacking))
    return Totals(*engine.one(totals_sql(both, actual_unique=True))).differing
