"""Parts of a definition whose value the next evaluation, or the next build, would not repeat."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from reconcile.engines.identifiers import LITERALS_AND_COMMENTS

# A call of these, or a read of these keywords, makes a model another one at every evaluation.
_VOLATILE = re.compile(
    r"""\b(?:(?P<call>now|random|rand|uuid|gen_random_uuid|uuidv4|uuidv7|uuid_generate_v[14]|clock_timestamp
        |statement_timestamp|transaction_timestamp|timeofday|nextval|currval|lastval|txid_current
        |pg_current_xact_id|get_current_timestamp|get_current_time|today)\s*\(
      |(?P<keyword>current_timestamp|current_date|current_time|localtimestamp|localtime)\b)""",
    re.IGNORECASE | re.VERBOSE,
)
_CLOCK = re.compile(
    r"(?:age|now|today|timeofday|(?:clock|statement|transaction|get_current)_timestamp|get_current_time)(?:\(\))?"
    r"|current_(?:timestamp|date|time)|localtime(?:stamp)?"
)
_CLOCK_LITERAL = re.compile(r"'\s*(?:now|today|tomorrow|yesterday)\b[^']*'", re.IGNORECASE)
# the type in front of a literal: timestamp 'now', date 'today'
_TYPED = re.compile(
    r"\b(?P<type>(?:timestamptz|timestamp|timetz|time|date)(?:\s*\(\d\))?(?:\s+with(?:out)?\s+time\s+zone)?)\s*$",
    re.IGNORECASE,
)
_LITERAL = re.compile(r"'(?:[^']|'')*'|\d+(?:\.\d+)?")
_RUN_VALUE = re.compile(r"/\* differs by run: (?P<name>[^*]+) \*/\s*")


_ZONED = "timestamp with time zone"
CLOCK_MARK = "/* clock */ "  # before a literal in place of what the clock showed to a build
_CLOCK_TYPES = {
    **dict.fromkeys(("now", "current_timestamp", "transaction_timestamp", "get_current_timestamp"), _ZONED),
    **dict.fromkeys(("statement_timestamp", "clock_timestamp"), _ZONED),
    **dict.fromkeys(("current_date", "today"), "date"),
    "localtimestamp": "timestamp",
}
_PRECISION = re.compile(r"[^(]*(?:\(\s*(?P<digits>\d?)\s*\)\s*)?")
_DAYS = {"today": 0, "tomorrow": 1, "yesterday": -1}
# the type after a literal: 'now'::date; after "as" it is one only inside cast()
_CAST_AFTER = re.compile(
    r"\s*(?P<by>::|as\b)\s*(?P<type>(?:date|timestamptz|timestamp)\b(?:\s+with(?:out)?\s+time\s+zone)?)", re.IGNORECASE
)
_INSIDE_CAST = re.compile(r"\bcast\s*\(\s*$", re.IGNORECASE)

# a LIMIT or a window's frame that is no number: EXPLAIN does not print these expressions
_BOUND = re.compile(
    r"\b(?:limit|offset|fetch\s+(?:first|next))\s+(?!\d+\b|all\b|null\b|rows?\b)|(?<!\d)(?<!unbounded)(?<!interval)\s+(?:preceding|following)\b",
    re.IGNORECASE,
)
_SAMPLE = re.compile(r"\b(?:tablesample|using\s+sample)\b", re.IGNORECASE)


@dataclass(frozen=True)
class RunValue:
    """A part of a text of SQL that differs between evaluations or builds: ``sql[start:end]``.

    ``name`` is how a report names it: "now()", "'yesterday'", "invocation_id". ``type`` is the one that a literal
    follows (``date 'today'``), ``function`` the name of the function that is called, where it is one.
    """

    start: int
    end: int
    name: str
    type: str | None = None
    function: str | None = None


def why_left_out(name: str) -> str:
    """Why a column is not compared that holds the run value of this name and nothing else."""
    clock = _CLOCK.fullmatch(name) or _CLOCK_LITERAL.fullmatch(name)
    return "build time" if clock else f"{name} differs at every build"


def marked_run_value(literal: str, name: str) -> str:
    """A literal that dbt renders to another one in every run, so that ``run_values`` finds it."""
    return f"/* differs by run: {name} */ {literal}"


def why_volatile(sql: str) -> str | None:
    """The first call in ``sql`` that makes it no function of its sources; None where there is none."""
    match = _VOLATILE.search(_blanked(sql))
    return _name(match["call"], match["keyword"]) if match is not None else None


def sampled(sql: str) -> str | None:
    """The clause by which ``sql`` reads random rows, for a report; None without one."""
    match = _SAMPLE.search(_blanked(sql))
    return " ".join(match[0].lower().split()) if match is not None else None


def computed_bound(sql: str) -> bool:
    """Whether ``sql`` has a LIMIT, an OFFSET or a bound of a window that is no plain number."""
    return _BOUND.search(" ".join(_blanked(sql).split())) is not None


def run_values(sql: str, functions: Collection[str] = ()) -> list[RunValue]:
    """What differs between evaluations in ``sql``, in order: calls of the clock and of ``functions``, literals that
    are the time, and literals that dbt renders to another text in every run (``marked_run_value``)."""
    found = [*_calls(sql, functions), *_clock_literals(sql), *_rendered(sql)]
    inner = -1
    outermost = []
    for value in sorted(found, key=lambda value: (value.start, -value.end)):
        if value.start >= inner:
            outermost.append(value)
            inner = value.end
    return outermost


def with_stand_ins(sql: str, values: Sequence[RunValue], stand_in: Callable[[int, RunValue], str]) -> str:
    """``sql`` with each of its run values replaced by what ``stand_in(place, value)`` yields."""
    pieces, start = [], 0
    for place, value in enumerate(values):
        pieces += [sql[start : value.start], stand_in(place, value)]
        start = value.end
    return "".join([*pieces, sql[start:]])


@dataclass(frozen=True)
class Instant:
    """One instant as the clock of a session shows it: ``zoned`` is aware, the others are in the session's time zone."""

    zoned: datetime
    local: datetime
    day: date

    def literal(self, kind: str) -> str:
        """What the clock gives as a value of this type: a date, or a timestamp with or without a time zone."""
        base = re.sub(r"\s*\(\d\)", "", kind.lower())
        if base == "date":
            return f"{CLOCK_MARK}cast('{self.day}' as date)"
        zoned = base == "timestamptz" or base.endswith("with time zone")
        return f"{CLOCK_MARK}cast('{(self.zoned if zoned else self.local).isoformat(' ')}' as {kind})"


def reads_clock(value: RunValue) -> bool:
    """Whether a run value is the time of the clock, in whatever form."""
    return bool(_CLOCK.fullmatch(value.name) or _CLOCK_LITERAL.fullmatch(value.name))


def at_instant(sql: str, value: RunValue, instant: Instant, ages: bool) -> str | None:
    """A value of the clock in ``sql`` as a literal, if the clock showed ``instant``; None where that is not known.

    ``ages``: whether ``age(x)`` is the age at midnight of the session's day, as on Postgres.
    """
    call = sql[value.start : value.end]
    if value.function is None:
        return _literal_at(sql, value, instant) if _CLOCK_LITERAL.fullmatch(value.name) else None
    if value.function == "age" and ages:
        return re.sub(r"\(", lambda _: f"({instant.literal('date')}, ", call, count=1)
    kind, precise = _CLOCK_TYPES.get(value.function), _PRECISION.fullmatch(call)
    if kind is None or precise is None:
        return None
    if precise["digits"]:
        kind = kind.replace("timestamp", f"timestamp({precise['digits']})")
    return instant.literal(kind)


def _literal_at(sql: str, value: RunValue, instant: Instant) -> str | None:
    """``'now'`` and the like where they are certainly read as a date or a timestamp."""
    after = _CAST_AFTER.match(sql, value.end)
    if after is not None and after["by"] != "::" and not _INSIDE_CAST.search(sql, 0, value.start):
        after = None
    kind = value.type or (after["type"] if after else None)
    word = value.name.strip("' ").lower()
    if kind is None or not kind.lower().startswith(("date", "timestamp")):
        return None
    if word in _DAYS:
        return f"{CLOCK_MARK}cast('{instant.day + timedelta(days=_DAYS[word])}' as {kind})"
    return instant.literal(kind) if word == "now" else None


def _calls(sql: str, functions: Collection[str]) -> Iterator[RunValue]:
    plain = _blanked(sql)
    for match in _VOLATILE.finditer(plain):
        end = _after_call(plain, match.end() - 1 if match["call"] else match.end())
        word = (match["call"] or match["keyword"]).lower()
        yield RunValue(_qualified(plain, match.start()), end, _name(match["call"], match["keyword"]), function=word)
    for match in re.finditer(r"\bage\s*\(", plain, re.IGNORECASE):
        end = _after_call(plain, match.end() - 1)
        if _arguments(sql[match.end() : end - 1]) == 1:  # of two times it is their difference
            yield RunValue(_qualified(plain, match.start()), end, "age()", function="age")
    if functions:
        names = "|".join(re.escape(name) for name in sorted(functions, key=len, reverse=True))
        for match in re.finditer(rf"(?<![\w$])({names})\s*\(", plain, re.IGNORECASE):
            name = match[1].lower()
            start, end = _qualified(plain, match.start()), _after_call(plain, match.end() - 1)
            yield RunValue(start, end, f"{name}()", function=name)


def _clock_literals(sql: str) -> Iterator[RunValue]:
    for match in LITERALS_AND_COMMENTS.finditer(sql):
        if _CLOCK_LITERAL.fullmatch(match[0]):
            typed = _TYPED.search(sql[: match.start()])
            start = typed.start("type") if typed else match.start()
            yield RunValue(start, match.end(), match[0], type=typed["type"] if typed else None)


def _rendered(sql: str) -> Iterator[RunValue]:
    for mark in _RUN_VALUE.finditer(sql):
        literal = _LITERAL.match(sql, mark.end())
        if literal is not None:
            typed = _TYPED.search(sql[: mark.start()])
            start = typed.start("type") if typed else mark.start()
            yield RunValue(start, literal.end(), mark["name"], type=typed["type"] if typed else None)


def _blanked(sql: str) -> str:
    """``sql`` with blanks in place of literals, comments and quoted names: the rest keeps its place."""
    return LITERALS_AND_COMMENTS.sub(lambda match: " " * len(match[0]), sql)


def _name(call: str | None, keyword: str | None) -> str:
    return f"{call.lower()}()" if call else str(keyword).lower()


def _qualified(plain: str, start: int) -> int:
    """Where the name at ``start`` begins with its schema: ``pg_catalog.now``."""
    schema = re.search(r"(?:\b\w+\s*\.\s*)+$", plain[:start])
    return schema.start() if schema else start


def _after_call(plain: str, start: int) -> int:
    """The end of the parentheses that open at ``start``; ``start`` where none does (``current_date``)."""
    opening = re.compile(r"\s*\(").match(plain, start)
    if opening is None:
        return start
    depth = 0
    for place in range(opening.end() - 1, len(plain)):
        depth += {"(": 1, ")": -1}.get(plain[place], 0)
        if depth == 0:
            return place + 1
    return len(plain)


def _arguments(inside: str) -> int:
    """How many arguments the parentheses of a call hold."""
    depth, commas, plain = 0, 0, LITERALS_AND_COMMENTS.sub("x", inside)
    for character in plain:
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(character, 0)
        commas += character == "," and depth == 0
    return commas + 1 if plain.strip() else 0


def without_stamps(sql: str, ignored: frozenset[str]) -> str:
    """``sql`` with null for every clock call that does nothing but fill an ignored column."""
    names = "|".join(re.escape(name) for name in sorted(ignored)) or "(?!)"
    call = r"(?:now\s*\(\s*\)|(?:current_timestamp|localtimestamp)(?:\s*\(\s*\))?)"
    call = rf"(?:{call}|/\* differs by run: [^*]+ \*/\s*(?:'(?:[^']|'')*'|\d+(?:\.\d+)?))"
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
