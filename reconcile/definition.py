"""What a model should hold: its own SQL, compiled as a full refresh, with every upstream model spliced in as a CTE.

The result reads only sources, seeds and snapshots, so it is the table's definition and not another table's drift.
``as not materialized`` matters: a CTE that is used twice would otherwise be computed whole, and a key predicate would
not reach the sources (100 keys of 200,000: 171 ms instead of 4).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

# A call of these, or a read of these keywords, makes a model another one at every evaluation.
_VOLATILE = re.compile(
    r"""\b(?:(?P<call>now|random|rand|uuid|gen_random_uuid|uuidv4|uuidv7|uuid_generate_v[14]|clock_timestamp
        |statement_timestamp|transaction_timestamp|timeofday|nextval|currval|lastval|txid_current
        |pg_current_xact_id|get_current_timestamp|get_current_time|today)\s*\(
      |(?P<keyword>current_timestamp|current_date|current_time|localtimestamp|localtime)\b)""",
    re.IGNORECASE | re.VERBOSE,
)
_LITERALS_AND_COMMENTS = re.compile(
    r"""'(?:[^']|'')*' | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ | --[^\n]* | /\*.*?\*/ | "(?:[^"]|"")*" """,
    re.DOTALL | re.VERBOSE,
)


@dataclass(frozen=True)
class Node:
    """One compiled dbt model, as far as its definition needs it."""

    unique_id: str
    name: str
    relation_name: str
    sql: str
    upstream: tuple[str, ...]
    materialized: str
    contract: Mapping[str, str] = field(default_factory=dict)  # column -> type; only where the contract is enforced
    # microbatch: relation -> a predicate that holds for the rows of its batches; dbt adds it to refs when it runs
    batches: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Settings:
    """A model's ``config.meta.reconcile``, all optional."""

    key: tuple[str, ...] | None = None
    ignore: frozenset[str] = frozenset()
    tolerance: Mapping[str, float] = field(default_factory=dict)
    enabled: bool = True
    key_from: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)  # source -> how it names keys
    allow_empty: bool = False  # level, not unverified, where neither side holds a row


@dataclass(frozen=True)
class Definition:
    """A model to judge: ``sql`` is its definition; None with ``unverifiable`` saying why there is none."""

    unique_id: str
    name: str
    relation_name: str
    key: tuple[str, ...]
    sql: str | None
    contract: Mapping[str, str]
    settings: Settings
    path: str
    declared_in: str | None = None  # the yml file that names it
    unverifiable: str | None = None
    as_of_sql: str | None = None  # the definition over what the sources held when the table was last built
    built_at: str | None = None  # when that was (ISO 8601)
    volatile: str | None = None  # a call that may only feed ignored columns: the engine decides
    # the definition over some rows of its sources only: relation -> a predicate on its rows
    over: Callable[[Mapping[str, str]], str] | None = None
    sources: Mapping[str, str | None] = field(default_factory=dict)  # what it reads -> its loaded_at_field
    incremental_sql: Callable[[], str | None] = lambda: None  # the SQL that the next build would run


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


def cast_to_contract(sql: str, contract: Mapping[str, str]) -> str:
    columns = ", ".join(f"cast({marked(name)} as {kind}) as {marked(name)}" for name, kind in contract.items())
    return f"select {columns} from (\n{sql}\n) as uncast"


def quote(name: str) -> str:
    """An identifier, quoted; the same rule on Postgres and DuckDB."""
    return '"' + name.replace('"', '""') + '"'


MARK = "/*name*/"


def marked(name: str) -> str:
    """``quote``, for a place in a model's own SQL: double quotes may hold texts there, which the mark tells apart."""
    return MARK + quote(name)


def outside_literals(sql: str, other: Callable[[str], str], name: Callable[[str], str]) -> str:
    """``sql`` with what stands between its literals and comments put through ``other``, our marked names through
    ``name``; the rest stays as it is."""
    pieces, start, mark = [], 0, False
    for match in _LITERALS_AND_COMMENTS.finditer(sql):
        pieces.append(other(sql[start : match.start()]))
        if match[0] == MARK:
            mark = True
        else:
            pieces.append(name(match[0]) if mark else match[0])
            mark = False
        start = match.end()
    return "".join([*pieces, other(sql[start:])])


def why_volatile(sql: str) -> str | None:
    """The first call in ``sql`` that makes it no function of its sources; None where there is none."""
    plain = _LITERALS_AND_COMMENTS.sub(" ", sql)
    match = _VOLATILE.search(plain)
    if match is None:
        return None
    name = match["call"] or match["keyword"]
    return f"{name.lower()}()" if match["call"] else name.lower()


def why_volatile_beside(sql: str, ignored: frozenset[str]) -> str | None:
    """``why_volatile``, passing over calls that do nothing but fill an ignored column: ``now() as loaded_at``."""
    names = "|".join(re.escape(name) for name in sorted(ignored)) or "(?!)"
    call = r"(?:now\s*\(\s*\)|(?:current_timestamp|localtimestamp)(?:\s*\(\s*\))?)"
    stamp = rf"(?:{call}|cast\s*\(\s*{call}\s+as\s+[\w ]+\))(?:\s*::\s*\w+|\s+at\s+time\s+zone\s+'[^']*')*"
    return why_volatile(re.sub(rf'{stamp}\s+as\s+"?(?:{names})"?(?!\w)', "null", sql, flags=re.IGNORECASE))


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
