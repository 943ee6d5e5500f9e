"""Line a model's table up with its definition, and set aside the columns that only tell when a row was built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from reconcile.compare.align import Prepared, prepare, stored_sql
from reconcile.definition.model import Definition
from reconcile.definition.splice import inlined
from reconcile.engines.base import Column, Engine
from reconcile.engines.volatility import RunValue, why_left_out, with_stand_ins
from reconcile.errors import ReconcileError
from reconcile.report.model import NotCompared

NO_FUNCTION = "it is no function of its sources"


class NotSettled(ReconcileError):
    """A definition that another evaluation would not repeat. ``hints`` say what settles it.

    ``columns``: those which ``meta.reconcile.ignore`` may name, so that the others are compared.
    """

    def __init__(self, why: str, hints: tuple[str, ...] = (), columns: tuple[str, ...] = ()) -> None:
        super().__init__(why)
        self.hints, self.columns = hints, columns


def inlined_definition(definition: Definition) -> Definition:
    """The definition in the form in which a filter on the key reaches the tables that it reads."""
    return replace(definition, sql=inlined(definition.sql or ""))


def prepare_definition(engine: Engine, definition: Definition, carry: bool = False) -> Prepared | None:
    """The comparison of a model with its definition; None where its table does not exist. ``carry`` as in prepare.

    A column that holds nothing but a build's time or id is ignored. Raises NotSettled if anything else of the
    definition differs between two evaluations.
    """
    assert definition.sql is not None
    actual = engine.table_columns(definition.relation_name)
    if actual is None:
        return None
    sql = stored_sql(definition.sql, dict(definition.contract))
    expected = engine.query_columns(sql)
    settings = definition.settings
    aside = _set_aside(engine, definition, expected, [column.name for column in actual])
    prepared = prepare(
        engine,
        expected_sql=sql,
        expected_columns=expected,
        actual_sql=f"select * from {definition.relation_name}",
        actual_columns=actual,
        key=definition.key,
        ignore=settings.ignore | aside.keys(),
        tolerance=dict(settings.tolerance),
        carry=carry,
        relation=definition.relation_name,
        as_of_sql=stored_sql(definition.as_of_sql, dict(definition.contract)) if definition.as_of_sql else None,
    )
    names = dict.fromkeys(column.name for column in (*expected, *actual))
    ignored = {
        name: "merge_exclude_columns" if name in settings.never_updated else "ignored"
        for name in names
        if name in settings.ignore and name not in definition.key
    }
    left_out = {name: (ignored | aside)[name] for name in names if name in ignored | aside}
    return replace(prepared, not_compared=tuple(NotCompared(*pair) for pair in left_out.items()))


def _set_aside(
    engine: Engine, definition: Definition, expected: Sequence[Column], actual: Sequence[str]
) -> dict[str, str]:
    """The columns that only tell when or by which run a row was built, each with the reason."""
    sql = inlined(definition.sql or "")
    names = [column.name for column in expected]
    stamps = {name: "build time" for name in names if name in definition.stamps and name in actual}

    def needs(columns: Sequence[str]) -> str | None:
        return engine.volatile_call(sql, columns, frozenset(names) - frozenset(columns))

    key = [name for name in names if name in definition.key]
    judged = [n for n in names if n in definition.key or (n not in definition.settings.ignore and n in actual)]
    judged = [name for name in judged if name not in stamps]
    if stamps and not judged:
        raise NotSettled(f"the time of a build is all that could be compared: {NO_FUNCTION}")
    if needs(judged) is None:
        return stamps
    if any(part not in names for part in definition.key):  # an expression, of whatever columns
        raise NotSettled(
            f"{needs(judged)} may decide its key, which is an expression: {NO_FUNCTION}", _hints(definition, ())
        )
    if (call := needs(key)) is not None:
        raise NotSettled(f"{call} decides its rows or its key: {NO_FUNCTION}", _hints(definition, ()))
    varying = {name: call for name in judged if name not in key and (call := needs([*key, name])) is not None}
    only_told = _only_told(engine, sql, names)
    mixed = [name for name in varying if name not in only_told]
    if mixed:
        called = ", ".join(dict.fromkeys(varying[name] for name in mixed))
        why = f"{', '.join(mixed)} {'depends' if len(mixed) == 1 else 'depend'} on {called}: {NO_FUNCTION}"
        raise NotSettled(why, _hints(definition, mixed), tuple(mixed))
    rest = [name for name in judged if name not in varying]
    if not rest or (call := needs(rest)) is not None:
        raise NotSettled(f"{call or next(iter(varying.values()))} decides all that could be compared: {NO_FUNCTION}")
    return stamps | {name: why_left_out(call) for name, call in varying.items()}


def build_columns(engine: Engine, definition: Definition) -> frozenset[str]:
    """The columns of a definition that only tell when, or by which run, a row was built."""
    sql = inlined(definition.sql or "")
    return frozenset(_only_told(engine, sql, [column.name for column in engine.query_columns(sql)]))


def _only_told(engine: Engine, sql: str, names: Sequence[str]) -> set[str]:
    """The columns that hold run values and nothing else; none where the SQL cannot be taken apart."""
    from reconcile.definition.audit_columns import RUN_VALUE, audit_columns  # its import takes time

    def stand_in(place: int, value: RunValue) -> str:
        call = sql[value.start : value.end]
        return f"{RUN_VALUE}{call[call.index('(') :]}" if value.function and "(" in call else f"{RUN_VALUE}()"

    replaced = engine.spelled(with_stand_ins(sql, engine.run_values(sql), stand_in))
    try:
        found = audit_columns(replaced, engine.dialect, _columns_of(engine))
    except ValueError:
        return set()
    return {name for name, told in zip(names, found, strict=True) if told} if len(found) == len(names) else set()


def _columns_of(engine: Engine) -> Callable[[str], Sequence[str]]:
    def columns_of(relation: str) -> Sequence[str]:
        return [column.name for column in engine.table_columns(relation) or ()]

    return columns_of


def _hints(definition: Definition, columns: Sequence[str]) -> tuple[str, ...]:
    """The lines of yml that settle it, where a setting can."""
    if not columns:
        return (
            "take bounds from the data (max(day) of a source), not from the clock: then every build yields the same",
        )
    ignored = sorted({*definition.settings.ignore, *columns})
    place = definition.declared_in or f"a yml file beside {definition.path}"
    config = f"config: {{meta: {{reconcile: {{ignore: [{', '.join(ignored)}]}}}}}}"
    if definition.version is not None:
        line = f"the versions of {definition.declared_name}: - {{v: {definition.version}, {config}}}"
    else:
        line = f"models: - {{name: {definition.name}, {config}}}"
    return (f"to compare the other columns, write in {place}, under {line}",)
