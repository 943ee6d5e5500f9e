"""One model's verdict: its table against its definition, or why neither can be judged."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import Any

from reconcile.capture.session import Capture, Captured, CaptureSession, NotCaptured, Route
from reconcile.compare.align import Prepared
from reconcile.compare.comparison import Compared, is_dearer, judge
from reconcile.compare.key_filter import Keys, Values
from reconcile.compare.key_ranges import narrowed_to_keys
from reconcile.definition.model import Definition
from reconcile.engines.base import Engine, Moment
from reconcile.errors import NotSetUp, ReconcileError, RowsHidden
from reconcile.model_check.build_clock import as_of_last_build, why_later_build
from reconcile.model_check.causes import Cause, find_causes, usable
from reconcile.model_check.hints import hints_for
from reconcile.model_check.prepare_definition import NotSettled, inlined_definition, prepare_definition
from reconcile.model_check.rewriters import generates_columns, why_rewritten
from reconcile.model_check.ties import why_ties_unknown
from reconcile.report.model import Drift, NotCompared, Scope, TableReport, Verdict
from reconcile.report.progress import Watcher, polled
from reconcile.state.proofs import Proof, Proofs

log = logging.getLogger("reconcile")

_MANY = 1_000  # dirty keys, above which the planner is asked whether a sweep is cheaper
_ONLY_KEYS = "only the rows of the keys that were given were compared"
_NEVER = "{}; a sweep would tell, and --scope capture forbids it"
_CLOCK = "its definition reads the clock"
_EMPTY = "both sides are empty: nothing was compared"


@dataclass(frozen=True)
class CheckRequest:
    """What to look at in a model: ``keys`` None for every row. ``mode`` is the scope's name in the report.

    ``brief`` asks only whether it drifted, not how and why.
    """

    mode: str = "sweep"
    keys: Keys | None = None
    brief: bool = False


@dataclass
class _Unjudged(Exception):
    """There is no verdict on a model, and why."""

    verdict: Verdict
    why: str
    hints: tuple[str, ...] = ()


def judge_definition(
    engine: Engine,
    definition: Definition,
    asked: CheckRequest = CheckRequest(),
    proofs: Proofs | None = None,
    at: str = "",
    watcher: Watcher = Watcher(),  # noqa: B008  does nothing
    capture: Capture = NotCaptured("its changes are not captured"),  # noqa: B008  frozen
) -> TableReport:
    """One model's report: its verdict, or why there is none. ``at``: the run's time, for the proof of a level table.

    ``capture``: what knows which keys changed, for the scopes auto and capture; else why nothing does.
    """
    started = time.monotonic()
    watcher.began(definition.name)

    def told(verdict: Verdict, scope: Scope | None = None, **found: Any) -> TableReport:
        return TableReport(
            name=definition.name,
            unique_id=definition.unique_id,
            relation=definition.relation_name,
            key=definition.key,
            verdict=verdict,
            scope=scope or Scope(asked.mode, "nothing was read"),
            elapsed_ms=round((time.monotonic() - started) * 1000),
            path=definition.path,
            **found,
        )

    try:
        with polled(engine, definition.name, watcher), engine.built_as(definition.session):
            definition = _judgeable(engine, definition)
            found = _judged_by_scope(engine, definition, asked, _Run(proofs, at, watcher, capture))
            for lost in engine.losses():
                found = found.because(lost)
    except _Unjudged as unjudged:
        return told(unjudged.verdict, error=unjudged.why, hints=unjudged.hints)
    except NotSettled as unsettled:
        return told(Verdict.UNVERIFIED, error=str(unsettled), hints=unsettled.hints)
    except NotSetUp as unlike:
        return told(Verdict.UNVERIFIED, error=str(unlike))
    except RowsHidden as hidden:
        return told(Verdict.UNVERIFIED, error=f"{hidden}: check with a role that bypasses row security")
    except ReconcileError as error:
        return told(Verdict.ERROR, error=f"{definition.name}: {error}")
    if (why := _why_undecided(definition, found)) is not None:
        return told(Verdict.UNVERIFIED, found.scope, error=why)
    return told(
        Verdict.DRIFT if found.judged.drift.any() else Verdict.LEVEL,
        found.scope,
        drift=found.judged.drift,
        columns=found.judged.columns,
        causes=found.causes,
        schema_changes=found.judged.schema_changes,
        samples=found.judged.samples,
        truncated=found.judged.truncated,
        hints=found.hints,
        columns_compared=found.columns_compared,
        not_compared=found.not_compared,
    )


@dataclass(frozen=True)
class _FoundHere:
    judged: Compared
    scope: Scope
    causes: dict[str, int]
    hints: tuple[str, ...]
    snapshot: str
    ties_unknown: str | None = None  # why ties could not be looked for
    columns_compared: int | None = None
    not_compared: tuple[NotCompared, ...] = ()
    rewritten: str | None = None  # what may have written the rows that differ, other than the build that is judged

    def because(self, note: str) -> _FoundHere:
        """With a note of why this was the way to judge it."""
        return replace(self, scope=replace(self.scope, reason=f"{self.scope.reason}; {note}"))


def _why_undecided(definition: Definition, found: _FoundHere) -> str | None:
    """Why a comparison proves nothing; None if it proves the table level, or if it found drift."""
    judged, scope = found.judged, found.scope
    if found.rewritten is not None:
        return found.rewritten
    if judged.drift.any():
        return None
    # a capture run compares no row if no key changed, or if the changed keys are gone on both sides
    if judged.rows_expected == 0 and judged.rows_actual == 0 and scope.mode != "capture":
        if scope.keys_checked is not None:
            return f"none of the {scope.keys_checked} keys is on either side: nothing was compared"
        if not definition.settings.allow_empty:
            return _EMPTY
    if found.ties_unknown is not None:
        return f"whether the order of tied rows decides a value is unknown: {found.ties_unknown}"
    return None


@dataclass(frozen=True)
class _Run:
    """What a verdict is given beside the model: see ``judge_definition``."""

    proofs: Proofs | None
    at: str
    watcher: Watcher
    capture: Capture


@dataclass
class _EveryRow(Exception):
    """The dirty keys are not enough: every row has to be read, and why."""

    why: str


def _judgeable(engine: Engine, definition: Definition) -> Definition:
    if definition.unverifiable is not None or definition.sql is None:
        raise _Unjudged(Verdict.UNVERIFIED, definition.unverifiable or "it has no definition")
    return as_of_last_build(engine, definition)


def _judged_by_scope(engine: Engine, definition: Definition, asked: CheckRequest, run: _Run) -> _FoundHere:
    if asked.mode not in ("auto", "capture"):
        return _judged(engine, definition, asked, run)
    forced = asked.mode == "capture"
    match NotCaptured(_CLOCK) if definition.clock is not None else run.capture:
        case NotCaptured(reason) if forced:
            raise _Unjudged(Verdict.UNVERIFIED, _NEVER.format(reason))
        case NotCaptured(reason):
            return _judged(engine, definition, replace(asked, mode="sweep"), run).because(reason)
        case Captured(session):
            return _judged_by_capture(engine, definition, asked, run, session)


def _judged_by_capture(
    engine: Engine, definition: Definition, asked: CheckRequest, run: _Run, session: CaptureSession
) -> _FoundHere:
    forced = asked.mode == "capture"
    route = session.route(definition, forced)
    if route.swept is None:
        try:
            return _captured(engine, definition, run, session, route.since, forced)
        except _EveryRow as every:
            route = Route(every.why) if forced else session.sweep(definition, every.why)
    if forced:
        raise _Unjudged(Verdict.UNVERIFIED, _NEVER.format(route.swept))
    found = _judged(engine, definition, replace(asked, mode="sweep"), run)
    note = f"swept, because {route.swept}"
    if route.token is not None:
        kept = _not_level(found.judged)
        if found.judged.rows_expected == 0 and found.judged.rows_actual == 0:
            note += "; both sides are empty, so change capture was not enabled"
        elif kept is None:
            note += "; more keys differ than are listed, so change capture was not enabled"
        elif why := session.finish(definition, route.token, found.snapshot, kept):
            note += f"; its changes are not captured yet: {why}"
        else:
            note += "; from now on its changes are captured"
    return found.because(note)


def _not_level(judged: Compared) -> list[Values] | None:
    """The keys that are not level, pending ones with them; None where not all of them are listed."""
    if judged.truncated or judged.drift.schema:
        return None
    return list({tuple(sample.key.values()): None for sample in judged.samples})


def _captured(
    engine: Engine, definition: Definition, run: _Run, capture: CaptureSession, since: str, forced: bool
) -> _FoundHere:
    """Compare the dirty keys alone. Raises _EveryRow where they are not known, or a sweep is cheaper."""
    by_key = inlined_definition(definition)
    proof = usable(engine, definition, run.proofs.of(definition)) if run.proofs else None
    with engine.snapshot():
        snapshot = engine.snapshot_name()
        dirty = capture.dirty_keys(definition)
        if dirty.every_key is not None:
            raise _EveryRow(dirty.every_key)
        keys, position = list(dirty.keys), capture.slot.position
        audit = [key for key in capture.audit_keys(definition) if key not in set(keys)]
        whole = _prepared(engine, by_key)
        causes: dict[str, int] = {}
        rewritten = None
        if keys or audit:
            prepared = narrowed_to_keys(whole, keys + audit)
            if len(keys) > _MANY and is_dearer(engine, prepared, whole):
                raise _EveryRow(f"{len(keys):,} keys changed: a sweep is cheaper")
            judged = judge(engine, prepared)
            rewritten = _why_undecidable(engine, definition, prepared, judged)
            if judged.drift.of_rows() and rewritten is None:
                judged, causes = _explained(engine, by_key, prepared, proof, judged)
        else:
            prepared = whole
            judged = Compared(Drift(schema=len(whole.schema_changes)), {}, whole.schema_changes, (), False, 0, 0)
        if _may_be_empty(engine, definition, judged):
            raise _EveryRow("its table is empty")
        unsettled = why_ties_unknown(engine, by_key, keys, whole) if keys else None
    kept = _not_level(judged)
    missed = sorted(set(kept or ()) & set(audit), key=str)
    if missed:
        capture.revoke(definition)
        why = f"change capture missed a change of {_key_text(definition, missed[0])}, which a random audit found"
        if not forced:
            raise _EveryRow(why)
    elif kept is not None:
        capture.settle(definition, keys, kept, len(audit), snapshot)
    changed = f"{len(keys):,} keys changed" if keys else "no key changed"
    scope = _scope(definition, judged, CheckRequest("capture"), keys, unsettled)
    reason = f"{changed} since it was proven level ({since})" + scope.reason.removeprefix(_ONLY_KEYS)
    if audit:
        reason += f"; {len(audit)} random keys were audited"
    if missed:
        reason += f"; {why}"
    scope = replace(scope, reason=reason, lsn=position)
    return _FoundHere(judged, scope, causes, (), snapshot, unsettled, *_coverage(prepared), rewritten)


def _may_be_empty(engine: Engine, definition: Definition, judged: Compared) -> bool:
    """Whether the keys that were compared leave it open that both sides are empty, which is no level table. Without
    drift both sides have the same rows, so the table alone tells."""
    if judged.drift.any() or judged.rows_actual > 0 or definition.settings.allow_empty:
        return False
    return not engine.one(f"select exists (select 1 from {definition.relation_name})")[0]


def _key_text(definition: Definition, key: Values) -> str:
    return ", ".join(f"{name} = {value}" for name, value in zip(definition.key, key, strict=True))


def _prepared(engine: Engine, definition: Definition) -> Prepared:
    prepared = prepare_definition(engine, definition)
    if prepared is None:
        missing = f"{definition.relation_name} does not exist: run `dbt build -s {definition.name}` first"
        raise _Unjudged(Verdict.ERROR, missing)
    return prepared


def _judged(engine: Engine, definition: Definition, asked: CheckRequest, run: _Run) -> _FoundHere:
    keys = asked.keys.of(definition.key) if asked.keys is not None else None
    unsettled = None
    if engine.table_columns(definition.relation_name) is not None:
        unsettled = why_ties_unknown(engine, definition, keys)
    proofs = run.proofs
    proof = usable(engine, definition, proofs.of(definition)) if proofs else None

    def step(done: int, whole: int | None) -> None:
        run.watcher.step(definition.name, done, whole)

    with engine.snapshot():
        snapshot = engine.snapshot_name()
        prepared = _prepared(engine, definition)
        if keys is not None:
            prepared = narrowed_to_keys(prepared, keys)
        # a brief comparison does not tell which columns differ
        brief = asked.brief and not generates_columns(prepared)
        found = judge(engine, prepared, step=step, brief=brief)
        rewritten = _why_undecidable(engine, definition, prepared, found)
        moment = Moment(run.at, engine.xid())
        causes: dict[str, int] = {}
        hints: tuple[str, ...] = ()
        if found.drift.of_rows() and not asked.brief and prepared.comparison.key and rewritten is None:
            found, causes = _explained(engine, definition, prepared, proof, found)
        late = causes.get(Cause.LATE, 0)
        if not asked.brief and rewritten is None:
            hints = tuple(hints_for(engine, definition, prepared, found.rows_actual, found.samples, late))
            if Cause.SETTINGS_CHANGED in causes:
                hints += (f"rows were built under other settings: dbt build --full-refresh -s {definition.name}",)
    level = (
        unsettled is None
        and not found.drift.any()
        and keys is None
        and not found.drift.pending
        and found.rows_actual > 0
    )
    if proofs is not None and level and definition.over is not None:
        proofs.add(definition, Proof(moment, definition.sql or "", definition.session))
    scope = _scope(definition, found, asked, keys, unsettled)
    return _FoundHere(found, scope, causes, hints, snapshot, unsettled, *_coverage(prepared), rewritten)


def _why_undecidable(engine: Engine, definition: Definition, prepared: Prepared, found: Compared) -> str | None:
    why = why_rewritten(engine, definition, prepared, found)
    return why or why_later_build(engine, definition, prepared, found)


def _coverage(prepared: Prepared) -> tuple[int, tuple[NotCompared, ...]]:
    """How many columns are compared, the key's among them, and those that are not."""
    compared = [column for column in prepared.comparison.columns if not column.ignored]
    return len(prepared.comparison.key) + len(compared), prepared.not_compared


def _explained(
    engine: Engine, definition: Definition, prepared: Prepared, proof: Proof | None, found: Compared
) -> tuple[Compared, dict[str, int]]:
    drift = found.drift
    plain = drift.missing + drift.extra + drift.changed
    causes = find_causes(engine, definition, prepared, proof, found.samples, plain, drift.duplicate)
    return replace(found, samples=tuple(causes.on(sample) for sample in found.samples)), causes.counts


def _scope(
    definition: Definition, found: Compared, asked: CheckRequest, keys: list[Values] | None, unsettled: str | None
) -> Scope:
    reason = "every row of both sides was compared"
    if keys is not None:
        reason = _ONLY_KEYS
    if not definition.key:
        reason += "; the model has no unique_key, so rows were compared as a multiset"
    if found.drift.pending:
        reason += f"; pending rows were loaded after the last noted build ({definition.built_at})"
    if definition.clock is not None:
        reason += (
            f"; as of the build of {definition.clock.began.isoformat(timespec='seconds')}: {definition.clock.what}"
        )
    if unsettled is not None:
        reason += f"; whether ties matter is not known: {unsettled}"
    checked = len(keys) if keys is not None else None
    return Scope(asked.mode, reason, checked, found.rows_expected, found.rows_actual)
