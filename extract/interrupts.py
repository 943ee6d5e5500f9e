"""Ctrl-C comes out as itself, whatever dlt and DuckDB made of it on its way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

_DUCKDB_SAYS = "Query interrupted"  # a RuntimeError, where the signal came while a statement ran


@contextmanager
def interrupts_told() -> Iterator[None]:
    """Raise KeyboardInterrupt for every error that one is behind.

    dlt wraps it like any failure of a step, and may stumble over what it left half done before it can say so.
    """
    try:
        yield
    except Exception as error:
        if _interrupted(error):
            raise KeyboardInterrupt from error
        raise


def _interrupted(error: BaseException | None) -> bool:
    if error is None:
        return False
    itself = isinstance(error, KeyboardInterrupt | duckdb.InterruptException) or (
        isinstance(error, RuntimeError) and _DUCKDB_SAYS in str(error)
    )
    return itself or _interrupted(error.__cause__) or _interrupted(error.__context__)
