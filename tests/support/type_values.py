"""Tables over every type of an engine, each with values that are close to each other: what type tests are made of.

A pair of values differs in its bytes, and as closely as the type allows: the type's own ``=`` calls the two equal if
there is such a pair (caseless texts, intervals). Postgres' types are read from its catalog.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Rows = Callable[[str], list[tuple[Any, ...]]]


@dataclass(frozen=True)
class TypeCase:
    """A type as ``create table`` takes it, and two SQL expressions of values that differ."""

    type: str
    first: str
    second: str

    @property
    def id(self) -> str:
        """The name of the case in a test's id."""
        return self.type.replace(" ", "_")


# what must exist before the tables: by the names that POSTGRES_MADE uses
POSTGRES_SETUP = (
    # as the extension citext has it, which not every server can install: a text whose = ignores case
    "create type caseless",
    "create function caseless_in(cstring) returns caseless language internal immutable strict as 'textin'",
    "create function caseless_out(caseless) returns cstring language internal immutable strict as 'textout'",
    "create function caseless_recv(internal) returns caseless language internal immutable strict as 'textrecv'",
    "create function caseless_send(caseless) returns bytea language internal immutable strict as 'textsend'",
    "create type caseless (input = caseless_in, output = caseless_out, receive = caseless_recv, send = caseless_send,"
    " like = text)",
    "create cast (caseless as text) without function as assignment",
    "create function caseless_compare(caseless, caseless) returns integer language sql immutable strict"
    " as 'select bttextcmp(lower($1::text), lower($2::text))'",
    *(
        f"create function caseless_{name}(caseless, caseless) returns boolean language sql immutable strict"
        f" as 'select lower($1::text) {sign} lower($2::text)'"
        for name, sign in (("lt", "<"), ("le", "<="), ("eq", "="), ("ge", ">="), ("gt", ">"))
    ),
    *(
        f"create operator {sign} (function = caseless_{name}, leftarg = caseless, rightarg = caseless, merges)"
        if sign == "="
        else f"create operator {sign} (function = caseless_{name}, leftarg = caseless, rightarg = caseless)"
        for name, sign in (("lt", "<"), ("le", "<="), ("eq", "="), ("ge", ">="), ("gt", ">"))
    ),
    "create operator class caseless_order default for type caseless using btree as operator 1 <, operator 2 <=,"
    " operator 3 =, operator 4 >=, operator 5 >, function 1 caseless_compare(caseless, caseless)",
    "create type mood as enum ('sad', 'ok')",
    "create domain percent as numeric(5, 2) check (value <= 100)",
    "create domain share as percent",
    "create domain loose_name as caseless",
    # a collation that is not deterministic needs a server with ICU; the catalog alone says which one is
    'create collation loose from "C"',
    "update pg_collation set collisdeterministic = false where collname = 'loose'",
    "create type span as (n integer, i interval)",
    "create type price as (amount numeric, unit text)",
    "create type document as (id integer, body json)",
    "create type loose_text as (t text collate loose)",
    "create type spans as range (subtype = interval)",
    'create type names as range (subtype = text, collation = "C")',
)
_OWN = (
    TypeCase("char(3)", "'USD'", "'UST'"),
    TypeCase("varchar(5)", "'abcde'", "'abcdE'"),
    TypeCase("numeric(12,2)", "1.50", "1.51"),
    TypeCase("bit(5)", "b'10101'", "b'10100'"),
    TypeCase("interval day to second", "interval '1 day 1 second'", "interval '1 day'"),
    TypeCase("timestamp(0)", "timestamp '2026-05-06 01:02:03'", "timestamp '2026-05-06 01:02:04'"),
    TypeCase("text collate loose", "'A'", "'a'"),
    TypeCase("caseless", "'A'", "'a'"),
    TypeCase("loose_name", "'A'", "'a'"),
    TypeCase("mood", "'sad'", "'ok'"),
    TypeCase("share", "1.50", "1.51"),
    TypeCase("span", "row(1, interval '1 month')", "row(1, interval '30 days')"),
    TypeCase("price", "row(1.5, 'USD')", "row(1.5, 'usd')"),
    TypeCase("document", "row(1, '{\"a\": 1}')", "row(1, '{\"a\":1}')"),
    TypeCase("loose_text", "row('A')", "row('a')"),
    TypeCase(
        "spans", "spans(interval '1 month', interval '2 months')", "spans(interval '30 days', interval '2 months')"
    ),
    TypeCase("names", "names('a', 'b')", "names('a', 'b', '[]')"),
)
# of every base type of pg_catalog: two values as texts
_BASE = {
    "aclitem": ("postgres=r/postgres", "postgres=w/postgres"),
    "bit": ("1", "0"),
    "bool": ("true", "false"),
    "box": ("(0,0),(2,2)", "(0,0),(4,1)"),
    "bpchar": ("a", "a "),
    "bytea": ("\\x00ff", "\\x00fe"),
    "char": ("a", "b"),
    "cid": ("1", "2"),
    "cidr": ("10.0.0.0/8", "10.0.0.0/9"),
    "circle": ("<(0,0),1>", "<(1,0),1>"),
    "date": ("2026-05-06", "2026-06-05"),
    "float4": ("0.1", "0.10000001"),
    "float8": ("0.3", "0.30000000000000004"),
    "inet": ("10.0.0.1/8", "10.0.0.1/9"),
    "int2": ("1", "-1"),
    "int2vector": ("1 2", "1 3"),
    "int4": ("1", "-1"),
    "int8": ("9007199254740993", "9007199254740992"),
    "interval": ("1 mon", "30 days"),
    "json": ('{"a": 1}', '{"a":1}'),
    "jsonb": ('{"a": 1}', '{"a": "1"}'),
    "jsonpath": ("$.a", "$.A"),
    "line": ("{1,2,3}", "{2,4,6}"),
    "lseg": ("(0,0),(1,1)", "(1,1),(0,0)"),
    "macaddr": ("08:00:2b:01:02:03", "08:00:2b:01:02:04"),
    "macaddr8": ("08:00:2b:01:02:03:04:05", "08:00:2b:01:02:03:04:06"),
    "money": ("1.00", "1.01"),
    "name": ("a", "A"),
    "numeric": ("1.5", "1.50000000000000000000000000001"),
    "oid": ("1", "4294967295"),
    "oidvector": ("1 2", "1 3"),
    "path": ("[(0,0),(1,1)]", "((0,0),(1,1))"),
    "pg_lsn": ("0/1", "0/2"),
    "pg_snapshot": ("1:5:", "1:6:"),
    "point": ("(1,2)", "(1,2.0000000001)"),
    "polygon": ("((0,0),(1,0),(1,1))", "((1,0),(1,1),(0,0))"),
    "refcursor": ("a", "A"),
    "regclass": ("pg_type", "pg_class"),
    "regcollation": ('"C"', '"POSIX"'),
    "regconfig": ("simple", "english"),
    "regdatabase": ("postgres", "template1"),
    "regdictionary": ("simple", "english_stem"),
    "regnamespace": ("pg_catalog", "public"),
    "regoper": ("||/", "|/"),
    "regoperator": ("+(integer,integer)", "-(integer,integer)"),
    "regproc": ("now", "pg_sleep"),
    "regprocedure": ("now()", "version()"),
    "regrole": ("postgres", "pg_monitor"),
    "regtype": ("integer", "bigint"),
    "text": ("e\u0301", "é"),
    "tid": ("(0,1)", "(0,2)"),
    "time": ("10:00:00", "10:00:00.000001"),
    "timestamp": ("0044-03-15 10:00:00 BC", "0044-03-15 10:00:00"),
    "timestamptz": ("2026-10-25 02:30:00+02", "2026-10-25 02:30:00+01"),
    "timetz": ("10:00:00+05", "09:00:00+04"),
    "tsquery": ("a & b", "a | b"),
    "tsvector": ("a:1", "a:2"),
    "txid_snapshot": ("1:5:", "1:6:"),
    "uuid": ("00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002"),
    "varbit": ("101", "1010"),
    "varchar": ("a", "a "),
    "xid": ("1", "2"),
    "xid8": ("1", "18446744073709551615"),
    "xml": ("<a/>", "<a></a>"),
}
# types of statistics, indexes and parse trees: their input functions refuse every text
_NO_VALUES = frozenset(
    (
        *("pg_brin_bloom_summary", "pg_brin_minmax_multi_summary", "pg_dependencies", "pg_mcv_list", "pg_ndistinct"),
        *("pg_node_tree", "gtsvector"),
    )
)
_RANGES = {
    "int4range": ("[1,2)", "[1,3)"),
    "int8range": ("[1,2)", "empty"),
    "numrange": ("[1,2)", "[1,2]"),
    "tsrange": ("[2026-01-01,)", "(2026-01-01,)"),
    "tstzrange": ("[2026-01-01 00:00+00,)", "(2026-01-01 00:00+00,)"),
    "daterange": ("[2026-01-01,2026-01-02)", "[2026-01-01,2026-01-03)"),
}


