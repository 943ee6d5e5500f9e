"""Calls in a definition that give another value at every evaluation."""

from __future__ import annotations

import re

from reconcile.engines.identifiers import LITERALS_AND_COMMENTS

# A call of these, or a read of these keywords, makes a model another one at every evaluation.
_VOLATILE = re.compile(
    r"""\b(?:(?P<call>now|random|rand|uuid|gen_random_uuid|uuidv4|uuidv7|uuid_generate_v[14]|clock_timestamp
        |statement_timestamp|transaction_timestamp|timeofday|nextval|currval|lastval|txid_current
        |pg_current_xact_id|get_current_timestamp|get_current_time|today)\s*\(
      |(?P<keyword>current_timestamp|current_date|current_time|localtimestamp|localtime)\b)""",
    re.IGNORECASE | re.VERBOSE,
)

_CLOCK_LITERAL = re.compile(r"'\s*(?:now|today|tomorrow|yesterday)\b[^']*'", re.IGNORECASE)


def why_volatile(sql: str) -> str | None:
    """The first call in ``sql`` that makes it no function of its sources; None where there is none."""
    plain = LITERALS_AND_COMMENTS.sub(" ", sql)
    match = _VOLATILE.search(plain)
    if match is None:
        return None
    name = match["call"] or match["keyword"]
    return f"{name.lower()}()" if match["call"] else name.lower()


def why_volatile_beside(sql: str, ignored: frozenset[str]) -> str | None:
    """``why_volatile``, passing over calls that do nothing but fill an ignored column: ``now() as loaded_at``."""
    return why_volatile(without_stamps(sql, ignored))


def without_stamps(sql: str, ignored: frozenset[str]) -> str:
    """``sql`` with null for every clock call that does nothing but fill an ignored column."""
    names = "|".join(re.escape(name) for name in sorted(ignored)) or "(?!)"
    call = r"(?:now\s*\(\s*\)|(?:current_timestamp|localtimestamp)(?:\s*\(\s*\))?)"
    stamp = rf"(?:{call}|cast\s*\(\s*{call}\s+as\s+[\w ]+\))(?:\s*::\s*\w+|\s+at\s+time\s+zone\s+'[^']*')*"
    return re.sub(rf'{stamp}\s+as\s+"?(?:{names})"?(?!\w)', "null", sql, flags=re.IGNORECASE)


def called_names(sql: str) -> set[str]:
    """The names that may be functions in ``sql``, in lower case unless they are quoted."""
    plain = LITERALS_AND_COMMENTS.sub(" ", sql)
    quoted = {name.replace('""', '"') for name in re.findall(r'"((?:[^"]|"")+)"\s*\(', sql)}
    return quoted | {name.lower() for name in re.findall(r"\b([^\W\d]\w*)\s*\(", plain)}


def words(sql: str) -> set[str]:
    """Every word of ``sql`` outside literals and comments, in lower case."""
    return set(re.findall(r"\w+", LITERALS_AND_COMMENTS.sub(" ", sql).lower()))


def clock_literals(sql: str) -> list[str]:
    """Literals that are the time of the statement if they are read as a time: ``'now'``, ``'yesterday'``."""
    return _CLOCK_LITERAL.findall(sql)
