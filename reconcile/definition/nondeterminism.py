"""Definitions that ask for an order and do not settle it: ``row_number() over (partition by id order by day)``.

Where two rows tie, the engine takes either, and the table is no function of its sources. So such a definition is
evaluated twice, with every tie broken by the rows' own text, once ascending and once descending: where the two agree,
no tie matters. This SQL decides nothing else: a comparison always runs the definition's own text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

_ORDERED = (exp.RowNumber, exp.Lag, exp.Lead, exp.FirstValue, exp.LastValue, exp.NthValue, exp.Ntile)
_GATHERING = (exp.ArrayAgg, exp.GroupConcat, exp.AnyValue, exp.First, exp.Last, exp.JSONArrayAgg)
_SHOWN = 160  # characters of a construct


@dataclass(frozen=True)
class Twisted:
    """A definition with its ties broken one way and the other, and the constructs that ask for an order."""

    one_way: str
    other_way: str
    constructs: tuple[str, ...]


@lru_cache(maxsize=64)  # a watch asks again for every change
def twisted(sql: str, dialect: str, whole_row: str = "{}") -> Twisted | None:
    """``sql`` both ways; None where nothing in it depends on an order. ``dialect``: as sqlglot names it.

    ``whole_row`` is how a row is one value in it, by the name of the table that it is of.
    Raises ValueError where it cannot be parsed or a tie in it cannot be broken.
    """
    try:
        tree = sqlglot.parse_one(sql, dialect=dialect)
        _spell_log10(tree)
        if not any(_constructs(tree)):
            return None
        constructs = tuple(dict.fromkeys(node.sql(dialect)[:_SHOWN] for node in _constructs(tree)))
        said = _Said(dialect, whole_row)
        one, other = (_broken(tree.copy(), said, desc).sql(dialect) for desc in (False, True))
    except (SqlglotError, RecursionError) as error:
        raise ValueError(f"its SQL cannot be taken apart ({str(error).splitlines()[0][:120]})") from error
    return Twisted(one, other, constructs)


def _spell_log10(tree: exp.Expr) -> None:
    """``log10(x)`` as itself: sqlglot prints it as ``log(10, x)``, which Postgres has of numerics alone."""
    for node in list(tree.find_all(exp.Log)):
        if node.expression is not None and node.this == exp.Literal.number(10):
            node.replace(exp.Anonymous(this="log10", expressions=[node.expression]))


def _constructs(tree: exp.Expr) -> Iterator[exp.Expr]:
    """What depends on the order of rows that tie: windows, DISTINCT ON, LIMIT and gathering aggregates."""
    for node in tree.walk():
        window = isinstance(node, exp.Window) and _asks_for_order(node)
        gathered = isinstance(node, _GATHERING) and not isinstance(node.parent, exp.Window) and not _distinct(node)
        if window or gathered:
            yield node
        elif isinstance(node, (exp.Select, exp.SetOperation, exp.Subquery)):
            distinct = node.args.get("distinct")
            if isinstance(distinct, exp.Distinct) and distinct.args.get("on") is not None:
                yield distinct
            if node.args.get("limit") is not None and not _yields_one_row(node):
                yield node.args["limit"]


def _asks_for_order(window: exp.Window) -> bool:
    function = window.this
    while isinstance(function, (exp.IgnoreNulls, exp.RespectNulls, exp.Filter)):
        function = function.this
    if isinstance(function, _ORDERED):
        return True
    spec = window.args.get("spec")
    return isinstance(function, exp.AggFunc) and spec is not None and spec.args.get("kind") == "ROWS"


def _distinct(node: exp.Expr) -> bool:
    return isinstance(node.this, exp.Distinct)


def _yields_one_row(select: exp.Expr) -> bool:
    """An aggregate without grouping has one row: a LIMIT takes nothing away."""
    return (
        isinstance(select, exp.Select)
        and not select.args.get("group")
        and any(
            not isinstance(found.parent, exp.Window) for e in select.expressions for found in e.find_all(exp.AggFunc)
        )
    )


@dataclass(frozen=True)
class _Said:
    """How a dialect writes a row as one value."""

    dialect: str
    whole_row: str

    def row(self, table: str) -> exp.Expr:
        name = exp.to_identifier(table, quoted=True).sql(self.dialect)
        return sqlglot.parse_one(self.whole_row.format(name), dialect=self.dialect)


def _broken(tree: exp.Expr, said: _Said, desc: bool) -> exp.Expr:
    for node in list(_constructs(tree)):
        # a LIMIT after parentheses belongs to them, not to the query around them
        select = node.find_ancestor(exp.Select, exp.SetOperation, exp.Subquery)
        if not isinstance(select, exp.Select):
            raise ValueError(f"no rows to break ties by in {node.sql(said.dialect)[:_SHOWN]}")
        inside = isinstance(node, _GATHERING)
        term = exp.Ordered(this=_by_row(select, said, grouped=not inside), desc=desc)
        if inside:
            _order_inside(node, term)
        elif isinstance(node, exp.Window):
            window = _named_window(node, select)
            order = window.args.get("order") or exp.Order(expressions=[])
            order.append("expressions", term)
            window.set("order", order)
        else:
            order = select.args.get("order") or exp.Order(expressions=[])
            order.append("expressions", term)
            select.set("order", order)
    return tree


def _named_window(window: exp.Window, select: exp.Select) -> exp.Window:
    """The window that ``over name`` refers to; the window itself where it is spelled out."""
    name = window.args.get("alias")
    if name is None or window.args.get("order") is not None:
        return window
    for named in select.args.get("windows") or []:
        if named.this is not None and named.this.name == name.name:
            return named  # type: ignore[no-any-return]
    return window


def _order_inside(node: exp.Expr, term: exp.Ordered) -> None:
    inner = node.this
    if isinstance(inner, exp.Order):
        inner.append("expressions", term)
    else:
        node.set("this", exp.Order(this=inner, expressions=[term]))


def _by_row(select: exp.Select, said: _Said, grouped: bool) -> exp.Expr:
    """What tells any two rows of a SELECT apart: the text of its inputs' rows, or of what it groups by."""
    group = select.args.get("group")
    if grouped and group is not None:
        by = [_grouped_by(select, one) for one in group.expressions]
    else:
        by = [said.row(source) for source in _sources(select) if source]
    if not by:
        raise ValueError(f"no rows to break ties by in {select.sql(said.dialect)[:_SHOWN]}")
    texts = [exp.func("coalesce", exp.cast(one.copy(), "text"), exp.Literal.string("")) for one in by]
    joined: exp.Expr = texts[0]
    for text in texts[1:]:
        joined = exp.DPipe(this=joined, expression=text)
    return exp.func("md5", joined)


def _grouped_by(select: exp.Select, one: exp.Expr) -> exp.Expr:
    if isinstance(one, exp.Literal) and one.is_int:
        found: exp.Expr = select.expressions[int(one.name) - 1].unalias()
        return found
    return one


def _sources(select: exp.Select) -> Iterator[str]:
    source = select.args.get("from_") or select.args.get("from")
    if source is not None:
        yield _name_of(source.this)
    for join in select.args.get("joins") or []:
        yield _name_of(join.this)
    for lateral in select.args.get("laterals") or []:
        yield lateral.alias_or_name


def _name_of(source: exp.Expr) -> str:
    """The name of what a FROM reads; a table of a schema gets its own as an alias: Sail knows no ``table.*`` else."""
    if isinstance(source, exp.Table) and source.args.get("db") is not None and not source.alias:
        source.set("alias", exp.TableAlias(this=source.this.copy()))
    return source.alias_or_name
