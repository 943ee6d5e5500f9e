"""Which rows of a source can change which keys of a model.

The planner proves it: it plans the definition for one key of chosen values. If every scan of a source carries these
values as conditions on the same columns, only rows with these values can contribute to that key, so these columns
carry the key. A second set of values and a plan for NULL keys confirm it, and a sample of real keys is evaluated both
ways. If the planner does not show it, ``meta.reconcile.key_from`` can declare it; otherwise a change of the source
costs a sweep.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from collections.abc import Mapping as MappingType
from dataclasses import dataclass, replace
from typing import Any

import sqlglot
from sqlglot import exp

from reconcile.capture.key_columns import KeyColumn, key_columns
from reconcile.capture.key_mapping import Mapping, name_of_relation, split_name
from reconcile.compare.align import stored_sql
from reconcile.compare.key_filter import condition
from reconcile.definition.model import Definition
from reconcile.definition.splice import inlined
from reconcile.engines.base import Column
from reconcile.engines.identifiers import quote
from reconcile.engines.postgres import PostgresEngine
from reconcile.errors import EvaluationFailed, ReconcileError

# Two values per part and set that a model's own conditions do not contain by chance; {0} makes each part's differ.
_PROBES = {
    "int2": ("-318{0}", "-297{0}"),
    "int4": ("-18732146{0}", "-17513327{0}"),
    "int8": ("-18732146571873{0}", "-17513327931871{0}"),
    "numeric": ("-1873214657.1873{0}", "-1751332793.1871{0}"),
    "text": ("reconcile probe 7f3a{0}", "reconcile probe c21e{0}"),
    "varchar": ("reconcile probe 7f3a{0}", "reconcile probe c21e{0}"),
    "uuid": ("7f3a9d21-0c4e-4b52-9a1e-5d6c7b8a9f{0}", "c21e7d44-5b1f-4c88-8e07-3a9d6f5b7c{0}"),
    "date": ("4187-03-{0}", "4093-11-{0}"),
    "timestamp": ("4187-03-21 07:13:{0}.187321", "4093-11-12 03:41:{0}.812713"),
    "timestamptz": ("4187-03-21 07:13:{0}.187321+00", "4093-11-12 03:41:{0}.812713+00"),
}
_SUBPLAN = re.compile(r"(?:EXISTS)?\((?:hashed )?SubPlan \d+\)")  # a plan's own words: no SQL, and no proof
_TIMES = frozenset({"date", "time", "timestamp", "timestamptz"})
_TEXTS = frozenset({"text", "varchar"})
_FEW_PARTS = 18  # so many two-digit suffixes (10 to 27) are valid in all probes, days of a month included

Key = tuple[str | None, ...]
Plan = list[dict[str, Any]]  # the nodes that scan a relation


def mappings(
    engine: PostgresEngine, definition: Definition, key: Sequence[KeyColumn], sources: MappingType[str, int]
) -> dict[str, Mapping]:
    """By source relation (``sources``: name -> oid). Raises ReconcileError if ``key_from`` names an unknown source."""
    declared = dict(definition.settings.key_from)
    unknown = set(declared) - {name_of_relation(relation) for relation in [*sources, *definition.sources]}
    if unknown:
        read = ", ".join(sorted({name_of_relation(relation) for relation in sources}))
        raise ReconcileError(
            f"{definition.name}: key_from names {min(unknown)}, which it does not read: it reads {read}"
        )
    found: dict[str, Mapping] = {}
    plans: _Plans | None = None
    for relation, oid in sources.items():
        columns = key_columns(engine, oid)
        if (given := declared.get(name_of_relation(relation))) is not None:
            found[relation] = _declared(given, definition, key, relation, columns)
            continue
        plans = plans or _plans(engine, definition, key)
        found[relation] = _same_values(relation, _proven(relation, plans, key), key, columns)
    return found


def _declared(
    given: str | Sequence[str],
    definition: Definition,
    key: Sequence[KeyColumn],
    relation: str,
    known: MappingType[str, KeyColumn],
) -> Mapping:
    if isinstance(given, str) and given.lstrip().lower().startswith(("select", "with")):
        return Mapping(query=given)
    columns = (given,) if isinstance(given, str) else tuple(given)
    if len(columns) != len(definition.key):
        raise ReconcileError(
            f"{definition.name}: key_from gives {len(columns)} columns for a key of {len(definition.key)}: name one for"
            f" each of ({', '.join(definition.key)}), or a select from changed"
        )
    missing = [name for name in columns if name not in known]
    if missing:
        raise ReconcileError(
            f"{definition.name}: key_from names {missing[0]}, which {name_of_relation(relation)} does not have"
        )
    unfit = next((known[name].why_not for name in columns if known[name].why_not), None)
    for name, part in zip(columns, key, strict=True):
        if known[name].base != part.base and {known[name].base, part.base} & _TIMES:
            kinds = f"{known[name].type} to {part.type}"
            unfit = (
                unfit or f"key_from: the cast of {name} from {kinds} depends on settings; declare a select from changed"
            )
    return Mapping(why=unfit) if unfit else Mapping(columns, types=tuple(known[name].type for name in columns))


@dataclass(frozen=True)
class _Plans:
    """Scans of the definition for every key, for each set of probe values, and for a NULL in each part of the key.
    ``probed`` is empty if a part's type has no probe values."""

    every: Plan
    probed: tuple[tuple[tuple[str, ...], Plan], ...]
    null: tuple[Plan, ...]


