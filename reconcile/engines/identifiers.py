"""Identifiers in SQL: how they are quoted, and how to rewrite SQL without touching its literals and comments."""

from __future__ import annotations

import re
from collections.abc import Callable

LITERALS_AND_COMMENTS = re.compile(
    r"""'(?:[^']|'')*' | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ | --[^\n]* | /\*.*?\*/ | "(?:[^"]|"")*" """,
    re.DOTALL | re.VERBOSE,
)


def quote(name: str) -> str:
    """An identifier, quoted; the same rule on Postgres and DuckDB."""
    return '"' + name.replace('"', '""') + '"'


MARK = "/*name*/"


def marked(name: str) -> str:
    """``quote``, for a place in a model's own SQL: double quotes may hold texts there, which the mark tells apart."""
    return MARK + quote(name)


def outside_literals(sql: str, other: Callable[[str], str], name: Callable[[str], str]) -> str:
    """``sql`` with what is between its literals and comments put through ``other``, our marked names through
    ``name``; the rest stays as it is."""
    pieces, start, mark = [], 0, False
    for match in LITERALS_AND_COMMENTS.finditer(sql):
        pieces.append(other(sql[start : match.start()]))
        if match[0] == MARK:
            mark = True
        else:
            pieces.append(name(match[0]) if mark else match[0])
            mark = False
        start = match.end()
    return "".join([*pieces, other(sql[start:])])
