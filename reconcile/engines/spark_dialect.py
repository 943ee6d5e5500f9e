"""How Spark spells what is written for Postgres."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, ClassVar

import sqlglot
from sqlglot import exp
from sqlglot.dialects import Postgres, Spark

from reconcile.engines.identifiers import outside_literals
from reconcile.engines.own_schema import SCHEMA

_STATISTICS = "delta.dataSkippingNumIndexedCols"


class _Written(Postgres):
    """How our statements are spelled: as on Postgres, with the names of tables as dbt spells them for Spark."""

    class Tokenizer(Postgres.Tokenizer):
        IDENTIFIERS: ClassVar = ['"', "`"]


class NestingSpark(Spark):
    """Spark's SQL with CTEs where they were written: sqlglot takes all to the top, where two of one name would meet."""

    class Generator(Spark.Generator):
        EXPRESSIONS_WITHOUT_NESTED_CTES: ClassVar[set[type[exp.Expr]]] = set()


@lru_cache(maxsize=256)
def translated(sql: str, parameters: tuple[Any, ...] = (), pretty: bool = False) -> str:
    """A statement of ours as Spark has it."""
    return _tree(sql, parameters).sql(NestingSpark, pretty=pretty)


def created(sql: str, place: str | None) -> str:
    """A CREATE TABLE of ours: of a Delta table, and where it is to last, at a place by which it is found again."""
    tree = _tree(sql, ())
    properties = tree.args.get("properties") or exp.Properties(expressions=[])
    if not properties.find(exp.FileFormatProperty):
        properties.append("expressions", exp.FileFormatProperty(this=exp.var("delta")))
        # Sail 0.7 reads a column whose least and greatest value in a file are one as that one, which the file's
        # statistics hold as a double: digits are lost, and NaN
        no_statistics = exp.Property(this=exp.Literal.string(_STATISTICS), value=exp.Literal.string("0"))
        properties.append("expressions", no_statistics)
    table = tree.find(exp.Table)
    if place and table is not None and table.db == SCHEMA and tree.expression is None:
        properties.append("expressions", exp.LocationProperty(this=exp.Literal.string(f"{place}/{table.name}")))
    tree.set("properties", properties)
    return tree.sql(NestingSpark)


def text_literal(text: str) -> str:
    """A text as Spark's own SQL has it."""
    return str(exp.Literal.string(text).sql(NestingSpark))


def _tree(sql: str, parameters: tuple[Any, ...]) -> exp.Expr:
    tree = sqlglot.parse_one(sql, dialect=_Written)
    for cte in tree.find_all(exp.CTE):
        cte.set("materialized", None)
    for place in list(tree.find_all(exp.Parameter)):
        place.replace(exp.convert(parameters[int(place.name) - 1]))
    # a tolerance: Sail compares a double with a decimal as decimals, and NaN is none
    for number in [n.expression for n in tree.find_all(exp.LTE) if n.expression.is_number]:
        number.replace(exp.cast(number.copy(), "double"))
    return tree


def as_spark_has_it(sql: str) -> str:
    """A definition with what was put around the model's own SQL spelled for Spark."""

    def spelled(text: str) -> str:
        text = text.replace("as not materialized (", "as (")
        return re.sub(r"\btimestamp with time zone\s*$", "timestamp ", text)

    def own_name(literal: str) -> str:
        return "`" + literal[1:-1].replace('""', '"').replace("`", "``") + "`"

    return outside_literals(sql, spelled, own_name)