def _plans(engine: PostgresEngine, definition: Definition, key: Sequence[KeyColumn]) -> _Plans:
    assert definition.sql is not None
    sql = inlined(stored_sql(definition.sql, dict(definition.contract)))

    def scans(condition: str) -> Plan:
        statement = f"explain (verbose, format json) select * from (\n{sql}\n) as probed where {condition}"
        return [node for node in _nodes(engine.one(statement)[0][0]["Plan"]) if "Relation Name" in node]

    every = scans("true")
    if len(key) > _FEW_PARTS or any(part.base not in _PROBES for part in key):
        return _Plans(every, (), ())
    probed = []
    for probe_set in (0, 1):
        values = [_PROBES[part.base][probe_set].format(10 + i) for i, part in enumerate(key)]
        casts = [f"cast('{value}' as pg_catalog.{part.base})" for value, part in zip(values, key, strict=True)]
        condition = " and ".join(f"{quote(part.name)} = {cast}" for part, cast in zip(key, casts, strict=True))
        printed = engine.one(f"select {', '.join(f'({cast})::text' for cast in casts)}")
        probed.append((tuple(printed), scans(condition)))
    return _Plans(every, tuple(probed), tuple(scans(f"{quote(part.name)} is null") for part in key))


def _proven(relation: str, plans: _Plans, key: Sequence[KeyColumn]) -> Mapping:
    name = name_of_relation(relation)
    scanned = len(_of(relation, plans.every))
    if scanned == 0:
        return Mapping()  # an unused CTE, or a join that a constraint makes superfluous (constraints are in the state)
    if not plans.probed:
        return Mapping(why=f"keys of type {', '.join(part.type for part in key)} cannot be probed")
    carried: set[tuple[str, ...]] = set()
    for values, plan in plans.probed:
        own = _of(relation, plan)
        if len(own) != scanned:
            # a branch that never yields this key, and yields another one from every row of the source
            return Mapping(why=f"the planner reads {name} differently for one key than for all")
        for node in own:
            columns = _carried(node, values)
            if columns is None:
                return Mapping(why=f"the planner does not put the key on every scan of {name}")
            carried.add(columns)
    if len(carried) > 1:
        return Mapping(why=f"different columns of {name} carry the key")
    (columns,) = carried
    null_keys = any(
        not _is_null(node, column)
        for column, plan in zip(columns, plans.null, strict=True)
        for node in _of(relation, plan)
    )
    return Mapping(columns, null_keys=null_keys)


def _same_values(
    relation: str, found: Mapping, key: Sequence[KeyColumn], known: MappingType[str, KeyColumn]
) -> Mapping:
    """``found`` if its columns have the types of the key: equal values then have equal canonical texts."""
    if found.columns is None:
        return found
    columns = [known[name] for name in found.columns]
    for column, part in zip(columns, key, strict=True):
        if column.base != part.base and not {column.base, part.base} <= _TEXTS:
            return Mapping(
                why=f"{name_of_relation(relation)}.{column.name} and the key {part.name} have different types"
            )
        if column.why_not:
            return Mapping(why=f"{name_of_relation(relation)}: {column.why_not}")
    return replace(found, types=tuple(column.type for column in columns))


