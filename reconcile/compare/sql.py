"""The comparing statements: both sides in one statement and so in one snapshot, joined in the engine, value by value.

A full outer join on the key with IS DISTINCT FROM per column: the planner merges two indexed sides in 13 MB (1 M x 1 M
rows: 0.94 CPU s, against 3.9 for EXCEPT ALL both ways and 2.6 for md5 buckets of one side alone). A level table
returns one row of zeros and moves no data. Inside the statement columns are k0, k1, ... and v0, v1, ...: no name of
the user's can collide.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from reconcile.engines.identifiers import quote


@dataclass(frozen=True)
class KeyPart:
    """A part of the key: a column's name, or an SQL expression where ``unique_key`` is one.

    ``collation`` is that of the table: the definition's values get it too, since two collations do not compare.
    ``matched`` is a template of what keys are joined, grouped and sorted by (``{}`` is the value).
    """

    name: str
    expression: str
    collation: str | None = None
    matched: str = "{}"


@dataclass(frozen=True)
class ComparedColumn:
    """A column on both sides, each with a template of what is compared (``{}`` is the value).

    ``tolerance`` is an absolute one, of what ``difference`` yields (a template of both values). ``packed`` is its value
    as a text that is equal where the value is, for columns of a wide table that share one list: Postgres joins 1,664
    columns of both sides, and a table may have 1,600.

    With ``ignored`` it never counts as different, but its values are carried along.
    """

    name: str
    expected: str = "{}"
    actual: str = "{}"
    tolerance: float | None = None
    ignored: bool = False
    packed: str | None = None
    difference: str = "{} - {}"


@dataclass(frozen=True)
class Comparison:
    """Two SELECTs to compare. ``key`` is empty for tables without one: then rows are compared as a multiset.

    ``as_of`` is the expected side as the last build read its sources: a row that equals it is pending, not drifted.
    """

    expected: str
    actual: str
    key: tuple[KeyPart, ...]
    columns: tuple[ComparedColumn, ...]
    as_of: str | None = None
    functions: str = ""  # prefix of the engine's own functions: the user's search path may hold others of their names
    equal: str = "="  # the engine's own operator, for the same reason
    keeps_extra: bool = False  # a row that only the table has is no part of a plan


AsText = Callable[[str], str]
HEAD = 3  # columns before the key in a row of differences_sql


def sides(comparison: Comparison, extra: str = "") -> str:
    """The sides as CTEs e, a (and b, as of the last build): k0, k1, ... the key, v0, v1, ... the columns."""
    selects = {"e": comparison.expected, "a": comparison.actual}
    if comparison.as_of is not None:
        selects["b"] = comparison.as_of
    return ",\n".join(side(comparison, name, sql, extra) for name, sql in selects.items())


def side(comparison: Comparison, name: str, sql: str, extra: str = "") -> str:
    """One SELECT as a CTE of the comparison's form; as the table's side where its name is ``a``."""
    keys = [
        f"{part.expression}{f' collate {part.collation}' if part.collation and name != 'a' else ''} as k{i}"
        for i, part in enumerate(comparison.key)
    ]
    values = [f"{quote(c.name)} as v{i}" for i, c in enumerate(comparison.columns) if c.packed is None]
    packed = [column.packed for column in comparison.columns if column.packed is not None]
    if packed:
        values.append(f"array[{', '.join(packed)}] as packed")
    columns = ",\n    ".join([*keys, *values, "1 as present"])
    return f"{name} as not materialized (\n  select {columns}{extra}\n  from (\n{sql}\n  ) as side\n)"


def value(comparison: Comparison, index: int, side: str = "") -> str:
    """A column's value on a side, as a CTE of ``side`` has it."""
    place = f"v{index}"
    if comparison.columns[index].packed is not None:
        before = sum(column.packed is None for column in comparison.columns[:index])
        place = f"packed[{index - before + 1}]"
    return f"{side}.{place}" if side else place


def value_names(comparison: Comparison) -> list[str]:
    """The columns of a side that hold its values."""
    plain = [f"v{i}" for i, column in enumerate(comparison.columns) if column.packed is None]
    return plain if len(plain) == len(comparison.columns) else [*plain, "packed"]


def _differs(comparison: Comparison, index: int, left: str = "e", right: str = "a") -> str:
    column = comparison.columns[index]
    if column.ignored:
        return "false"
    templates = {left: column.expected, right: column.expected, "a": column.actual}
    values = [templates[one].replace("{}", value(comparison, index, one)) for one in (left, right)]
    differs = _unlike(comparison, *values)
    if column.tolerance is None:
        return differs
    difference = column.difference.format(*values)
    return f"({differs} and not coalesce({comparison.functions}abs({difference}) <= {column.tolerance!r}, false))"


