"""Rows compared as a multiset: of tables without a key, with a NULL part in it, or whose key occurs more than once."""

from __future__ import annotations

from enum import StrEnum

from reconcile.compare.sql import (
    AsText,
    Comparison,
    different,
    joined,
    limited,
    matched_key,
    names,
    null_key,
    sides,
    value,
    value_names,
)


class Rows(StrEnum):
    """Which rows a multiset comparison looks at."""

    ALL = "all"
    NULL_KEYS = "null_keys"
    TWICE = "twice"  # rows whose key occurs more than once on either side


def surplus_sql(comparison: Comparison, as_text: AsText, rows: Rows, limit: int | None) -> str:
    """Rows that one side has more often than the other: copies expected, copies actual, and one list of the key's and
    the columns' texts."""
    shown = [*names("k", comparison.key), *(value(comparison, i) for i in range(len(comparison.columns)))]
    own = comparison.functions
    listed = ", ".join(f"{own}min(cast({as_text(name)} as text))" for name in shown)
    grouped = _grouped(comparison)
    expected, actual = (f"{own}sum({side})" for side in ("in_expected", "in_actual"))
    return (
        f"{_bag(comparison, rows)}\nselect {expected}, {actual}, array[{listed}]\n"
        f"from bag\ngroup by {grouped}\n"
        f"having not {expected} {comparison.equal} {actual}\norder by {grouped}{limited(limit)}"
    )


def surplus_counts_sql(comparison: Comparison, rows: Rows) -> str:
    """One row: surplus copies expected, surplus copies actual, rows expected, rows actual."""
    total = f"{comparison.functions}sum"
    return (
        f"{_bag(comparison, rows)},\ngrouped as (\n"
        f"  select {total}(in_expected) as n_expected, {total}(in_actual) as n_actual\n"
        f"  from bag group by {_grouped(comparison)}\n)\n"
        f"select coalesce({total}(greatest(n_expected - n_actual, 0)), 0),\n"
        f"  coalesce({total}(greatest(n_actual - n_expected, 0)), 0),\n"
        f"  coalesce({total}(n_expected), 0), coalesce({total}(n_actual), 0)\nfrom grouped"
    )


def planned_copies_sql(comparison: Comparison, as_text: AsText, rows: Rows, reason: str, last_position: str) -> str:
    """The rows that one side has more often than the other, as ``planned_sql`` has rows that a key names.

    Rows are equal if their key and their compared columns are. A row to delete is one row with the number of its copies
    and without ignored columns: which of the copies goes is decided when it is deleted. A row to insert has the ignored
    columns that the definition gives it.
    """
    n, own = len(comparison.key), comparison.functions
    ignored = [i for i, column in enumerate(comparison.columns) if column.ignored]
    cells = [*names("k", comparison.key), *(value(comparison, i) for i in range(len(comparison.columns)))]
    compared = [cell for i, cell in enumerate(cells) if i - n not in ignored]
    before = ["null" if cell not in compared else f"case when in_actual = 1 then {cell} end" for cell in cells]
    after = [f"case when in_expected = 1 then {cell} end" for cell in cells]
    grouped = _grouped(comparison)
    order = f" order by {', '.join(as_text(cells[n + i]) for i in ignored)}" if ignored else f" order by {grouped}"
    # without ignored columns the surplus copies of a row are equal: one row represents them
    insert = "nth > found" if ignored else "nth = found + 1"
    copies = "case when in_actual = 1 then found - wanted else " + ("1" if ignored else "wanted - found") + " end"
    selected = ",\n  ".join(
        [
            f"{last_position} + {own}row_number() over (order by {grouped}, nth)",
            "case when in_expected = 1 then 'insert' else 'delete' end",
            f"'{reason}'",
            f"cast({copies} as bigint)",
            *before,
            *after,
        ]
    )
    return (
        f"{_bag(comparison, rows)},\ncounted as (\n"
        f"  select bag.*, {own}sum(in_expected) over (partition by {grouped}) as wanted,\n"
        f"    {own}sum(in_actual) over (partition by {grouped}) as found,\n"
        f"    {own}row_number() over (partition by {grouped}, in_expected{order}) as nth\n  from bag\n)\n"
        f"select {selected}\nfrom counted\n"
        f"where (in_expected = 1 and wanted > found and {insert})\n"
        "  or (in_actual = 1 and found > wanted and nth = wanted + 1)"
    )


def differing_keys_sql(comparison: Comparison) -> str:
    """The keys of all rows that differ, have a NULL part in it or occur more than once on a side: k0, k1, ..."""
    keys = ", ".join(names("k", comparison.key))
    both = ", ".join(f"coalesce(e.{name}, a.{name}) as {name}" for name in names("k", comparison.key))
    partition = ", ".join(matched_key(comparison))
    twice = " union all ".join(
        f"select {keys} from (select {keys}, {comparison.functions}count(*) over (partition by {partition}) as copies"
        f" from {one}) as counted where copies > 1"
        for one in "ea"
    )
    return (
        f"with {sides(comparison)}\nselect {both}\n{joined(comparison)}\n"
        f"where {different(comparison)}\nunion all {twice}"
    )


def _grouped(comparison: Comparison) -> str:
    """What makes two rows of the bag equal: the key, and the compared columns as they are compared."""
    compared = [i for i, column in enumerate(comparison.columns) if not column.ignored]
    packed = [i for i, column in enumerate(comparison.columns) if column.packed is not None]
    one_list = bool(packed) and set(packed) <= set(compared)
    plain = [
        comparison.columns[i].expected.replace("{}", value(comparison, i))
        for i in compared
        if not one_list or i not in packed
    ]
    return ", ".join([*matched_key(comparison), *plain, *(["packed"] if one_list else [])])


def _bag(comparison: Comparison, rows: Rows) -> str:
    """Both sides' rows under one another as the CTE ``bag``, each marked by its side."""
    every = ", ".join([*names("k", comparison.key), *value_names(comparison)])
    keys = ", ".join(f"{key} as k{i}" for i, key in enumerate(matched_key(comparison)))
    grouped = ", ".join(matched_key(comparison))
    where = dict.fromkeys("ea", "")
    twice = ""
    if rows is Rows.NULL_KEYS:
        where = {side: f" where {null_key(side, comparison)}" for side in "ea"}
    elif rows is Rows.TWICE:
        found = " union ".join(
            f"select {keys} from {side} where not {null_key(side, comparison)}"
            f" group by {grouped} having {comparison.functions}count(*) > 1"
            for side in "ea"
        )
        twice = f",\ntwice as (\n  {found}\n)"
        same = {
            side: " and ".join(
                f"{key} {comparison.equal} twice.k{i}" for i, key in enumerate(matched_key(comparison, side))
            )
            for side in "ea"
        }
        where = {side: f" where exists (select 1 from twice where {same[side]})" for side in "ea"}
    return (
        f"with {sides(comparison)}{twice},\nbag as (\n"
        f"  select {every}, 1 as in_expected, 0 as in_actual from e{where['e']}\n  union all\n"
        f"  select {every}, 0, 1 from a{where['a']}\n)"
    )
