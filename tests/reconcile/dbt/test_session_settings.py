"""Which statements of hooks and of a sql_header a check applies: a closed grammar, told by a table of cases."""

from __future__ import annotations

import pytest

from reconcile.dbt.session_settings import Hook, NotApplied, session_of, sets_every_session
from reconcile.engines.build_session import BuildSession

TOKYO = (("timezone", "'Asia/Tokyo'"),)
F = "create function pg_temp.f(x int) returns int language sql immutable as $$select x; $$"


def session(sql: str, adapter: str = "postgres", transaction: bool = True, header: str | None = None) -> BuildSession:
    return session_of([Hook(sql, transaction)], header, adapter)


@pytest.mark.parametrize(
    ("sql", "settings"),
    [
        ("set time zone 'Asia/Tokyo'", TOKYO),
        ("SET SESSION TIME ZONE 'Asia/Tokyo';", TOKYO),
        ("set local timezone = 'Asia/Tokyo'", TOKYO),
        ("set TimeZone to 'Asia/Tokyo'", TOKYO),
        ("select set_config('TimeZone', 'Asia/Tokyo', true)", TOKYO),
        ("select pg_catalog.set_config('timezone', 'Asia/Tokyo', false);", TOKYO),
        ("/* why; */ set timezone = 'Asia/Tokyo' -- 'so'", TOKYO),
        ("set timezone = 'UTC'; set timezone = 'Asia/Tokyo'", TOKYO),
        ("set timezone = 'Asia/Tokyo'; reset timezone", ()),
        ("set timezone = 'Asia/Tokyo'; set time zone default", ()),
        ("set timezone = 'Asia/Tokyo'; set time zone local", ()),
        ("set datestyle = iso, dmy", (("datestyle", "'iso, dmy'"),)),
        ("set datestyle = 'SQL'; set datestyle = 'DMY'", (("datestyle", "'SQL'"), ("datestyle", "'DMY'"))),
        ("set extra_float_digits = -3", (("extra_float_digits", "'-3'"),)),
        ("set intervalstyle = iso_8601", (("intervalstyle", "'iso_8601'"),)),
        ('set search_path to Shop, "Odd Name", "$user"', (("search_path", '"shop", "Odd Name", "$user"'),)),
        ("select set_config('search_path', 'shop, public', false)", (("search_path", '"shop", "public"'),)),
        ("set search_path = 'a, b'", (("search_path", '"a, b"'),)),
        ("set app.tenant = 'o''hara'", (("app.tenant", "'o''hara'"),)),
        ("set work_mem = '1GB'; set lock_timeout = 5; set transaction isolation level serializable", ()),
        ("analyze truth; set timezone = 'Asia/Tokyo'; comment on table t is 'set role x; '", TOKYO),
        ("alter table t set schema other", ()),
        ("update t set role = 'x'", ()),
        ("", ()),
    ],
)
def test_settings_that_a_check_applies_on_postgres(sql: str, settings: tuple[tuple[str, str], ...]) -> None:
    assert session(sql) == BuildSession(settings)


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        ("set role owner", "sets role"),
        ("set session authorization bob", "sets session authorization"),
        ("set row_security = off", "sets row_security"),
        ("set standard_conforming_strings = off", "sets standard_conforming_strings"),
        ("set reconcile.x = '1'", "sets reconcile.x"),
        ("set names 'latin1'", "sets names"),
        ("reset all", "sets all, which"),
        ("discard all", "sets all, which"),
        ("set timezone = (select zone from t)", "sets timezone in a way"),
        ("set time zone interval '-08:00' hour to minute", "sets time zone in a way"),
        ("set timezone = $$UTC$$", "sets timezone in a way"),
        ("set timezone = E'U\\x54C'", "is not taken apart"),
        ("select set_config('timezone', zone, true) from t", "sets timezone in a way"),
        ("select set_config('timezone', 'UTC', true), f()", "sets timezone in a way"),
        ("select set_config(name, value, true) from t", "sets the session in a way"),
        ("with x as (select set_config('timezone', 'UTC', false)) select 1 from x", "sets timezone in a way"),
        ("do $$ begin perform set_config('timezone', 'UTC', false); end $$", "sets timezone in a way"),
        ("do $$ begin set time zone 'UTC'; end $$", "may set time zone in code"),
        ("set timezone = 'UTC'; commit", "begins or ends a transaction"),
        ("set search_path = pg_temp, public", "moves pg_catalog or pg_temp"),
        ("set search_path = public, pg_catalog", "moves pg_catalog or pg_temp"),
    ],
)
def test_hooks_that_leave_a_model_unverified(sql: str, why: str) -> None:
    with pytest.raises(NotApplied) as raised:
        session(sql)
    assert why in str(raised.value)