def _unlike(comparison: Comparison, left: str, right: str) -> str:
    """Whether two values differ; two NULLs do not."""
    if comparison.equal == "=":
        return f"{left} is distinct from {right}"
    # "is distinct from" looks = up in the search path. "is distinct from null" looks nothing up, and unlike "is null"
    # it does not take a composite of NULLs for NULL
    nulls = f"{left} is not distinct from null and {right} is not distinct from null"
    return f"(({left} {comparison.equal} {right}) is not true and not ({nulls}))"


def matched(comparison: Comparison, index: int, side: str = "") -> str:
    """What a part of the key is joined, grouped and sorted by."""
    return comparison.key[index].matched.replace("{}", f"{side}.k{index}" if side else f"k{index}")


def matched_key(comparison: Comparison, side: str = "") -> list[str]:
    """``matched`` of every part of the key."""
    return [matched(comparison, i, side) for i in range(len(comparison.key))]


def same_key(comparison: Comparison, left: str, right: str) -> str:
    """Whether two rows have one key; a NULL equals nothing."""
    pairs = zip(matched_key(comparison, left), matched_key(comparison, right), strict=True)
    return " and ".join(f"{one} {comparison.equal} {other}" for one, other in pairs)


def _either_key(comparison: Comparison) -> list[str]:
    """The key of a joined row as a value, from the side that has it."""
    return [f"coalesce(e.k{i}, a.k{i})" for i in range(len(comparison.key))]


def _key_order(comparison: Comparison) -> list[str]:
    """What joined rows are sorted by."""
    both = zip(comparison.key, _either_key(comparison), strict=True)
    return [part.matched.replace("{}", value) for part, value in both]


def any_differs(comparison: Comparison, left: str = "e", right: str = "a") -> str:
    """Whether the rows of two sides differ in any column; ignored ones never do."""
    found = (_differs(comparison, i, left, right) for i, column in enumerate(comparison.columns) if not column.ignored)
    return " or ".join(found) or "false"


def joined(comparison: Comparison) -> str:
    """The FROM clause: both sides joined on the key, with the side as of the last build where there is one."""
    joined = f"from e full join a on {_on(comparison)}"
    if comparison.as_of is None:
        return joined
    keys = zip(matched_key(comparison, "b"), _key_order(comparison), strict=True)
    on = " and ".join(f"{one} {comparison.equal} {other}" for one, other in keys)
    return f"{joined}\nleft join b on {on}"


def _pending(comparison: Comparison) -> str:
    """The table's row (or its absence) is just what the last build had to leave."""
    if comparison.as_of is None:
        return "false"
    same = f"a.present = 1 and b.present = 1 and not ({any_differs(comparison, 'b')})"
    return f"((a.present is null and b.present is null) or coalesce({same}, false))"


def different(comparison: Comparison) -> str:
    return f"(a.present is null or e.present is null or {any_differs(comparison)})"


def different_by_key(comparison: Comparison, unique: bool = True) -> str:
    """``different``, of rows whose key has no NULL part; with ``unique`` False (and ``copies`` in the sides) only of
    keys that occur once on either side."""
    once = "" if unique else "\n  and coalesce(e.copies, 1) = 1 and coalesce(a.copies, 1) = 1"
    return (
        f"{different(comparison)}\n"
        f"  and not (a.present is null and {null_key('e', comparison)})\n"
        f"  and not (e.present is null and {null_key('a', comparison)}){once}"
    )


def copies(comparison: Comparison, unique: bool) -> str:
    """What ``sides`` adds for keys that may exist more than once: the number of rows of the key."""
    keys = ", ".join(part.matched.replace("{}", part.expression) for part in comparison.key)
    return "" if unique else f",\n    {comparison.functions}count(*) over (partition by {keys}) as copies"


def _on(comparison: Comparison) -> str:
    return same_key(comparison, "e", "a")


def null_key(side: str, comparison: Comparison) -> str:
    # a composite of NULLs is no NULL, although "is null" holds for it
    null = "is null" if comparison.equal == "=" else "is not distinct from null"
    return "(" + " or ".join(f"{side}.k{i} {null}" for i in range(len(comparison.key))) + ")"


@dataclass(frozen=True)
class Counts:
    """The first ten numbers of ``counts_sql``'s row. Missing, extra and changed leave keys with a NULL part out."""

    pairs_expected: int
    pairs_actual: int
    missing: int
    extra: int
    changed: int
    null_expected: int
    null_actual: int
    pending: int
    rows_actual: int
    duplicate_keys: int


