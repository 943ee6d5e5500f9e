"""Rows that a table's own trigger, rule, generated column or child table may have changed are not called drift."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconcile.capture.session import NotCaptured
from reconcile.compare.key_filter import Keys
from reconcile.definition.model import UpstreamTable
from reconcile.engines.factory import open_engine
from reconcile.errors import Refused
from reconcile.model_check.judge_model import CheckRequest, judge_definition
from reconcile.report.model import Drift, TableReport, Verdict
from tests.support.bench import Bench

CLEAN = (
    "create function clean() returns trigger language plpgsql as $$ begin new.v := trim(new.v); return new; end $$",
    "create trigger clean_names before insert or update on kept for each row execute function clean()",
)
AUDIT = (
    "create table seen (id integer)",
    "create function note() returns trigger language plpgsql as"
    " $$ begin insert into seen select 1; return null; end $$",
)
ROWS = "(1, 'a'), (2, 'b'), (3, 'c')"
DIRTY = "(1, ' a'), (2, 'b'), (3, 'c ')"


def checked(pg: Bench, asked: CheckRequest = CheckRequest()) -> TableReport:  # noqa: B008  frozen
    engine = open_engine(pg.project.connection)
    try:
        return judge_definition(engine, pg.project.definitions[0], asked, capture=NotCaptured("no"))
    finally:
        engine.close()


def made(pg: Bench, *more: str, truth: str = DIRTY, kept: str = ROWS) -> Bench:
    """``kept`` as a trigger that trims names would leave it, if not said otherwise."""
    pg.make("id integer, v text", truth, kept)
    pg.run(*more)
    return pg


@pytest.mark.parametrize(
    ("statements", "named"),
    [
        (CLEAN, "its trigger clean_names may change rows"),
        ((*CLEAN, "alter table kept enable always trigger clean_names"), "its trigger clean_names may change rows"),
        (
            (*AUDIT, "create trigger audit after insert on kept for each statement execute function note()"),
            "its trigger audit may change rows",
        ),
        (
            (*AUDIT, "create constraint trigger late after delete on kept for each row execute function note()"),
            "its trigger late may change rows",
        ),
        (
            (*CLEAN, *AUDIT, "create trigger audit after update on kept for each row execute function note()"),
            "its triggers audit and clean_names may change rows",
        ),
        (("create rule quiet as on delete to kept do instead nothing",), "its rule quiet may change rows"),
        (("create table child () inherits (kept)",), "its child table child is read with it"),
    ],
)
def test_rows_that_differ_beside_a_rewriter_are_unverified_and_never_repaired(
    pg: Bench, statements: tuple[str, ...], named: str
) -> None:
    made(pg, *statements)
    found = checked(pg)

    assert found.verdict is Verdict.UNVERIFIED
    assert named in (found.error or "")
    assert "rows differ (2 changed)" in (found.error or "")
    assert (found.drift, found.causes, found.samples) == (Drift(), {}, ())
    with pytest.raises(Refused, match=r"kept is unverified .* is never repaired"):
        pg.repair()
    assert pg.rows() == [(1, "a"), (2, "b"), (3, "c")]


@pytest.mark.parametrize("statements", [CLEAN, ("create table child () inherits (kept)",)])
def test_a_table_that_equals_its_definition_is_level_in_spite_of_a_rewriter(
    pg: Bench, statements: tuple[str, ...]
) -> None:
    assert checked(made(pg, *statements, truth=ROWS)).verdict is Verdict.LEVEL


@pytest.mark.parametrize(
    "statements",
    [
        (*CLEAN, "alter table kept disable trigger clean_names"),
        (*CLEAN, "drop trigger clean_names on kept"),
        (
            "create trigger same before update on kept for each row"
            " execute function suppress_redundant_updates_trigger()",
        ),
        (*AUDIT, "create trigger emptied after truncate on kept for each statement execute function note()"),
        (*AUDIT, "create trigger elsewhere after insert on truth for each row execute function note()"),
        ("create rule loud as on delete to kept do also notify deleted", "alter table kept disable rule loud"),
        ("alter table kept add primary key (id)", "create table child (id integer references kept)"),
        ("create table parent (id integer, v text)", "alter table kept inherit parent"),
    ],
)
def test_what_cannot_change_rows_leaves_the_drift(pg: Bench, statements: tuple[str, ...]) -> None:
    found = checked(made(pg, *statements))

    assert found.verdict is Verdict.DRIFT
    assert found.drift == Drift(changed=2)


PARENT = ("create table parent (id integer primary key)", "insert into parent values (1), (2), (3), (4)")


@pytest.mark.parametrize(
    ("action", "unverified"),
    [("on delete cascade", True), ("on delete set null", True), ("on update cascade", True), ("", False)],
)
def test_a_foreign_key_with_an_action_may_take_rows_away(pg: Bench, action: str, unverified: bool) -> None:
    key = f"alter table kept add constraint of_parent foreign key (id) references parent {action}"
    found = checked(made(pg, *PARENT, key, truth=f"{ROWS}, (4, 'd')", kept=f"{ROWS}"))

    assert found.verdict is (Verdict.UNVERIFIED if unverified else Verdict.DRIFT)
    assert ("its foreign key of_parent may change rows" in (found.error or "")) == unverified
    pg.run("insert into kept values (4, 'd')", "delete from truth where id = 4")
    assert checked(pg).drift == Drift(extra=1)  # which no foreign key has added


def test_rows_of_a_child_table_are_counted_and_kept(pg: Bench) -> None:
    made(pg, "create table child () inherits (kept)", "insert into child values (9, 'x')", truth=ROWS)
    found = checked(pg)

    assert found.verdict is Verdict.UNVERIFIED
    assert "rows differ (1 extra): end the inheritance with `alter table ... no inherit ...`" in (found.error or "")


def test_partitions_are_no_child_tables_and_their_triggers_count(pg: Bench) -> None:
    pg.run(
        "create table truth (id integer, v text)",
        f"insert into truth values {DIRTY}",
        "create table kept (id integer, v text) partition by range (id)",
        "create table kept_a partition of kept for values from (0) to (10)",
        f"insert into kept values {ROWS}",
    )
    assert checked(pg).drift == Drift(changed=2)
    pg.run(CLEAN[0], CLEAN[1].replace("on kept", "on kept_a"))
    assert "its trigger clean_names may change rows" in (checked(pg).error or "")


def test_keys_and_brief_checks_know_of_it_too(pg: Bench) -> None:
    made(pg, *CLEAN)
    for asked in (CheckRequest(brief=True), CheckRequest("keys", keys=Keys(("id",), ({"id": "1"},), "keys.csv"))):
        found = checked(pg, asked)
        assert found.verdict is Verdict.UNVERIFIED, asked
        assert "its trigger clean_names may change rows" in (found.error or "")
    level = checked(pg, CheckRequest("keys", keys=Keys(("id",), ({"id": "2"},), "keys.csv")))
    assert level.verdict is Verdict.LEVEL


def test_a_column_of_another_type_is_drift_whatever_the_trigger(pg: Bench) -> None:
    made(pg, *CLEAN, "alter table kept add column w integer", truth=ROWS)
    found = checked(pg)

    assert found.verdict is Verdict.DRIFT
    assert found.drift == Drift(schema=1)


GENERATED = "create table kept (id integer, v integer, w integer generated always as (v * 2) stored)"


@pytest.mark.parametrize(
    ("truth", "verdict"),
    [
        ("(1, 1, 2), (2, 2, 4)", Verdict.LEVEL),
        ("(1, 1, 2), (2, 2, 5)", Verdict.UNVERIFIED),
        ("(1, 1, 2), (2, 3, 6)", Verdict.DRIFT),  # v is not generated
        ("(1, 1, 2)", Verdict.DRIFT),
    ],
)
@pytest.mark.parametrize("brief", [False, True])
def test_a_generated_column_explains_itself_alone(pg: Bench, truth: str, verdict: Verdict, brief: bool) -> None:
    pg.run("create table truth (id integer, v integer, w integer)", f"insert into truth values {truth}", GENERATED)
    pg.run("insert into kept (id, v) values (1, 1), (2, 2)")
    found = checked(pg, CheckRequest(brief=brief))

    assert found.verdict is verdict
    if verdict is Verdict.UNVERIFIED:
        assert "its generated column w is computed by the table, and nothing else differs (1 changed)" in (
            found.error or ""
        )


def test_a_trigger_of_an_upstream_table_leaves_the_cause_unknown_too(pg: Bench) -> None:
    made(pg, "create table stg (id integer, v text)")
    [definition] = pg.project.definitions
    above = replace(definition, upstream_tables=(UpstreamTable("stg", "stg"),))
    pg.project = replace(pg.project, definitions=(above,))
    assert checked(pg).verdict is Verdict.DRIFT
    pg.run(CLEAN[0], CLEAN[1].replace("on kept", "on stg"))
    found = checked(pg)

    assert found.verdict is Verdict.UNVERIFIED
    assert "the upstream model stg: its trigger clean_names may change rows" in (found.error or "")
    assert "--upstream shallow" in (found.error or "")


@pytest.mark.parametrize(
    ("truth", "also_never", "verdict"),
    [
        (ROWS, False, Verdict.LEVEL),
        ("(1, 'a'), (2, 'b')", False, Verdict.UNVERIFIED),
        ("(1, 'a'), (2, 'b')", True, Verdict.DRIFT),  # an extra row, which no repair deletes
        (DIRTY, True, Verdict.UNVERIFIED),
    ],
)
def test_an_upstream_table_that_is_never_refreshed_may_keep_more(
    pg: Bench, truth: str, also_never: bool, verdict: Verdict
) -> None:
    made(pg, truth=truth)
    [definition] = pg.project.definitions
    above = replace(
        definition, upstream_tables=(UpstreamTable("stg", "stg", never_refreshed=True),), never_refreshed=also_never
    )
    pg.project = replace(pg.project, definitions=(above,))
    found = checked(pg)

    assert found.verdict is verdict
    if verdict is Verdict.UNVERIFIED:
        assert "the upstream model stg is never refreshed in full (full_refresh: false)" in (found.error or "")