def test_a_local_setting_outside_the_transaction_has_no_known_effect() -> None:
    assert session("set timezone = 'Asia/Tokyo'", transaction=False) == BuildSession(TOKYO)
    for sql in ("set local timezone = 'Asia/Tokyo'", "select set_config('timezone', 'Asia/Tokyo', true)"):
        with pytest.raises(NotApplied, match="runs outside of one"):
            session(sql, transaction=False)


def test_hooks_outside_the_transaction_run_first() -> None:
    hooks = [Hook("set timezone = 'Asia/Tokyo'", True), Hook("set timezone = 'UTC'", False)]
    assert session_of(hooks, None, "postgres") == BuildSession(TOKYO)


@pytest.mark.parametrize("function", [F, F.replace("create", "create or replace"), F.replace("sql", "plpgsql")])
def test_a_header_with_settings_and_a_function_is_applied(function: str) -> None:
    found = session("set timezone = 'UTC'", header=f"set timezone = 'Asia/Tokyo';\n{function};\n")
    assert found == BuildSession(TOKYO, (function,))


@pytest.mark.parametrize(
    ("header", "why"),
    [
        ("select 1;", "is more than settings and temporary functions (select 1)"),
        ("create temp table t as select 1;", "is more than settings"),
        (F.replace("pg_temp.", "") + ";", "is more than settings"),
        (F + "; delete from truth;", "is more than settings"),
        (F + "; set timezone = 'UTC';", "sets something after a function"),
        (F.replace("language sql", "language c") + ";", "not in SQL or PL/pgSQL"),
        (F.replace("language sql", "") + ";", "not in SQL or PL/pgSQL"),
        (F.replace("immutable", "security definer") + ";", "separate settings or rights"),
        (F.replace("immutable", "set role = 'x'") + ";", "separate settings or rights"),
        ("set timezone = '{{ zone }}';", "holds jinja"),
        ("set role x;", "sets role"),
        ("/* a /* b */ */ set timezone = 'UTC';", "is not taken apart"),
    ],
)
def test_headers_that_leave_a_model_unverified(header: str, why: str) -> None:
    with pytest.raises(NotApplied) as raised:
        session("", header=header)
    assert why in str(raised.value)


def test_duckdb_is_given_what_its_sessions_alone_hold() -> None:
    macro = "create or replace temp macro twice(x) as x * 2"
    assert session("set session timezone = 'Asia/Tokyo'", "duckdb", header=f"{macro};") == BuildSession(TOKYO, (macro,))
    for sql in (
        "set global timezone = 'Asia/Tokyo'",
        "set local timezone = 'UTC'",
        "reset timezone",
        "set default_null_order = 'nulls_first'",
        "set search_path = 'other'",
        "set schema = 'other'",
        "set integer_division = true",
        "use other",
    ):
        with pytest.raises(NotApplied):
            session(sql, "duckdb")
    with pytest.raises(NotApplied):
        session("", "duckdb", header="create macro twice(x) as x * 2;")
    assert sets_every_session("set global TimeZone = 'UTC'")
    assert sets_every_session("SET default_null_order = 'nulls_first'")
    assert not sets_every_session("set session default_null_order = 'nulls_first'")


def test_no_setting_is_applied_on_other_adapters() -> None:
    assert session("analyze truth", "spark") == BuildSession()
    with pytest.raises(NotApplied, match="sets timezone"):
        session("set timezone = 'UTC'", "spark")
    with pytest.raises(NotApplied, match="is not applied"):
        session("", "spark", header="set timezone = 'UTC';")
