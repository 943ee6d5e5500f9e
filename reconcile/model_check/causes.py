"""Why a key differs, where the evidence allows: the last proof of the table, and the transactions that wrote its rows.

A table that was level at some moment was right then, for every key. What its sources held at that moment tells what it
held: Postgres numbers the transaction that wrote each row (xmin), elsewhere dbt's loaded_at_field tells. So for each
differing key the definition is evaluated over the sources as they were (side p), over what came since (side s), and as
the former definition (side f), and the rules of ``cause_of`` name the cause. No rule guesses: without evidence it is
``unknown``.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from reconcile.compare.align import Prepared, stored_sql
from reconcile.compare.key_filter import condition
from reconcile.compare.key_ranges import narrowed, narrowed_sql
from reconcile.compare.sql import Comparison, any_differs, copies, different_by_key, joined, side, sides
from reconcile.definition.model import Definition
from reconcile.definition.splice import same_but_clock, same_logic
from reconcile.engines.base import Engine
from reconcile.engines.build_session import Settings
from reconcile.errors import EvaluationFailed
from reconcile.report.model import Sample
from reconcile.state.store import Proof

log = logging.getLogger("reconcile")


class Cause(StrEnum):
    LATE = "late"
    DELETED_UPSTREAM = "deleted_upstream"
    CORRECTED_UPSTREAM = "corrected_upstream"
    LOGIC_CHANGED = "logic_changed"
    SETTINGS_CHANGED = "settings_changed"
    PARTIAL_AGGREGATE = "partial_aggregate"
    KEEPS_MORE = "keeps_more_than_source"
    CLOCK_MOVED = "clock_moved"
    DUPLICATE = "duplicate"
    MANUAL_EDIT = "manual_edit"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Evidence:
    """What is known of one differing key; None where nothing tells.

    ``before``: the definition over the sources as they were when the table was last proven. ``since``: over what came
    after. ``former``: by the definition of that proof, where it was another one.
    """

    kind: str
    in_before: bool | None = None
    before_is_actual: bool | None = None
    before_is_expected: bool | None = None
    since_is_actual: bool | None = None
    in_former: bool | None = None
    former_is_actual: bool | None = None
    untouched: bool | None = None  # the table's row was written before the proof
    by_build: bool | None = None  # the transaction that wrote it also wrote rows that are right
    never_refreshed: bool = False  # the model's full_refresh is false
    clock: bool = False  # the clock decides its rows, and is not known to be that of the proof
    only_clock: bool = False  # ``former`` differs from the definition by the time of its clock alone
    other_settings: bool = False  # it is what the definition yields under other settings of the session
    settings_doubted: bool = False  # a build may have run under other settings: being wrong does not make it none


def cause_of(e: Evidence) -> Cause:
    """The cause that the evidence leaves. See the tests for each rule by a dbt run that leads to it."""
    if e.other_settings:
        return Cause.SETTINGS_CHANGED
    return _cause_in_session(replace(e, by_build=None) if e.settings_doubted else e)


def _cause_in_session(e: Evidence) -> Cause:
    former = Cause.CLOCK_MOVED if e.only_clock else Cause.LOGIC_CHANGED
    if e.kind == "missing":
        if e.in_former is False:
            return former  # only the new definition has it
        if e.in_before is not None:
            return Cause.MANUAL_EDIT if e.in_before else Cause.LATE
        return Cause.UNKNOWN
    if e.kind == "extra":
        return _cause_of_extra(e, former)
    if e.former_is_actual:
        return former
    if e.before_is_expected and not e.untouched:
        return Cause.MANUAL_EDIT  # the sources are as they were when it was right
    if e.before_is_actual:
        return Cause.LATE  # as it was: what came since never reached it
    if e.since_is_actual:
        return Cause.PARTIAL_AGGREGATE
    if e.untouched or (e.in_before is False and e.by_build is not False and not e.settings_doubted):
        return Cause.CORRECTED_UPSTREAM
    return Cause.MANUAL_EDIT if e.by_build is False else Cause.UNKNOWN


def _cause_of_extra(e: Evidence, former: Cause) -> Cause:
    if e.in_former:
        return former
    if e.never_refreshed:
        return Cause.KEEPS_MORE  # if all rows of a build lost their sources, by_build is False and proves nothing
    if e.clock and not e.untouched:
        return Cause.CLOCK_MOVED  # an earlier build may have taken it: by_build may be False if that took no later row
    if e.untouched or e.by_build:
        return Cause.DELETED_UPSTREAM
    return Cause.MANUAL_EDIT if e.by_build is False else Cause.UNKNOWN


@dataclass(frozen=True)
class Causes:
    """Counts by cause, exact; ``of`` gives the cause of a sampled key."""

    counts: dict[str, int]
    of: Mapping[tuple[str | None, ...], str]

    def on(self, sample: Sample) -> Sample:
        if sample.kind == "duplicate":
            return replace(sample, cause=Cause.DUPLICATE.value)
        return replace(sample, cause=self.of.get(tuple(sample.key.values())))


def find_causes(
    engine: Engine,
    definition: Definition,
    prepared: Prepared,
    proof: Proof | None,
    samples: Sequence[Sample],
    drifted: int,
    duplicates: int,
) -> Causes:
    """The causes of a judged model's drift, in the same snapshot. ``drifted`` counts its missing, extra, changed keys.

    Where every drifted key is among the samples only these are looked up; otherwise the whole table is grouped by what
    is known of its keys.
    """
    prepared = replace(prepared, comparison=replace(prepared.comparison, as_of=None))
    doubted = bool(definition.session or (proof is not None and proof.session))
    other = _other_settings(definition, prepared, proof)
    if proof is not None and proof.session != definition.session:
        proof = None  # its SQL and its rows belong to another session
    query = _Query(engine, definition, prepared, proof, unique=not duplicates)
    asked = _keys_of(prepared, samples)
    rows = list(query.rows(asked)) if asked else []
    alone = _Query(engine, definition, prepared, None, unique=not duplicates)
    explained = _explained_by(engine, other, alone, asked, rows)
    counted = [row | {"count": 1} for row in rows] if drifted <= len(rows) else list(query.groups())
    written = Counter[str]()
    for row in counted:
        written[row["writer"]] += row["count"]
    in_table = query.written(writer for writer in written if writer is not None)
    clock = _clock_evidence(definition, proof)

    def cause(row: dict[str, Any]) -> str:
        writer = row["writer"]
        by_build = in_table[writer] > written[writer] if writer in in_table else None
        known = {name: row[name] for name in _FLAGS}
        untouched = int(writer) < proof.moment.xid if writer and proof and proof.moment.xid else None
        evidence = Evidence(
            row["kind"],
            **known,
            untouched=untouched,
            by_build=by_build,
            never_refreshed=definition.never_refreshed,
            **clock,
            other_settings=tuple(row.get("key", ())) in explained,
            settings_doubted=doubted,
        )
        return cause_of(evidence).value

    counts: Counter[str] = Counter()
    for row in counted:
        counts[cause(row)] += row["count"]
    if duplicates:
        counts[Cause.DUPLICATE.value] += duplicates
    of = {tuple(row["key"]): cause(row) for row in rows}
    return Causes(dict(sorted(counts.items())), of)


def _keys_of(prepared: Prepared, samples: Sequence[Sample]) -> str:
    """A condition on the keys of the samples; empty without any, or without a column of the key."""
    columns = {column.name: column for column in prepared.actual_columns}
    names = [part.name for part in prepared.comparison.key]
    keys = [tuple(s.key.values()) for s in samples if s.kind in ("missing", "extra", "changed")]
    if not keys or any(name not in columns for name in names):
        return ""
    return condition(names, [columns[name] for name in names], keys)


def _clock_evidence(definition: Definition, proof: Proof | None) -> dict[str, bool]:
    if definition.clock is None or definition.sql is None:
        return {}
    if proof is None:
        return {"clock": True}
    return {
        "clock": not same_logic(proof.sql, definition.sql),
        "only_clock": same_but_clock(proof.sql, definition.sql),
    }


def _other_settings(definition: Definition, prepared: Prepared, proof: Proof | None) -> Settings | None:
    """The settings under which rows may have been built that are wrong now: those of the proof, or none.

    None if the model has none and had none, or if they decide the texts of its keys.
    """
    other: Settings = ()
    if proof is not None and proof.session != definition.session:
        other = proof.session.settings
    elif not definition.session.settings:
        return None
    return other if _alike_under_all(prepared, (*other, *definition.session.settings)) else None


def _explained_by(
    engine: Engine, settings: Settings | None, query: _Query, keys: str, rows: Sequence[dict[str, Any]]
) -> set[tuple[str | None, ...]]:
    """The keys of these rows that do not differ under other settings. A missing one may have been deleted as well: it
    is explained only beside a row that the table holds."""
    if settings is None or not rows:
        return set()
    try:
        with engine.set_instead(settings):
            differing = {tuple(row["key"]) for row in query.rows(keys)}
    except EvaluationFailed as error:
        log.info("the definition cannot be evaluated under other settings: %s", error)
        return set()
    alike = [row for row in rows if tuple(row["key"]) not in differing]
    if all(row["kind"] == "missing" for row in alike):
        return set()
    return {tuple(row["key"]) for row in alike}


# types of keys whose texts are the same under every setting; a date's unless its style is set
_ALIKE = frozenset(
    (
        *("int2", "int4", "int8", "numeric", "text", "varchar", "bpchar", "uuid", "bool"),
        *("SMALLINT", "INTEGER", "BIGINT", "VARCHAR", "UUID", "BOOLEAN"),
    )
)


def _alike_under_all(prepared: Prepared, settings: Settings) -> bool:
    """Whether the texts of the model's keys are the same under all these settings."""
    dates = () if any(name == "datestyle" for name, _ in settings) else ("date", "DATE")
    bases = {column.name: column.base for column in prepared.actual_columns}
    return all(bases.get(part.name) in _ALIKE or bases.get(part.name) in dates for part in prepared.comparison.key)