@dataclass(frozen=True)
class Totals:
    """The row of ``totals_sql``: joined pairs, those with an expected and an actual side, pairs that differ, the
    table's own rows, and keys that it holds more than once."""

    pairs: int
    pairs_expected: int
    pairs_actual: int
    changed: int
    rows_actual: int
    duplicate_keys: int

    @property
    def repeated(self) -> bool:
        """A key occurs more than once: in the table, or (then rows of it pair more than once) in the definition."""
        return self.duplicate_keys > 0 or self.pairs_actual > self.rows_actual

    @property
    def differing(self) -> int:
        return 2 * self.pairs - self.pairs_expected - self.pairs_actual + self.changed

    @property
    def level(self) -> bool:
        return self.differing == 0 and not self.repeated


def totals_sql(comparison: Comparison, actual_unique: bool) -> str:
    """One row, as Totals: all that a level table needs, and no more. A key with a NULL part pairs with nothing."""
    count = f"{comparison.functions}count"
    changed = f"{count}(*) filter (where e.present = 1 and a.present = 1 and ({any_differs(comparison)}))"
    return _totals(comparison, actual_unique, f"{count}(e.present), {count}(a.present), {changed}")


def gathered_sql(comparison: Comparison, actual_unique: bool, as_text: AsText, most: int) -> str:
    """One row: joined pairs, how many of them differ, these rows, the table's own rows, keys it holds more than once.

    The rows are as ``differences_sql`` has them, with those whose key has a NULL part and in no order; None where there
    are none or more than ``most``. One pass finds and brings them; they are in the server's memory meanwhile: only
    for sides of bounded size. A level table needs no more than the first number: every pair has both sides then.
    """
    # a row exists on a side if its key does: a separate flag would be computed for every row before the join
    own = comparison.functions
    gathered = f"{own}array_agg({_difference(comparison, as_text)}) filter (where {different(comparison)})"
    gathered = gathered.replace(".present", ".k0")
    number = f"coalesce({own}array_length({gathered}, 1), 0)"
    return _totals(comparison, actual_unique, f"{number},\n  case when {number} <= {most} then {gathered} end")


def _totals(comparison: Comparison, actual_unique: bool, counted: str) -> str:
    count = f"{comparison.functions}count(*)"
    return (
        f"with {sides(comparison)}\nselect\n  {count},\n  {counted},\n"
        f"  (select {count} from a), {'0' if actual_unique else _duplicate_keys(comparison)}\n"
        f"from e full join a on {_on(comparison)}"
    )


def _duplicate_keys(comparison: Comparison) -> str:
    """How many keys the table holds more than once."""
    count = f"{comparison.functions}count(*)"
    return (
        f"(select {count} from (select 1 from a where not {null_key('a', comparison)} "
        f"group by {', '.join(matched_key(comparison))} having {count} > 1) as twice)"
    )


def counts_sql(comparison: Comparison) -> str:
    """One row, in the order of ``Counts``, then one count a column.

    ``pairs_actual > rows_actual`` proves that a key occurs twice on the expected side; duplicates of the actual side
    are counted by themselves. Where both are absent and every difference is 0, the table is level.
    """
    count = f"{comparison.functions}count(*)"
    drifted = f"not {_pending(comparison)}"
    both = f"e.present = 1 and a.present = 1 and {drifted}"
    null_e, null_a = null_key("e", comparison), null_key("a", comparison)
    per_column = [
        f"{count} filter (where {both} and {_differs(comparison, i)})" for i, column in enumerate(comparison.columns)
    ]
    selected = [
        f"{count} filter (where e.present = 1)",
        f"{count} filter (where a.present = 1)",
        f"{count} filter (where a.present is null and not {null_e} and {drifted})",
        f"{count} filter (where e.present is null and not {null_a} and {drifted})",
        f"{count} filter (where {both} and ({any_differs(comparison)}))",
        f"{count} filter (where a.present is null and {null_e})",
        f"{count} filter (where e.present is null and {null_a})",
        f"{count} filter (where {_pending(comparison)} and {different(comparison)} and {null_e} is not true)",
        f"(select {count} from a)",
        _duplicate_keys(comparison),
        *per_column,
    ]
    listed = ",\n  ".join(selected)
    return f"with {sides(comparison)}\nselect\n  {listed}\n{joined(comparison)}"


