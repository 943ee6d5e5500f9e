"""Columns that only tell when, or by which run, a row was built: ``now() as loaded_at``.

Such a column is made of run values and constants alone, through every subquery that it comes through. A column that
also depends on a row (``coalesce(updated_at, now())``) is not one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.qualify import qualify
from sqlglot.optimizer.scope import Scope, build_scope

RUN_VALUE = "reconcile_run_value"  # the name of the function that replaces one


class _Made(Enum):
    """What a column's values are made of."""

    CONSTANTS = 0
    RUN_VALUES = 1
    ROWS = 2


def audit_columns(sql: str, dialect: str, columns_of: Callable[[str], Sequence[str]]) -> list[bool]:
    """Of each column of ``sql``, in order, whether it holds nothing but run values (``reconcile_run_value()``).

    ``columns_of``: the names of the columns of a relation, given as ``sql`` names it. Raises ValueError if ``sql``
    cannot be taken apart.
    """
    try:
        tree = sqlglot.parse_one(sql, dialect=dialect)
        schema = _with_short_names(tree, dialect, columns_of)
        scope = build_scope(qualify(tree, dialect=dialect, schema=schema, infer_schema=False))
        if scope is None or not isinstance(scope.expression, exp.Query):
            raise ValueError("its SQL is no SELECT")
        count = len(scope.expression.named_selects)
        return [_made_of(scope, place, frozenset()) is _Made.RUN_VALUES for place in range(count)]
    except (SqlglotError, RecursionError) as error:
        raise ValueError(f"its SQL cannot be taken apart ({str(error).splitlines()[0][:120]})") from error


def _with_short_names(tree: exp.Expr, dialect: str, columns_of: Callable[[str], Sequence[str]]) -> dict[str, object]:
    """Give each table a name of one part, as sqlglot wants it; returns the columns by these names."""
    schema: dict[str, object] = {}
    ctes = {cte.alias_or_name.lower() for cte in tree.find_all(exp.CTE)}
    for table in list(tree.find_all(exp.Table)):
        if not isinstance(table.this, exp.Identifier) or (not table.db and table.name.lower() in ctes):
            continue
        relation = exp.Table(**{part: table.args.get(part) for part in ("this", "db", "catalog")})
        name = f"reconcile_table_{len(schema)}"
        schema[name] = {f'"{column}"': "unknown" for column in columns_of(relation.sql(dialect))}
        alias = table.args.get("alias") or exp.TableAlias(this=exp.to_identifier(table.name, quoted=True))
        kept = {arg: value for arg, value in table.args.items() if arg not in ("this", "db", "catalog", "alias")}
        table.replace(exp.Table(this=exp.to_identifier(name), alias=alias, **kept))
    return schema


def _made_of(scope: Scope, place: int, inside: frozenset[tuple[int, int]]) -> _Made:
    """What the column at a place of a scope is made of; ``inside``: the columns that it is asked for, from outside."""
    this = (id(scope), place)
    if this in inside:  # a recursive query reads itself
        return _Made.ROWS
    if isinstance(scope.expression, exp.SetOperation):
        both = {_made_of(branch, place, inside | {this}) for branch in scope.set_operation_scopes}
        return both.pop() if len(both) == 1 else _Made.ROWS  # which branch a row comes from tells them apart
    if not isinstance(scope.expression, exp.Select):
        return _Made.ROWS
    selected = scope.expression.selects[place].unalias()
    if any(selected.find_all(exp.Query, exp.AggFunc, exp.Window, exp.Star, exp.UDTF)):
        return _Made.ROWS
    calls = {call.name.lower() for call in selected.find_all(exp.Anonymous)}
    if calls - {RUN_VALUE}:  # a function of a user may read tables
        return _Made.ROWS
    found = _Made.RUN_VALUES if calls else _Made.CONSTANTS
    for column in selected.find_all(exp.Column):
        found = max(found, _of_column(scope, column, inside | {this}), key=lambda made: made.value)
    return found


def _of_column(scope: Scope, column: exp.Column, inside: frozenset[tuple[int, int]]) -> _Made:
    source = scope.sources.get(column.table)
    if not isinstance(source, Scope) or _may_be_unmatched(scope, column.table):
        return _Made.ROWS
    names = source.expression.named_selects if isinstance(source.expression, exp.Query) else []
    return _made_of(source, names.index(column.name), inside) if names.count(column.name) == 1 else _Made.ROWS


def _may_be_unmatched(scope: Scope, name: str) -> bool:
    """Whether an outer join may give NULL in place of every column of a source."""
    joins = scope.expression.args.get("joins") or []
    joined = any(join.side and join.this.alias_or_name == name for join in joins)
    return joined or any(join.side in ("RIGHT", "FULL") for join in joins)