_FLAGS = (
    "in_before",
    "before_is_actual",
    "before_is_expected",
    "since_is_actual",
    "in_former",
    "former_is_actual",
)


class _Query:
    """The statement that puts the evidence beside each differing key."""

    def __init__(
        self, engine: Engine, definition: Definition, prepared: Prepared, proof: Proof | None, unique: bool
    ) -> None:
        self._unique = unique  # no key occurs more than once on a side
        self._engine, self._prepared, self._relation = engine, prepared, definition.relation_name
        self._writer = engine.writer(definition.relation_name)
        self._others = _other_sides(engine, definition, proof)

    def rows(self, keys: str) -> Iterator[dict[str, Any]]:
        """The evidence of each of these keys."""
        narrow = narrowed(self._prepared, keys).comparison
        others = {name: narrowed_sql(sql, keys) for name, sql in self._others.items()}
        n = len(narrow.key)
        shown = [self._engine.as_text(f"coalesce(e.k{i}, a.k{i})") for i in range(n)]
        for row in self._engine.rows(self._sql(narrow, others, shown, "")):
            yield {"key": row[:n], **_named(row[n:])}

    def groups(self) -> Iterator[dict[str, Any]]:
        """How many keys there are of each evidence."""
        grouped = f"\ngroup by {', '.join(str(i + 1) for i in range(len(_FLAGS) + 2))}"
        comparison = self._prepared.comparison
        for row in self._engine.stream(self._sql(comparison, self._others, [], grouped, "count(*)")):
            yield {**_named(row), "count": row[-1]}

    def written(self, writers: Iterator[str]) -> dict[str, int]:
        """How many rows of the table each of these transactions wrote."""
        listed = ", ".join(sorted(set(writers)))
        if not listed or self._writer is None:
            return {}
        query = f"select {self._writer}, count(*) from {self._relation} where {self._writer} in ({listed}) group by 1"
        return {str(writer): count for writer, count in self._engine.rows(query)}

    def _sql(self, comparison: Comparison, others: Mapping[str, str], shown: list[str], ending: str, *more: str) -> str:
        ctes = [
            sides(comparison, copies(comparison, self._unique)),
            *(side(comparison, name, sql) for name, sql in others.items()),
        ]
        keys = [f"{part.expression} as k{i}" for i, part in enumerate(comparison.key)]
        on = " and ".join(f"x.k{i} = coalesce(e.k{i}, a.k{i})" for i in range(len(comparison.key)))
        joins = [f"left join {name} on {on.replace('x.', f'{name}.')}" for name in others]
        writer = "cast(null as varchar)"
        if self._writer is not None:
            ctes.append(f"w as (select {', '.join(keys)}, {self._writer} as writer from {self._relation})")
            joins.append("left join w on " + " and ".join(f"w.k{i} = a.k{i}" for i in range(len(comparison.key))))
            writer = "cast(w.writer as varchar)"

        def same(left: str, right: str) -> str:
            if not {left, right} - {"e", "a"} <= set(others):
                return "cast(null as boolean)"
            both = f"{left}.present = 1 and {right}.present = 1"
            return f"coalesce({both} and not ({any_differs(comparison, left, right)}), false)"

        def stands(name: str) -> str:
            return f"coalesce({name}.present = 1, false)" if name in others else "cast(null as boolean)"

        kind = "case when a.present is null then 'missing' when e.present is null then 'extra' else 'changed' end"
        flags = [stands("p"), same("p", "a"), same("p", "e"), same("s", "a"), stands("f"), same("f", "a")]
        told = [*shown, kind, *flags, writer, *more]
        selected = ", ".join(f"{one} as x{i}" for i, one in enumerate(told))  # Sail tells constants apart by name alone
        listed, joining = ",\n".join(ctes), "\n".join(joins)
        return (
            f"with {listed}\nselect {selected}\n{joined(comparison)}\n{joining}\n"
            f"where {different_by_key(comparison, self._unique)}{ending}"
        )


