"""Which models are captured, and since when; how a model becomes captured, and when it stops to be.

A model is captured from the snapshot on in which a sweep proved it level. Before that snapshot begins it is noted as
being swept, so that whoever reads the slot meanwhile stores its changes too. The proof holds as long as the state on
which it rests (``proof_state``) stays as it was.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from reconcile.capture.changed_keys import Key, plain
from reconcile.capture.key_columns import KeyColumn, canonical_keys_sql, key_columns, sample_sql
from reconcile.capture.key_mapping import Mapping
from reconcile.capture.proof_state import difference, state_of
from reconcile.capture.publication import Publication, TableState, table_named, table_of
from reconcile.compare.align import stored_sql
from reconcile.definition.model import Definition
from reconcile.engines.own_schema import SCHEMA
from reconcile.engines.postgres import PostgresEngine
from reconcile.engines.postgres_dependencies import Dependencies, dependencies_of
from reconcile.errors import EvaluationFailed

_UNUSED_DAYS = 30
_NOT_PROVEN = "it was not proven level since its changes are captured"
_SAMPLE = 10  # keys per table on which the mapping is checked when a model is proven


@dataclass(frozen=True)
class DirtyKeys:
    """Canonical keys that may have drifted since the LSN ``since``; ``every_key``: why any key may have changed."""

    keys: tuple[Key, ...]
    every_key: str | None
    since: str


@dataclass(frozen=True)
class _Tables:
    """What a model reads (by name) and its own table, each fit to be captured."""

    own: TableState
    sources: dict[str, TableState]
    key: tuple[KeyColumn, ...]
    depends: Dependencies


@dataclass(frozen=True)
class Unfit:
    """Why the changes of a model cannot be captured."""

    reason: str

    @property
    def fix(self) -> str | None:
        """The statement that the reason ends with."""
        end = self.reason.rpartition(": ")[2]
        return end if end.startswith("alter table") else None


class Coverage:
    """The models of one slot. ``engine`` may write schema reconcile and, to publish tables, the publication."""

    def __init__(self, engine: PostgresEngine, slot: str) -> None:
        self._engine, self._slot = engine, slot
        self.publication = Publication(engine, slot)

    def why_not(self, definition: Definition) -> str | None:
        """Why the model is not captured as it is now; None if it is."""
        rows = self._noted(definition)
        why = _why_not_noted(definition, rows)
        if why is not None:
            return why
        _, _, tables, depends, state = rows[0]
        now = state_of(self._engine, self._slot, depends, tables[definition.relation_name][0])
        return None if state == now else self._replaced(tables) or difference(state, now)

    def why_not_noted(self, definition: Definition) -> str | None:
        """``why_not`` as far as it was noted: the state on which the proof rests is not looked at."""
        return _why_not_noted(definition, self._noted(definition))

    def _noted(self, definition: Definition) -> list[tuple[Any, ...]]:
        return self._engine.rows(
            f"select sweep is null, fingerprint, tables, depends, state from {SCHEMA}.capture_model"
            " where slot = $1 and model = $2",
            [self._slot, definition.unique_id],
        )

    def _replaced(self, tables: dict[str, list[int]]) -> str | None:
        published = self.publication.published()
        for relation, (oid, file_node) in tables.items():
            found = table_named(self._engine, relation)
            if found is None or found.oid != oid:
                return f"{plain(relation)} was replaced (a full refresh makes a new table)"
            if found.file_node != file_node:
                return f"{plain(relation)} was rewritten or truncated"
            if published.get(oid) != found.identity:
                return f"{plain(relation)} is not published any more, or by other columns"
        return None

    def dirty_keys(self, definition: Definition) -> DirtyKeys:
        """What may have drifted since the model was proven level."""
        rows = self._engine.rows(
            f"""
            select m.since_lsn::text, k.key, max(k.why) from {SCHEMA}.capture_model m
            left join {SCHEMA}.capture_key k on k.slot = m.slot and k.model = m.model
            where m.slot = $1 and m.model = $2 group by 1, 2 order by 2
            """,
            [self._slot, definition.unique_id],
        )
        if not rows:  # another check revoked it
            return DirtyKeys((), _NOT_PROVEN, "")
        since, marked = rows[0][0], [(key, why) for _, key, why in rows if key is not None]
        every = next((why or "any key may have changed" for key, why in marked if not key), None)
        return DirtyKeys(tuple(tuple(key) for key, _ in marked if key), every, since)

    def mark(self, definition: Definition) -> str:
        """The model's dirty keys and what made them dirty, as one text."""
        return str(
            self._engine.one(
                "select coalesce(md5(string_agg(hash::text || xid, ' ' order by hash, xid)), '')"
                f" from {SCHEMA}.capture_key where slot = $1 and model = $2",
                [self._slot, definition.unique_id],
            )[0]
        )

    def begin(self, definition: Definition) -> tuple[str | None, str | None]:
        """Before the snapshot of a sweep: note the model, publish its tables. Returns the sweep's token, or why the
        model cannot be captured."""
        found = self.publish(definition)
        if isinstance(found, Unfit):
            return None, found.reason
        tables, mapped = found
        mapped[definition.relation_name] = Mapping(definition.key, types=tuple(part.type for part in tables.key))
        everything = {definition.relation_name: tables.own, **tables.sources}
        depends, token = tables.depends.as_dict(), uuid.uuid4().hex
        self._engine.execute(
            f"""
            insert into {SCHEMA}.capture_model as noted
                (slot, model, sweep, fingerprint, key, key_types, tables, mappings, depends, state)
            values ($1, $2, $3, $4, $5::text[], $6::text[], $7::jsonb, $8::jsonb, $9::jsonb, $10::jsonb)
            on conflict (slot, model) do update set sweep = excluded.sweep, fingerprint = excluded.fingerprint,
                key = excluded.key, key_types = excluded.key_types, tables = excluded.tables,
                mappings = excluded.mappings, depends = excluded.depends, state = excluded.state, since_lsn = null,
                audited_keys = 0, audited_since = null, checked_at = current_timestamp
            """,
            [
                self._slot,
                definition.unique_id,
                token,
                fingerprint(definition),
                list(definition.key),
                [part.type for part in tables.key],
                json.dumps({name: [table.oid, table.file_node] for name, table in everything.items()}),
                json.dumps({name: mapping.as_dict() for name, mapping in mapped.items()}),
                json.dumps(depends),
                json.dumps(state_of(self._engine, self._slot, depends, tables.own.oid)),
            ],
        )
        return token, None

    def publish(self, definition: Definition) -> tuple[_Tables, dict[str, Mapping]] | Unfit:
        """Publish the tables of a model, and find how its sources name its keys."""
        found = self.fit(definition)
        if isinstance(found, Unfit):
            return found
        mapped = self._mappings(definition, found)
        for relation, mapping in mapped.items():
            table = found.sources[relation]
            needed = mapping.columns if mapping.columns is not None else ("every column",) if mapping.query else ()
            if not table.sends(needed):
                lacking = next((name for name in needed if not table.sends([name])), needed[0])
                fix = f"alter table {table.relation} replica identity full"
                return Unfit(f"{plain(relation)} does not send {lacking} of rows that change: {fix}")
        why = self._contradicted(definition, found, mapped) or self.publication.add(
            [found.own, *found.sources.values()]
        )
        return Unfit(why) if why is not None else (found, mapped)

    def describe(self, definition: Definition) -> dict[str, str]:
        """As text: how the rows of each source name the model's keys; or why they cannot be captured."""
        found = self.fit(definition)
        if isinstance(found, Unfit):
            return {"none": found.reason}
        return {plain(name): mapping.describe() for name, mapping in self._mappings(definition, found).items()}

    def _mappings(self, definition: Definition, tables: _Tables) -> dict[str, Mapping]:
        from reconcile.capture.key_proof import mappings  # sqlglot's import takes longer than a check

        oids = {name: table.oid for name, table in tables.sources.items()}
        return mappings(self._engine, definition, tables.key, oids)

    def _contradicted(self, definition: Definition, tables: _Tables, mapped: dict[str, Mapping]) -> str | None:
        """Whether real rows contradict the mappings, on keys from random pages of each table."""
        from reconcile.capture.key_proof import mapping_error

        columns = {column.name: column for column in self._engine.table_columns(tables.own.relation) or ()}
        places = [(tables.own.relation, tables.own.oid, definition.key)] + [
            (name, tables.sources[name].oid, mapping.columns)
            for name, mapping in mapped.items()
            if mapping.columns is not None
        ]
        sample = self._random_keys(places, [part.type for part in tables.key], _SAMPLE)
        return mapping_error(self._engine, definition, mapped, [columns[name] for name in definition.key], sample)

    def _random_keys(
        self, places: Sequence[tuple[str, int, tuple[str, ...]]], types: Sequence[str], count: int
    ) -> list[Key]:
        """Keys from random pages of each table (its name, its oid, the columns that carry the key)."""
        found: dict[Key, None] = {}
        for relation, oid, columns in places:
            statement = sample_sql(relation, columns, tuple(types), count)
            with suppress(EvaluationFailed), self._engine.transaction():  # a value that cannot be cast is no key
                rows = self._engine.rows(statement, [oid])
                found.update(dict.fromkeys(tuple(key) for (key,) in rows if None not in key))
        return list(found)

    def finish(self, definition: Definition, token: str, snapshot: str, drifted: Sequence[Key]) -> str | None:
        """After a sweep in ``snapshot`` found all but ``drifted`` keys level: the model is captured from then on. Why
        it is not, otherwise."""
        engine, name, model = self._engine, self._slot, definition.unique_id
        with engine.transaction():
            rows = engine.rows(
                f"select tables, depends, state from {SCHEMA}.capture_model"
                " where slot = $1 and model = $2 and sweep = $3 for update",
                [name, model, token],
            )
            if not rows:
                return "another check of it began meanwhile"
            tables, depends, state = rows[0]
            now = state_of(engine, name, depends, tables[definition.relation_name][0])
            if state != now:
                return f"while it was compared, {difference(state, now)}"
            early = engine.rows(
                f"select relation from {SCHEMA}.capture_table where slot = $1 and oid = any($2::oid[])"
                " and since_xid > pg_snapshot_xmin($3::pg_snapshot)::text::bigint limit 1",
                [name, [oid for oid, _ in tables.values()], snapshot],
            )
            if early:
                return f"a transaction that began before {plain(early[0][0])} was published is still running"
            engine.execute(
                f"delete from {SCHEMA}.capture_key where slot = $1 and model = $2 and {_seen('$3')}",
                [name, model, snapshot],
            )
            try:
                self._add(model, self._canonical(model, drifted))
            except EvaluationFailed as error:
                return f"a key that differs cannot be stored ({error})"
            engine.execute(
                f"update {SCHEMA}.capture_model set sweep = null, since = current_timestamp,"
                " since_lsn = pg_current_wal_lsn() where slot = $1 and model = $2",
                [name, model],
            )
        return None

    def settle(
        self, definition: Definition, compared: Sequence[Key], drifted: Sequence[Key], audited: int, snapshot: str
    ) -> None:
        """Of the dirty keys ``compared`` in ``snapshot`` all but ``drifted`` are level: they are clean, unless a
        transaction changed them that the snapshot does not see. ``audited``: how many random keys were compared too.

        It may be lost with the server, so nothing waits for the disk: keys are compared once more then."""
        level = self._level(definition, compared, drifted)
        with self._engine.transaction():
            self._engine.execute("set local synchronous_commit = off")
            if level:
                self._engine.execute(
                    f"delete from {SCHEMA}.capture_key where slot = $1 and model = $2 and hash = any(array("
                    "  select md5(array(select jsonb_array_elements_text(entry))::text)::uuid"
                    "  from jsonb_array_elements($3::jsonb) as entry"
                    f")) and {_seen('$4')}",
                    [self._slot, definition.unique_id, json.dumps([list(key) for key in level]), snapshot],
                )
            self._engine.execute(
                f"update {SCHEMA}.capture_model set checked_at = current_timestamp, audited_keys = audited_keys + $3,"
                " audited_since = case when $3 > 0 then coalesce(audited_since, current_timestamp) end"
                " where slot = $1 and model = $2",
                [self._slot, definition.unique_id, audited],
            )

    def _level(self, definition: Definition, compared: Sequence[Key], drifted: Sequence[Key]) -> list[Key]:
        """The compared keys that are level. None if a drifted key is not found among them: the text in which a
        comparison prints it must not decide that it is forgotten."""
        try:
            still = set(self._canonical(definition.unique_id, drifted))
        except EvaluationFailed:
            return []
        with_null = any(None in key for key in still)  # they are compared together: "key is null"
        if not {key for key in still if None not in key} <= set(compared):
            return []
        return [key for key in compared if key not in still and not (with_null and None in key)]

    def audit_keys(self, definition: Definition, count: int) -> list[Key]:
        """About ``count`` keys from random pages of the model's table and of its sources. They should all be level or
        dirty: another result means that capture missed a change."""
        if count < 1:
            return []
        tables, mapped, types = self._engine.one(
            f"select tables, mappings, key_types from {SCHEMA}.capture_model where slot = $1 and model = $2",
            [self._slot, definition.unique_id],
        )
        carried = [(name, Mapping.from_dict(body).columns) for name, body in mapped.items()]
        places = [
            (_without_database(name), tables[name][0], columns) for name, columns in carried if columns is not None
        ]
        return self._random_keys(places, types, -(-count // len(places)))

    def revoke(self, definition: Definition) -> None:
        """The proof of a model is no longer valid: only a sweep proves it again."""
        for table in ("capture_key", "capture_model"):
            self._engine.execute(
                f"delete from {SCHEMA}.{table} where slot = $1 and model = $2", [self._slot, definition.unique_id]
            )

    def forget_unused(self) -> None:
        """Stop storing keys of models that were not checked for weeks: they may have left the project."""
        unused = self._engine.rows(
            f"delete from {SCHEMA}.capture_model where slot = $1"
            f" and checked_at < current_timestamp - interval '{_UNUSED_DAYS} days' returning model",
            [self._slot],
        )
        if unused:
            self._engine.execute(
                f"delete from {SCHEMA}.capture_key where slot = $1 and model = any($2::text[])",
                [self._slot, [model for (model,) in unused]],
            )

    def forget(self) -> None:
        """No model is captured any longer."""
        for table in ("capture_key", "capture_model"):
            self._engine.execute(f"delete from {SCHEMA}.{table} where slot = $1", [self._slot])

    def fit(self, definition: Definition) -> _Tables | Unfit:
        """The tables that a model depends on and its own; or why their changes cannot be captured."""
        if not definition.key:
            return Unfit("it has no unique_key to look its rows up by")
        if definition.unverifiable is not None or definition.sql is None:
            return Unfit(definition.unverifiable or "it has no definition")
        if definition.session:
            return Unfit("its hooks or sql_header set up the session of its build")
        if not definition.sources:
            return Unfit("what it reads is not known (--upstream shallow, or no source)")
        own = table_named(self._engine, definition.relation_name)
        if own is None:
            return Unfit(f"{plain(definition.relation_name)} does not exist")
        try:
            depends = dependencies_of(self._engine, stored_sql(definition.sql, dict(definition.contract)))
        except EvaluationFailed as error:
            return Unfit(f"what it reads is not known ({error})")
        found = [table for oid in depends.tables if (table := table_of(self._engine, oid)) is not None]
        sources = {table.relation: table for table in found}
        columns = key_columns(self._engine, own.oid)
        why = depends.unknown or _why_unfit(own, sources) or _why_no_key(definition, own, columns)
        if why is not None:
            return Unfit(why)
        return _Tables(own, sources, tuple(columns[name] for name in definition.key), depends)

    def _canonical(self, model: str, keys: Sequence[Key]) -> list[Key]:
        """Keys as a comparison prints them, in canonical text. Raises EvaluationFailed if one cannot be cast."""
        if not keys:
            return []
        types = self._engine.one(
            f"select key_types from {SCHEMA}.capture_model where slot = $1 and model = $2", [self._slot, model]
        )[0]
        with self._engine.transaction():
            rows = self._engine.rows(
                canonical_keys_sql(tuple((kind, kind) for kind in types)),
                [json.dumps([[list(key), 0] for key in keys])],
            )
        return [tuple(key) for key, _ in rows]

    def _add(self, model: str, keys: Sequence[Key]) -> None:
        self._engine.execute(
            f"insert into {SCHEMA}.capture_key (slot, model, hash, key, xid)"
            " select $1, $2, md5(key::text)::uuid, key, 0 from ("
            "   select array(select jsonb_array_elements_text(entry)) as key"
            "   from jsonb_array_elements($3::jsonb) as entry"
            " ) as drifted on conflict do nothing",
            [self._slot, model, json.dumps([list(key) for key in keys])],
        )


def _why_not_noted(definition: Definition, noted: list[tuple[Any, ...]]) -> str | None:
    if not noted or not noted[0][0]:
        return _NOT_PROVEN
    return None if noted[0][1] == fingerprint(definition) else "its SQL or its settings changed"


def _why_unfit(own: TableState, sources: dict[str, TableState]) -> str | None:
    if not sources:
        return "it reads no table"
    if own.relation in sources:
        return "its definition reads its own table"
    return next((table.why_not for table in [own, *sources.values()] if table.why_not is not None), None)


def _why_no_key(definition: Definition, own: TableState, columns: dict[str, KeyColumn]) -> str | None:
    for name in definition.key:
        if name not in columns:
            return f"its key {name} is not a column of its table"
        if columns[name].why_not is not None:
            return f"its key cannot be stored: {columns[name].why_not}"
    if not own.sends(definition.key):
        fix = f"alter table {own.relation} replica identity full"
        return f"{plain(own.relation)} does not send its key of rows that change: {fix}"
    return None


def fingerprint(definition: Definition) -> str:
    """What a verdict on the model rests on, beside the database: its SQL, key and settings. The end of the last batch
    of a microbatch model is part of the SQL: when it moves, rows that were not expected before are."""
    settings = definition.settings
    rests_on = [
        definition.sql or "",
        definition.relation_name,
        definition.key,
        sorted(definition.contract.items()),
        sorted(settings.ignore),
        sorted(settings.tolerance.items()),
        sorted((name, str(columns)) for name, columns in settings.key_from.items()),
    ]
    if definition.session:
        rests_on.append(list(definition.session.statements()))
    return hashlib.sha256(json.dumps(rests_on).encode()).hexdigest()


def _without_database(relation: str) -> str:
    return ".".join(relation.split(".")[-2:])


def _seen(snapshot: str) -> str:
    """A condition on a dirty key: whether a snapshot sees what marked it."""
    return (
        f"case when xid < 0 then pg_snapshot_xmin({snapshot}::pg_snapshot)::text::bigint >= -xid"
        f" else pg_visible_in_snapshot(xid::text::xid8, {snapshot}::pg_snapshot) end"
    )