def postgres_cases(rows: Rows, arrays: bool = True) -> list[TypeCase]:
    """Every type of pg_catalog that has values, the types of ``POSTGRES_SETUP``, and an array of each.

    ``rows`` runs a query. Fails if this server has a base type for which no values are given here.
    """
    names = rows(
        "select typname::text from pg_catalog.pg_type where typnamespace = 'pg_catalog'::regnamespace and typisdefined"
        " and typtype = 'b' and (typcategory <> 'A' or typname in ('int2vector', 'oidvector')) order by 1"
    )
    [(xml,)] = rows("select setting like '%with-libxml%' from pg_config where name = 'CONFIGURE'")
    without = _NO_VALUES if xml else _NO_VALUES | {"xml"}
    found = []
    for (name,) in names:
        if name not in without:
            first, second = _BASE[name]
            spelled = f'pg_catalog."{name}"'
            found.append(TypeCase(spelled, _cast(first, spelled), _cast(second, spelled)))
    for name, (first, second) in _RANGES.items():
        found.append(TypeCase(name, _cast(first, name), _cast(second, name)))
        multi = name.replace("range", "multirange")
        found.append(TypeCase(multi, _cast(f"{{{first}}}", multi), _cast(f"{{{second}}}", multi)))
    found += [TypeCase(c.type, _typed(c.first, c.type), _typed(c.second, c.type)) for c in _OWN]
    return [*found, *map(array_of, found)] if arrays else found


