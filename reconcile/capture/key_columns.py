"""Which keys can be stored, and their canonical text: one text per value, whatever the log or a cast prints."""

from __future__ import annotations

from dataclasses import dataclass

from reconcile.engines.identifiers import quote
from reconcile.engines.postgres import PostgresEngine

# Types whose equality is the equality of their canonical text. The log prints "t" where a cast prints "true",
# "10.0.0.1" where it prints "10.0.0.1/32", and char(n) with its blanks. Others (citext, interval, jsonb, ranges) call
# values equal that print differently, or have no equality.
_STORABLE = frozenset(
    {
        *("bool", "int2", "int4", "int8", "numeric", "float4", "float8", "oid", "text", "varchar", "bpchar", "name"),
        *("uuid", "date", "timestamp", "timestamptz", "time", "inet", "cidr", "macaddr", "macaddr8", "bytea"),
    }
)
_COLUMNS = """
    select a.attname,
           case t.typtype when 'd' then format_type(t.typbasetype, t.typtypmod)
                          else format_type(a.atttypid, a.atttypmod) end,
           coalesce(b.typname, t.typname), coalesce(b.typtype, t.typtype)::text,
           coalesce(l.collisdeterministic, true)
    from pg_catalog.pg_attribute a
    join pg_catalog.pg_type t on t.oid = a.atttypid
    left join pg_catalog.pg_type b on t.typtype = 'd' and b.oid = t.typbasetype
    left join pg_catalog.pg_collation l on l.oid = a.attcollation
    where a.attrelid = $1::bigint::oid and a.attnum > 0 and not a.attisdropped
"""


@dataclass(frozen=True)
class KeyColumn:
    """A column that may hold a part of a key. ``type`` keeps its modifiers, ``base`` has none; a domain is resolved."""

    name: str
    type: str
    base: str
    is_enum: bool
    deterministic: bool

    @property
    def why_not(self) -> str | None:
        """Why its values cannot be stored as text; None if they can."""
        if not self.deterministic:
            return f"{self.name} has a nondeterministic collation"
        if self.base not in _STORABLE and not self.is_enum:
            return f"values of type {self.type} of {self.name} have no canonical text"
        return None


def key_columns(engine: PostgresEngine, oid: int) -> dict[str, KeyColumn]:
    """By name: the columns of a table."""
    rows = engine.rows(_COLUMNS, [oid])
    return {name: KeyColumn(name, kind, base, typtype == "e", fixed) for name, kind, base, typtype, fixed in rows}


def canonical(expression: str, kind: str) -> str:
    """SQL: the canonical text of an expression of this type. The session's settings must be pinned."""
    base = kind.partition("(")[0].strip()
    if base == "numeric":
        return f"pg_catalog.trim_scale({expression})::text"
    if base in ("real", "double precision"):
        return f"({expression} + 0)::text"  # the sum of -0 and 0 is 0
    return f"({expression})::text"


def canonical_keys_sql(types: tuple[tuple[str, str], ...]) -> str:
    """SQL: canonical keys of a JSON array ($1) of [key, mark] entries. ``types``: per part the type that printed the
    text and the type of the model's key."""
    parts = ", ".join(
        canonical(f"cast(cast(entry -> 0 ->> {i} as {source}) as {target})", target)
        for i, (source, target) in enumerate(types)
    )
    return (
        f"select array[{parts}]::text[] as key, (entry ->> 1)::bigint as mark"
        " from pg_catalog.jsonb_array_elements($1::jsonb) as entry"
    )


def sample_sql(relation: str, columns: tuple[str, ...], types: tuple[str, ...], count: int) -> str:
    """SQL: canonical keys of up to ``count`` rows from random pages of a table, found by their place: no page is read
    that is not used (1 M and 10 M rows cost the same)."""
    parts = ", ".join(
        canonical(f"cast({quote(column)} as {target})", target) for column, target in zip(columns, types, strict=True)
    )
    return f"""
        select array[{parts}]::text[] from only {relation} where ctid = any(array(
            select format('(%s,%s)', page, place)::tid
            from (
                select floor(random() * greatest(pg_catalog.pg_relation_size($1::bigint::oid::regclass)
                                                 / current_setting('block_size')::int, 1))::bigint as page
                from pg_catalog.generate_series(1, 4)
            ) as pages, pg_catalog.generate_series(1, 100) as place
            order by random()
        )) limit {count}
    """