def _named(row: Sequence[Any]) -> dict[str, Any]:
    return {"kind": row[0], **dict(zip(_FLAGS, row[1:], strict=False)), "writer": row[1 + len(_FLAGS)]}


def _other_sides(engine: Engine, definition: Definition, proof: Proof | None) -> dict[str, str]:
    """Side p, s and f as SELECTs, as far as there is something to tell them by."""
    if proof is None or definition.over is None:
        return {}
    contract = dict(definition.contract)
    found = {}
    before = {
        relation: engine.before(proof.moment, relation, loaded_at) for relation, loaded_at in definition.sources.items()
    }
    told = {relation: predicate for relation, predicate in before.items() if predicate is not None}
    if told and len(told) == len(before):
        found["p"] = stored_sql(definition.over(told), contract)
        since = {relation: f"not coalesce({predicate}, false)" for relation, predicate in told.items()}
        found["s"] = stored_sql(definition.over(since), contract)
    if definition.sql is not None and not same_logic(proof.sql, definition.sql):
        found["f"] = stored_sql(proof.sql, contract)
    return {name: engine.given(sql) for name, sql in found.items()}


def usable(engine: Engine, definition: Definition, proof: Proof | None) -> Proof | None:
    """``proof``, without its definition where that names what is gone or lacks a column. Not inside a transaction."""
    if proof is None or definition.sql is None or same_logic(proof.sql, definition.sql):
        return proof
    try:
        former = {column.name for column in engine.query_columns(proof.sql)}
        wanted = {column.name for column in engine.query_columns(definition.sql)}
    except EvaluationFailed:
        return replace(proof, sql=definition.sql)
    return proof if wanted <= former else replace(proof, sql=definition.sql)
