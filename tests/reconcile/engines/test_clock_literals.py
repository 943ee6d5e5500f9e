"""Values of the clock as literals: of the type, and in the time zone, that the clock itself would give."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from reconcile.engines.volatility import Instant, at_instant, reads_clock, run_values, with_stand_ins
from tests.reconcile.conftest import Tables

AT = Instant(
    datetime(2026, 11, 30, 23, 30, 0, 5, tzinfo=UTC),
    datetime.fromisoformat("2026-12-01 13:30:00.000005"),
    date(2026, 12, 1),
)
REPLACED = {
    "current_date": "cast('2026-12-01' as date)",
    "pg_catalog.now()": "cast('2026-11-30 23:30:00.000005+00:00' as timestamp with time zone)",
    "current_timestamp(0)": "cast('2026-11-30 23:30:00.000005+00:00' as timestamp(0) with time zone)",
    "localtimestamp": "cast('2026-12-01 13:30:00.000005' as timestamp)",
    "date 'today'": "cast('2026-12-01' as date)",
    "'yesterday'::timestamptz": "cast('2026-11-30' as timestamptz)::timestamptz",
    "cast('tomorrow' as date)": "cast(cast('2026-12-02' as date) as date)",
    "timestamp 'now'": "cast('2026-12-01 13:30:00.000005' as timestamp)",
    "age(d)": "age(cast('2026-12-01' as date), d)",
}
KEPT = ["'today'", "'today' as date", "time 'now'", "date 'today 04:00'", "current_time", "localtime", "timeofday()"]


def replaced(sql: str) -> str:
    values = [value for value in run_values(sql) if reads_clock(value)]
    found = with_stand_ins(sql, values, lambda i, v: at_instant(sql, v, AT, ages=True) or sql[v.start : v.end])
    return found.replace("/* clock */ ", "")


@pytest.mark.parametrize("call", REPLACED)
def test_a_value_of_the_clock_becomes_a_literal_of_its_type(call: str) -> None:
    assert replaced(f"select {call}") == f"select {REPLACED[call]}"


@pytest.mark.parametrize("call", KEPT)
def test_what_may_be_a_text_or_a_time_of_day_is_kept(call: str) -> None:
    assert replaced(f"select {call}") == f"select {call}"


@pytest.mark.lake(False)
@pytest.mark.parametrize("call", ["current_date", "now()", "current_timestamp", "localtimestamp"])
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago"])
def test_a_literal_of_now_has_type_and_value_of_the_clock(tables: Tables, call: str, zone: str) -> None:
    engine = tables.engine
    engine.execute(f"set TimeZone = '{zone}'")
    with engine.transaction():
        sql = f"select {call} as c"
        [moment] = engine.one("select cast(extract(epoch from now()) * 1000000 as bigint)")
        zoned = datetime.fromtimestamp(moment // 1_000_000, UTC).replace(microsecond=moment % 1_000_000)
        written = f"cast('{zoned.isoformat(' ')}' as timestamp with time zone)"
        day, local = engine.one(f"select cast({written} as date), cast({written} as timestamp)")
        [value] = engine.run_values(sql)
        literal = at_instant(sql, value, Instant(zoned, local, day), engine.ages_at_midnight)

        assert engine.query_columns(sql) == engine.query_columns(f"select {literal} as c")
        assert engine.one(f"select {call} = {literal}") == (True,)
