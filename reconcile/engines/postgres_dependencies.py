"""What a definition reads: its tables, views, functions and types, as Postgres itself resolves them.

The definition becomes a temporary view in a transaction that is rolled back, and the view's parse tree is read.
``pg_depend`` is not enough: it records no dependency on built-in objects, and so neither ``now()`` nor a catalog.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from reconcile.engines.postgres import PostgresEngine

_VIEW = "pg_temp.reconcile_definition"
_FIRST_USER_OID = 16_384  # objects below it belong to the server
_RELATION = re.compile(r":relid (\d+)")
_FUNCTION = re.compile(r":(?:\w*funcid|aggfnoid|winfnoid) (\d+)")
_TYPE = re.compile(r":\w*type (\d+)")
# current_date, current_time, localtimestamp ... (operators 0 to 8); above them are roles and names
_CLOCK_KEYWORD = re.compile(r"\{SQLVALUEFUNCTION :op [0-8] ")
# Postgres replaces these by the time at which the statement is parsed: 'now'::timestamp, date 'today'
_CLOCK_LITERAL = re.compile(r"'\s*(?:now|today|tomorrow|yesterday)\b[^']*'", re.IGNORECASE)

_BODIES = """
    select c.oid::bigint, c.relkind::text, r.ev_action::text
    from pg_catalog.pg_class c
    left join pg_catalog.pg_rewrite r on r.ev_class = c.oid and c.relkind = 'v' and r.ev_type = '1'
    where c.oid = any($1::bigint[]::oid[])
"""
# Built-in functions that read the clock, the session or a catalog: all without arguments, and these names.
_UNSAFE_FUNCTIONS = """
    select p.oid::regprocedure::text,
           case
               when p.provolatile = 'v' then 'is volatile'
               when p.proname ~ 'to_tsvector|to_tsquery|^ts_headline|^ts_lexize'
                   then 'reads a text search configuration'
               when p.oid >= 16384 then 'is not immutable, so it may read tables'
               else 'reads the clock, the session or a catalog'
           end
    from pg_catalog.pg_proc p
    where p.oid = any($1::bigint[]::oid[]) and (
        p.provolatile = 'v'
        or p.proname ~ 'to_tsvector|to_tsquery|^ts_headline|^ts_lexize'
        or p.provolatile = 's' and p.prokind = 'f' and (
            p.oid >= 16384 or p.pronargs = 0 or p.proname = 'age' and p.pronargs = 1
            or p.proname ~ '^(pg_|has_|to_reg|current_|txid_|row_security|format_type)|_to_xml|xmlschema|_description$'
        )
    )
    order by 1 limit 1
"""

# A type whose values are printed by the name of another object (regclass), also inside an array, a domain or a row.
_NAMING_TYPES = """
    with recursive parts (oid) as (
        select unnest($1::bigint[]::oid[])
        union
        select part.oid
        from parts join pg_catalog.pg_type t on t.oid = parts.oid
        cross join lateral (
            select t.typbasetype union all select t.typelem
            union all select a.atttypid from pg_catalog.pg_attribute a where a.attrelid = t.typrelid and a.attnum > 0
        ) as part (oid)
    )
    select t.typname::text from pg_catalog.pg_type t
    where t.oid = any(array(select oid from parts)) and t.oid < 16384
      and (t.typname in ('regproc', 'regprocedure', 'regoper', 'regoperator', 'regclass', 'regtype', 'regrole')
           or t.typname in ('regnamespace', 'regcollation', 'regconfig', 'regdictionary', 'aclitem'))
    order by 1 limit 1
"""
_NAMES = "select distinct p.proname::text from pg_catalog.pg_proc p where p.oid = any($1::bigint[]::oid[]) order by 1"


@dataclass(frozen=True)
class Dependencies:
    """Object ids. ``tables``: every relation below the views. ``functions``, ``types``: those defined by users.
    ``names``: of every function that is called; another one of that name may fit better.

    ``unknown``: why the result may change although no table does; None if it cannot.
    """

    tables: tuple[int, ...]
    views: tuple[int, ...]
    functions: tuple[int, ...]
    types: tuple[int, ...]
    names: tuple[str, ...]
    unknown: str | None

    def as_dict(self) -> dict[str, list[Any]]:
        return {name: list(getattr(self, name)) for name in ("tables", "views", "functions", "types", "names")}


class _RolledBack(Exception):
    """Ends the transaction that holds the temporary view."""


def dependencies_of(engine: PostgresEngine, sql: str) -> Dependencies:
    """Everything that ``sql`` reads. Raises EvaluationFailed if it does not run or temporary views are forbidden."""
    bodies: list[str] = []
    kinds: dict[int, str] = {}
    functions: set[int] = set()
    types: set[int] = set()
    unsafe: list[tuple[str, str]] = []
    names: list[tuple[str]] = []
    with suppress(_RolledBack), engine.transaction():
        engine.execute(f"create temporary view reconcile_definition as select * from (\n{sql}\n) as definition")
        pending = {int(engine.one(f"select '{_VIEW}'::pg_catalog.regclass::oid::bigint")[0])}
        root = set(pending)
        while pending:
            found = engine.rows(_BODIES, [sorted(pending)])
            kinds.update({oid: kind for oid, kind, _ in found if oid not in root})
            new = [body for _, _, body in found if body is not None]
            bodies += new
            reached = {int(oid) for body in new for oid in _RELATION.findall(body)}
            pending = reached - kinds.keys() - root - {0}
        functions = {int(oid) for body in bodies for oid in _FUNCTION.findall(body)}
        types = {int(oid) for body in bodies for oid in _TYPE.findall(body)}
        names = engine.rows(_NAMES, [sorted(functions)])
        unsafe = engine.rows(_UNSAFE_FUNCTIONS, [sorted(functions)])
        unsafe += [(name, "names other objects") for (name,) in engine.rows(_NAMING_TYPES, [sorted(types)])]
        raise _RolledBack
    return Dependencies(
        tables=tuple(sorted(oid for oid, kind in kinds.items() if kind != "v")),
        views=tuple(sorted(oid for oid, kind in kinds.items() if kind == "v")),
        functions=tuple(sorted(oid for oid in functions if oid >= _FIRST_USER_OID)),
        types=tuple(sorted(oid for oid in types if oid >= _FIRST_USER_OID)),
        names=tuple(name for (name,) in names),
        unknown=_unknown(sql, bodies, unsafe),
    )


def _unknown(sql: str, bodies: list[str], unsafe: list[tuple[str, str]]) -> str | None:
    if unsafe:
        name, why = unsafe[0]
        return f"it uses {name}, which {why}"
    if any(_CLOCK_KEYWORD.search(body) for body in bodies):
        return "it reads the clock"
    literal = _CLOCK_LITERAL.search(sql)
    return f"it reads the clock ({literal[0]})" if literal else None