def later_build_sql(comparison: Comparison) -> str:
    """One row: how many of the table's rows are as they should be now, and were not to be as of the noted build.

    Any such row was written since: the noted build is not the last one, and nothing may be called pending by it.
    """
    was_other = f"b.present is null or {any_differs(comparison, 'b')}"
    return (
        f"with {sides(comparison)}\nselect {comparison.functions}count(*)\n{joined(comparison)}\n"
        f"where not {different(comparison)} and ({was_other})"
    )


def missing_duplicates_sql(comparison: Comparison) -> str:
    """One row: how many keys that the table lacks occur more than once on the expected side."""
    keys = ", ".join(matched_key(comparison, "e"))
    count = f"{comparison.functions}count(*)"
    return (
        f"with {sides(comparison)}\nselect {count} from (\n  select 1 from e left join a on {_on(comparison)}\n"
        f"  where a.present is null and not {null_key('e', comparison)} \n"
        f"  group by {keys} having {count} > 1\n) as twice"
    )


def _difference(comparison: Comparison, as_text: AsText) -> str:
    """What a differing row tells, as one list of texts: a SELECT holds 1,664 columns, a table of 1,600 tells more."""
    kind = (
        f"case when {_pending(comparison)} then 'pending' when a.present is null then 'missing' "
        "when e.present is null then 'extra' else 'changed' end"
    )
    keys = [as_text(key) for key in _either_key(comparison)]
    cells = [
        cell
        for i, column in enumerate(comparison.columns)
        for cell in (as_text(value(comparison, i, "e")), as_text(value(comparison, i, "a")), _differs(comparison, i))
    ]
    told = [kind, "e.present", "a.present", *keys, *cells]
    return f"array[{', '.join(f'cast({cell} as text)' for cell in told)}]"


def read_difference(row: Sequence[str | None], comparison: Comparison) -> tuple[Any, ...]:
    """A differing row: HEAD (kind, e.present, a.present), the key, then every column's (expected, actual, differs)."""
    first = HEAD + len(comparison.key)
    return tuple(value == "true" if i >= first and (i - first) % 3 == 2 else value for i, value in enumerate(row))


def differences_sql(comparison: Comparison, as_text: AsText, limit: int | None, unique: bool = True) -> str:
    """The differing rows in key order, each one list for ``read_difference``. With a limit drifted rows come before
    pending ones.

    Values are text, so that none is rounded on its way. Keys with a NULL part are left out, and with ``unique`` False
    so are keys that occur more than once on either side: ``surplus_sql`` gives those.
    """
    drifted_first = [f"({_pending(comparison)})"] if comparison.as_of is not None and limit is not None else []
    selected = _difference(comparison, as_text)
    return (
        f"with {sides(comparison, copies(comparison, unique))}\nselect {selected}\n{joined(comparison)}\n"
        f"where {different_by_key(comparison, unique)}\n"
        f"order by {', '.join([*drifted_first, *_key_order(comparison)])}{limited(limit)}"
    )


def planned_sql(comparison: Comparison, unique: bool) -> str:
    """The rows that make the table what is expected: position in key order, action, reason, no copies, then the key and
    the columns of the row before, and after.

    Values keep their types. A changed row keeps what is ignored or differs within its tolerance; pending rows are left
    out, and so are keys with a NULL part and, with ``unique`` False, keys that occur more than once: ``surplus_sql``.
    """
    keys = ", ".join(_key_order(comparison))
    before = [f"a.k{i}" for i in range(len(comparison.key))]
    before += [value(comparison, i, "a") for i in range(len(comparison.columns))]
    expected = [("false", f"e.k{i}") for i in range(len(comparison.key))]
    expected += [(_differs(comparison, i), value(comparison, i, "e")) for i in range(len(comparison.columns))]
    after = [
        f"case when e.present is null then null when a.present is null or {differs} then {new} else {old} end"
        for (differs, new), old in zip(expected, before, strict=True)
    ]
    action, reason = (
        f"case when a.present is null then '{missing}' when e.present is null then '{extra}' else '{changed}' end"
        for missing, extra, changed in (("insert", "delete", "update"), ("missing", "extra", "changed"))
    )
    position = f"{comparison.functions}row_number() over (order by {keys})"
    selected = ",\n  ".join([position, action, reason, "0", *before, *after])
    return (
        f"with {sides(comparison, copies(comparison, unique))}\nselect {selected}\n{joined(comparison)}\n"
        f"where {different_by_key(comparison, unique)} and not {_pending(comparison)}"
        f"{' and e.present = 1' if comparison.keeps_extra else ''}"
    )


def names(prefix: str, items: Sequence[object]) -> list[str]:
    return [f"{prefix}{i}" for i in range(len(items))]


def limited(limit: int | None) -> str:
    return "" if limit is None else f"\nlimit {limit}"