def array_of(case: TypeCase) -> TypeCase:
    """A case of arrays that hold the values of another case."""
    element, _, collation = case.type.partition(" collate ")
    spelled = f"{element}[]" + (f" collate {collation}" if collation else "")
    return TypeCase(spelled, f"array[{case.first}, null]::{element}[]", f"array[{case.second}, null]::{element}[]")


def _cast(text: str, spelled: str) -> str:
    return "'" + text.replace("'", "''") + f"'::{spelled}"


def _typed(expression: str, spelled: str) -> str:
    return f"({expression})::{spelled.partition(' collate ')[0]}"


DUCKDB_SETUP = ("create type mood as enum ('sad', 'ok')",)
_DUCKDB_BASE = (
    TypeCase("boolean", "true", "false"),
    *(TypeCase(t, "1", "0") for t in ("tinyint", "smallint", "integer", "bigint", "hugeint")),
    *(TypeCase(t, "1", "0") for t in ("utinyint", "usmallint", "uinteger", "ubigint", "uhugeint")),
    TypeCase("float", "0.1", "0.10000001"),
    TypeCase("double", "0.3", "0.30000000000000004"),
    TypeCase("decimal(38,10)", "1.5", "1.5000000001"),
    TypeCase("varchar", "'A'", "'a'"),
    TypeCase("varchar collate nocase", "'A'", "'a'"),
    TypeCase("varchar collate noaccent", "'é'", "'e'"),
    TypeCase("blob", "'\\x00a'", "'\\x00A'"),
    TypeCase("bit", "'101'", "'0101'"),
    TypeCase("date", "'2026-05-06'", "'2026-06-05'"),
    TypeCase("time", "'10:00:00'", "'10:00:00.000001'"),
    TypeCase("time with time zone", "'10:00:00+05'", "'09:00:00+04'"),
    TypeCase("timestamp", "'2026-05-06 01:02:03'", "'2026-05-06 01:02:03.000001'"),
    TypeCase("timestamp_ns", "'2026-05-06 01:02:03.000000001'", "'2026-05-06 01:02:03.000000002'"),
    TypeCase("timestamp_s", "'2026-05-06 01:02:03'", "'2026-05-06 01:02:04'"),
    TypeCase("timestamp_ms", "'2026-05-06 01:02:03.001'", "'2026-05-06 01:02:03.002'"),
    TypeCase("timestamp with time zone", "'2026-10-25 02:30:00+02'", "'2026-10-25 02:30:00+01'"),
    TypeCase("uuid", "'00000000-0000-0000-0000-000000000001'", "'00000000-0000-0000-0000-000000000002'"),
    TypeCase("interval", "interval 1 month", "interval 30 day"),
    TypeCase("json", "'{\"a\": 1}'", "'{\"a\":1}'"),
    TypeCase("mood", "'sad'", "'ok'"),
    TypeCase("struct(i interval)", "{'i': interval 1 month}", "{'i': interval 30 day}"),
    TypeCase("struct(t varchar, n integer)", "{'t': 'a, n: 2', 'n': null}", "{'t': 'a', 'n': 2}"),
    TypeCase("map(varchar, interval)", "map {'a': interval 1 month}", "map {'a': interval 30 day}"),
    TypeCase("union(n integer, t varchar)", "union_value(n := 1)", "union_value(t := '1')"),
    TypeCase("integer[2]", "[1, 2]", "[1, null]"),
)


def duckdb_cases() -> list[TypeCase]:
    """Types of DuckDB, and a list of each."""
    typed = [TypeCase(c.type, _typed(c.first, c.type), _typed(c.second, c.type)) for c in _DUCKDB_BASE]
    lists = (c for c in typed if " collate " not in c.type)
    return [*typed, *(TypeCase(f"{c.type}[]", f"[{c.first}, null]", f"[{c.second}, null]") for c in lists)]


def table_rows(first: str, second: str) -> Sequence[tuple[str, str]]:
    """Rows (n, value) that hold both values and NULL."""
    return [("1", first), ("2", second), ("3", "null")]
