"""Line two sides up for comparison: which columns, by which key, with which equality; and what differs in shape."""

from __future__ import annotations

from dataclasses import dataclass

from reconcile.compare.sql import ComparedColumn, Comparison, KeyPart
from reconcile.definition.splice import cast_to_contract
from reconcile.engines.base import Column, Engine
from reconcile.engines.identifiers import quote
from reconcile.errors import NotComparable
from reconcile.report.model import NotCompared, SchemaChange


@dataclass(frozen=True)
class Prepared:
    """A comparison ready to run: its statements' parts, the table's own columns, and what differs in shape."""

    comparison: Comparison
    actual_columns: tuple[Column, ...]
    schema_changes: tuple[SchemaChange, ...]
    actual_unique: bool = False  # the database itself keeps the key unique and not NULL
    relation: str | None = None  # the table that the actual side is a plain scan of, where it is one
    not_compared: tuple[NotCompared, ...] = ()  # what the comparison leaves out


def prepare(
    engine: Engine,
    *,
    expected_sql: str,
    expected_columns: list[Column],
    actual_sql: str,
    actual_columns: list[Column],
    key: tuple[str, ...],
    ignore: frozenset[str] = frozenset(),
    only: frozenset[str] | None = None,
    tolerance: dict[str, float] | None = None,
    carry: bool = False,
    as_of_sql: str | None = None,
    widths_matter: bool = True,
    relation: str | None = None,
) -> Prepared:
    """Line two sides up by column name. Columns on one side, or of types that do not match, are named and not compared.

    With ``widths_matter`` False integers of any width match: between two databases one number has many types.
    With ``carry`` ignored columns are read too, without being compared: a row to insert needs their values.
    ``relation`` names the table of which the actual side is a plain scan, if it is one.
    Raises NotComparable if a key column exists on one side only.
    """
    tolerance = tolerance or {}
    left = {column.name: column for column in expected_columns}
    right = {column.name: column for column in actual_columns}
    parts = tuple(_key_part(engine, name, expected_sql, left, right) for name in key)
    key_columns = {part.name for part in parts if part.name in left}
    unknown = [name for name in tolerance if name not in left and name not in right]
    if unknown:
        raise NotComparable(f"tolerance names the column {unknown[0]!r}, which neither side has")
    changes = []
    columns: list[ComparedColumn] = []
    for name in dict.fromkeys([*left, *right]):
        ignored = name not in key_columns and (name in ignore or (only is not None and name not in only))
        if ignored and not carry:
            continue
        if ignored and not (name in right and name in left and same_type(left[name], right[name], widths_matter)):
            continue
        if name not in right:
            changes.append(SchemaChange(name, "missing", left[name].type, None))
        elif name not in left:
            changes.append(SchemaChange(name, "extra", None, right[name].type))
        elif not same_type(left[name], right[name], widths_matter):
            changes.append(SchemaChange(name, "type", left[name].type, right[name].type))
            if name in key_columns:
                raise NotComparable(
                    f"the key column {name} is {left[name].type} in the definition and {right[name].type} in the table"
                )
        elif name not in key_columns:
            packed = len(columns) >= _WIDE and name not in tolerance
            columns.append(_compared(engine, left[name], right[name], tolerance.get(name), ignored, packed))
    expected = engine.given(expected_sql)
    as_of = engine.given(as_of_sql) if parts and as_of_sql is not None else None
    comparison = Comparison(
        expected, engine.given(actual_sql), parts, tuple(columns), as_of, engine.functions, engine.equal
    )
    unique = bool(parts) and relation is not None and engine.has_unique_index(relation, key)
    return Prepared(comparison, tuple(actual_columns), tuple(changes), unique, relation)


def _compared(
    engine: Engine, left: Column, right: Column, tolerance: float | None, ignored: bool, packed: bool
) -> ComparedColumn:
    if packed:
        return ComparedColumn(left.name, ignored=ignored, packed=engine.packed(quote(left.name), left))
    forms = engine.comparable("{}", left), engine.comparable("{}", right)
    return ComparedColumn(left.name, *forms, tolerance, ignored)


def _key_part(
    engine: Engine, name: str, expected_sql: str, left: dict[str, Column], right: dict[str, Column]
) -> KeyPart:
    if name in left and name in right:
        return KeyPart(name, quote(name), right[name].collation, right[name].matched)
    for side, columns in (("definition", left), ("table", right)):
        if name not in columns and name.isidentifier():
            other = next((column for column in columns if column.lower() == name.lower()), None)
            spelled = f"; write it as it is spelled there, {other}, in meta.reconcile.key" if other else ""
            raise NotComparable(
                f"the key column {name!r} is not in the {side}: its columns are {', '.join(columns)}{spelled}"
            )
    [column] = engine.query_columns(f"select ({name}) as key from (\n{expected_sql}\n) as side")
    return KeyPart(name, f"({name})", matched=column.matched)  # unique_key may be an SQL expression


_WIDE = 700  # columns of a side that are joined one by one; further ones share a list
_INTEGERS = frozenset({"int2", "int4", "int8", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"})


def same_type(left: Column, right: Column, widths_matter: bool) -> bool:
    """Whether two columns are compared: value by value, without a cast that would change one of them."""
    if not widths_matter and {left.base, right.base} <= _INTEGERS:
        return True
    if left.base != right.base:
        return {left.base, right.base} <= {"text", "varchar"}
    # dbt itself widens varchar(n); a scale or length of anything else changes values
    return left.type == right.type or left.base == "varchar"


def stored_sql(sql: str, contract: dict[str, str]) -> str:
    """A definition as its build would store it: cast to the contract, where there is one."""
    return cast_to_contract(sql, contract) if contract else sql
