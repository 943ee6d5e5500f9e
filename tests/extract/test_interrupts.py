"""Ctrl-C is recognised behind whatever was raised of it."""

from __future__ import annotations

from contextlib import ExitStack

import duckdb
import pytest

from extract.interrupts import interrupts_told


def a_step(behind: BaseException, named: BaseException | None) -> None:
    """Fails as dlt does: it names another cause than what the error was raised in the middle of, or none."""
    with ExitStack() as stack:
        stack.callback(fail, named)
        raise behind


def fail(named: BaseException | None) -> None:
    raise ValueError("a step failed") from named


@pytest.mark.parametrize(
    "interrupt",
    [
        KeyboardInterrupt(),
        RuntimeError("Query interrupted"),
        duckdb.InterruptException("INTERRUPT Error: Interrupted!"),
    ],
)
@pytest.mark.parametrize("named", [None, OSError("an unrelated cause")])
def test_an_error_with_an_interrupt_behind_it(interrupt: BaseException, named: BaseException | None) -> None:
    with pytest.raises(KeyboardInterrupt), interrupts_told():
        a_step(interrupt, named)


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(ValueError, match="a step failed"), interrupts_told():
        a_step(RuntimeError("something else"), OSError("an unrelated cause"))