def mapping_error(
    engine: PostgresEngine,
    definition: Definition,
    found: MappingType[str, Mapping],
    key: Sequence[Column],
    sample: Sequence[Key],
) -> str | None:
    """Evaluate the definition twice for a sample of keys: over every row of its sources, and over the rows that the
    mappings say contribute. Why the mappings are wrong; None if both results are equal, or cannot be compared."""
    carried = {split_name(relation): m for relation, m in found.items() if m.columns is not None}
    sources = {
        relation: carried[split_name(relation)] for relation in definition.sources if split_name(relation) in carried
    }
    known = [values for values in sample if None not in values]
    if not known or not sources or definition.over is None:
        return None
    predicates = {}
    for relation, mapping in sources.items():
        columns = {column.name: column for column in engine.table_columns(relation) or ()}
        names = mapping.columns or ()
        predicates[relation] = condition(names, [columns[name] for name in names], known)
    wanted = condition(definition.key, key, known)
    contract = dict(definition.contract)
    whole, narrowed = (
        f"(select d::text from (\n{inlined(stored_sql(sql, contract))}\n) as d where {wanted})"
        for sql in (definition.sql or "", definition.over(predicates))
    )
    try:
        differing = engine.one(
            f"select count(*) from ((({whole} except all {narrowed}) union all ({narrowed} except all {whole}))) as x"
        )[0]
    except EvaluationFailed as error:
        return f"the mapping of its keys could not be checked on real rows ({error})"
    if not differing:
        return None
    mapped = "; ".join(f"{name_of_relation(relation)} {m.describe()}" for relation, m in sources.items())
    return f"real rows contradict the mapping of its keys ({mapped})"


def _of(relation: str, plan: Plan) -> Plan:
    schema, name = split_name(relation)
    return [node for node in plan if node["Relation Name"] == name and node.get("Schema") == schema]


def _carried(scan: dict[str, Any], values: Sequence[str]) -> tuple[str, ...] | None:
    """The columns that this scan compares with the probe values, in their order; None if one is not compared."""
    bound: dict[str, str] = {}
    for term in _terms(scan):
        if isinstance(term, exp.EQ):
            for column, value in ((term.this, term.expression), (term.expression, term.this)):
                name, text = _column(column), _literal(value)
                if name is not None and text is not None:
                    bound.setdefault(text, name)
    columns = [bound.get(value) for value in values]
    return None if None in columns else tuple(column for column in columns if column is not None)


def _is_null(scan: dict[str, Any], column: str) -> bool:
    return any(
        isinstance(term, exp.Is) and isinstance(term.expression, exp.Null) and _column(term.this) == column
        for term in _terms(scan)
    )


def _terms(scan: dict[str, Any]) -> Iterator[exp.Expr]:
    """The conditions that every row of a scan satisfies. What does not parse proves nothing."""
    for name in ("Index Cond", "Recheck Cond", "Filter"):
        if name in scan:
            try:
                parsed = sqlglot.parse_one(_SUBPLAN.sub("(true)", scan[name]), read="postgres")
            except sqlglot.errors.SqlglotError:
                continue
            yield from _conjuncts(parsed)


def _conjuncts(node: exp.Expr) -> Iterator[exp.Expr]:
    inner = node.unnest()
    if isinstance(inner, exp.And):
        yield from _conjuncts(inner.left)
        yield from _conjuncts(inner.right)
    else:
        yield inner


def _column(node: exp.Expr) -> str | None:
    """The name of a column, bare or as text (varchar columns are compared as text)."""
    inner = node.unnest()
    if isinstance(inner, exp.Cast) and inner.to.is_type(*exp.DataType.TEXT_TYPES):
        inner = inner.this.unnest()
    if not isinstance(inner, exp.Column):
        return None
    name = inner.this
    return str(name.this) if name.args.get("quoted") else str(name.this).lower()


def _literal(node: exp.Expr) -> str | None:
    """The text of a constant, as its type prints it."""
    inner = node.unnest()
    while isinstance(inner, exp.Cast):
        inner = inner.this.unnest()
    if isinstance(inner, exp.Neg) and isinstance(inner.this, exp.Literal):
        return f"-{inner.this.this}"
    return str(inner.this) if isinstance(inner, exp.Literal) else None


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from _nodes(child)
