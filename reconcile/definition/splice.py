"""What a model should hold: its own SQL, compiled as a full refresh, with every upstream model spliced in as a CTE.

The result reads only sources, seeds and snapshots, so it is the table's definition and not another table's drift.
``as not materialized`` matters: a CTE that is used twice would otherwise be computed whole, and a key predicate would
not reach the sources (100 keys of 200,000: 171 ms instead of 4).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from reconcile.definition.model import Node, SplicedSql
from reconcile.engines.identifiers import MARK, marked, outside_literals
from reconcile.engines.volatility import CLOCK_MARK


def splice(model: Node, nodes: Mapping[str, Node], deep: bool = True, sources: Mapping[str, str] | None = None) -> str:
    """The definition of ``model`` as one SELECT; ``nodes`` holds it and the models above it.

    With ``deep`` False upstream models stay the tables they are. Upstream tables under a contract are cast to it,
    as their own build casts them. ``sources`` narrows source relations: relation name -> a predicate on its rows.
    """
    order = _ancestors(model, nodes) if deep else []
    names = {node.relation_name: marked(f"__reconcile_{i}_{node.name[:40]}") for i, node in enumerate(order)}
    parts = []
    for i, (relation, predicate) in enumerate((sources or {}).items()):
        narrowed = marked(f"__reconcile_source_{i}")
        parts.append(f"{narrowed} as not materialized (\nselect * from {relation} where {predicate}\n)")
        names[relation] = narrowed
    for node in order:
        own = names | _batches(node, names, parts)
        body = _replace_relations(_statement(node.sql), own)
        if node.contract and node.materialized in ("table", "incremental"):
            body = cast_to_contract(body, node.contract)
        parts.append(f"{names[node.relation_name]} as not materialized (\n{body}\n)")
    final = _replace_relations(_statement(model.sql), names | _batches(model, names, parts))
    if not parts:
        return final
    return "with " + ",\n".join(parts) + f"\nselect * from (\n{final}\n) as definition"


_BUILT = ("table", "incremental")  # dbt evaluates their SQL when it builds them; a view's is evaluated by its readers


def spliced_sql(model: Node, nodes: Mapping[str, Node], deep: bool = True) -> tuple[SplicedSql, ...]:
    """The SQL that ``splice`` makes a definition of, each with the models in whose builds it is evaluated."""
    order = [*(_ancestors(model, nodes) if deep else []), model]
    readers: dict[str, dict[str, None]] = {model.unique_id: {model.unique_id: None}}
    for node in reversed(order):
        if node.materialized in _BUILT or node.materialized == "materialized_view":
            readers[node.unique_id] = {node.unique_id: None}
        for parent in node.upstream:
            readers.setdefault(parent, {}).update(readers[node.unique_id])
    return tuple(SplicedSql(node.unique_id, node.name, node.sql, tuple(readers[node.unique_id])) for node in order)


def _batches(node: Node, names: Mapping[str, str], parts: list[str]) -> dict[str, str]:
    """Add what a microbatch model reads of its batches as CTEs to ``parts``: relation -> the CTE's name."""
    narrowed = {}
    for relation, predicate in node.batches.items():
        narrowed[relation] = marked(f"__reconcile_batches_{len(parts)}")
        parts.append(
            f"{narrowed[relation]} as not materialized (\n"
            f"select * from {names.get(relation, relation)} where {predicate}\n)"
        )
    return narrowed


def until(instant: str) -> str:
    """The end of a microbatch model's last batch, as a literal that moves with the clock."""
    return f"'{instant}' /* until */"


def same_logic(sql: str, other: str) -> bool:
    """Whether two definitions are one, but for the batches that time has added."""
    moving = r"'[^']*' /\* until \*/"
    return re.sub(moving, "", sql) == re.sub(moving, "", other)


def same_but_clock(sql: str, other: str) -> bool:
    """Whether two definitions are one, but for the builds whose clock they have."""
    moving = rf"({re.escape(CLOCK_MARK)}cast\()'[^']*'"
    return same_logic(*(re.sub(moving, r"\1", text) for text in (sql, other)))


def cast_to_contract(sql: str, contract: Mapping[str, str]) -> str:
    columns = ", ".join(f"cast({marked(name)} as {kind}) as {marked(name)}" for name, kind in contract.items())
    return f"select {columns} from (\n{sql}\n) as uncast"


_CTE = re.compile(r"\bas\s*\((?=\s*(?:select|with|values)\b)", re.IGNORECASE)


def inlined(sql: str) -> str:
    """``sql`` with every CTE marked ``not materialized``: Postgres looks for a key inside those read twice, too."""
    return outside_literals(sql, lambda text: _CTE.sub("as not materialized (", text), lambda name: MARK + name)


def mentions(sql: str, relation_name: str) -> bool:
    return _relation_pattern(relation_name).search(sql) is not None


def _ancestors(model: Node, nodes: Mapping[str, Node]) -> list[Node]:
    """Every model above ``model``, parents before children."""
    found: dict[str, Node] = {}

    def visit(unique_ids: Sequence[str]) -> None:
        for unique_id in unique_ids:
            node = nodes.get(unique_id)
            if node is not None and unique_id not in found:
                visit(node.upstream)
                found[unique_id] = node

    visit(model.upstream)
    return list(found.values())


def _statement(sql: str) -> str:
    return sql.strip().rstrip(";").rstrip()


def _relation_pattern(relation_name: str) -> re.Pattern[str]:
    # quoted names delimit themselves; where an adapter renders them bare, a longer name must not match
    return re.compile(r'(?<![\w.$"])' + re.escape(relation_name) + r'(?![\w$"])')


def _replace_relations(sql: str, names: Mapping[str, str]) -> str:
    for relation, name in names.items():
        sql = _relation_pattern(relation).sub(lambda _, name=name: name, sql)  # type: ignore[misc]
    return sql
