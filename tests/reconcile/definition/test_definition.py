"""The definition's text: what is spliced, what is volatile, what only looks so."""

from __future__ import annotations

import pytest

from reconcile.definition.model import Node
from reconcile.definition.splice import mentions, splice
from reconcile.engines.identifiers import quote
from reconcile.engines.volatility import why_volatile, without_stamps


def node(name: str, sql: str, *upstream: str, **more: object) -> Node:
    return Node(name, name, f'"db"."main"."{name}"', sql, upstream, "view", **more)  # type: ignore[arg-type]


def test_upstream_models_become_ctes_down_to_the_sources() -> None:
    nodes = {
        "a": node("a", 'select * from "raw"."t";  '),
        "b": node("b", 'select * from "db"."main"."a" -- "quoted"', "a"),
        "c": node("c", 'select b.* from "db"."main"."b" b join "db"."main"."a" a on true', "b", "a"),
    }
    sql = splice(nodes["c"], nodes)

    assert sql.count("as not materialized") == 2
    assert '"db"."main"' not in sql
    assert sql.index("__reconcile_0_a") < sql.index("__reconcile_1_b")
    assert splice(nodes["c"], nodes, deep=False) == nodes["c"].sql


def test_a_name_that_begins_like_another_is_left_alone() -> None:
    nodes = {"a": node("a", "select 1"), "c": Node("c", "c", "c", "select * from main.a_long, main.a", ("a",), "view")}
    nodes["a"] = Node("a", "a", "main.a", "select 1", (), "view")

    assert "main.a_long" in splice(nodes["c"], nodes)
    assert mentions("select * from main.a", "main.a")
    assert not mentions("select * from main.a_long", "main.a")


def test_an_upstream_table_under_a_contract_is_cast_as_its_own_build_casts_it() -> None:
    upstream = Node("a", "a", "x.a", "select 1.23 as v", (), "table", {"v": "numeric(4, 1)"})
    model = Node("c", "c", "x.c", "select * from x.a", ("a",), "incremental")

    assert 'cast(/*name*/"v" as numeric(4, 1)) as /*name*/"v"' in splice(model, {"a": upstream, "c": model})


@pytest.mark.parametrize(
    ("sql", "call"),
    [
        ("select now()", "now()"),
        ("select a, Random ( ) from t", "random()"),
        ("select current_timestamp", "current_timestamp"),
        ("where d > CURRENT_DATE - 30", "current_date"),
        ("select nextval('s')", "nextval()"),
        ("select gen_random_uuid()", "gen_random_uuid()"),
        ("select 'now()' as said -- random()", None),
        ("select /* now() */ known, now_at, nowhere(x) from t", None),
        ('select "current_date" from t', None),
        ("select $$now()$$", None),
    ],
)
def test_volatile_calls_are_spotted_outside_literals_and_comments(sql: str, call: str | None) -> None:
    assert why_volatile(sql) == call


@pytest.mark.parametrize(
    ("sql", "call"),
    [
        ("select id, now() as loaded_at from t", None),
        ("select id, cast(current_timestamp as timestamp) as loaded_at from t", None),
        ('select id, now()::timestamp as "loaded_at" from t', None),
        ("select id, now() as other from t", "now()"),
        ("select id, now() as loaded_at from t where d < now()", "now()"),
    ],
)
def test_a_stamp_of_an_ignored_column_is_passed_over(sql: str, call: str | None) -> None:
    assert why_volatile(without_stamps(sql, frozenset({"loaded_at"}))) == call


def test_identifiers_are_quoted() -> None:
    assert quote('a"; drop table t --') == '"a""; drop table t --"'
