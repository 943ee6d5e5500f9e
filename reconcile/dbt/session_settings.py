"""What hooks and a sql_header give to the session of a model's build, read by a closed grammar.

A check runs nothing of a hook but what this grammar holds: a setting that changes the result of a SELECT and nothing
else, and (of a sql_header) a temporary function or macro. What may set up the session in another way is NotApplied.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from reconcile.engines.build_session import BuildSession
from reconcile.engines.identifiers import LITERALS_AND_COMMENTS

# What each adapter's sessions are given by a check. Others of DuckDB hold for all sessions of a file, or decide what
# our own statements mean.
_APPLIED = {
    "postgres": frozenset(
        [
            "timezone",
            "datestyle",
            "intervalstyle",
            "extra_float_digits",
            "search_path",
            "bytea_output",
            "lc_monetary",
            "lc_numeric",
            "lc_time",
            "default_text_search_config",
            "xmloption",
            "xmlbinary",
            "array_nulls",
        ]
    ),
    "duckdb": frozenset(("timezone", "calendar")),
}
# Settings that decide what a SELECT yields; lock_timeout, work_mem and their kind do not.
_NAMES = r"""time\s+zone|timezone|datestyle|intervalstyle|extra_float_digits|search_path|role|session\s+authorization
    |bytea_output|lc_\w+|default_text_search_config|xmloption|xmlbinary|array_nulls|transform_null_equals|names
    |standard_conforming_strings|timezone_abbreviations|row_security|client_encoding|calendar|default_null_order
    |null_order|default_order|default_collation|ieee_floating_point_ops|integer_division|old_implicit_casting
    |order_by_non_integer_literal|scalar_subquery_error_on_multiple_rows|schema|\w+\.\w+"""
_SETS = re.compile(
    rf"""\bset\s+(?:(?:session|local|global)\s+)?(?P<name>{_NAMES})\b
      | \b(?:reset|discard)\s+(?P<reset>{_NAMES}|all)\b
      | set_config\s*\(\s*'(?P<config>{_NAMES})'""",
    re.IGNORECASE | re.VERBOSE,
)
_FOR_ALL = re.compile(  # of DuckDB: without a scope some settings are those of the whole file
    rf"""\bset\s+(?:global\s+(?:{_NAMES})|default_null_order|null_order|default_order|default_collation
        |old_implicit_casting)\b""",
    re.IGNORECASE | re.VERBOSE,
)
_LITERAL = r"'(?:[^'\\]|'')*'"
_SCALAR = rf"(?:{_LITERAL}|-?\d+(?:\.\d+)?|[a-z_]\w*)"
_SCHEMA = rf"(?:{_LITERAL}|\"[^\"]+\"|[a-z_]\w*)"
_SET = re.compile(
    rf"""set\s+(?:(?P<scope>session|local|global)\s+)?
        (?:time\s+zone\s+(?P<zone>{_LITERAL}|default|local)
          |(?P<name>[a-z_]\w*(?:\.\w+)?)(?:\s*=\s*|\s+to\s+)(?P<value>{_SCHEMA}(?:\s*,\s*{_SCHEMA})*|{_SCALAR}))""",
    re.IGNORECASE | re.VERBOSE,
)
_CONFIG = rf"""(?:pg_catalog\s*\.\s*)?set_config\s*\(
    \s*(?P<name>{_LITERAL})\s*,\s*(?P<value>{_LITERAL})\s*,\s*(?P<local>true|false)\s*\)"""
_ONE_CONFIG = re.compile(rf"select\s+{_CONFIG}", re.IGNORECASE | re.VERBOSE)
_RESET = re.compile(r"reset\s+(?P<name>time\s+zone|[a-z_]\w*(?:\.\w+)?)", re.IGNORECASE)
_PART = re.compile(_SCHEMA, re.IGNORECASE)
_FUNCTION = {
    "postgres": re.compile(r"create\s+(?:or\s+replace\s+)?function\s+pg_temp\s*\.\s*\w+\s*\(.*", re.I | re.S),
    "duckdb": re.compile(
        r"create\s+(?:or\s+replace\s+)?temp(?:orary)?\s+(?:macro|function)\s+(?:if\s+not\s+exists\s+)?\w+\s*\(.*",
        re.I | re.S,
    ),
}
_TRANSACTION = re.compile(r"(?:begin|start|commit|rollback|abort|end|savepoint|release|prepare)\b", re.IGNORECASE)
_RUNS_CODE = re.compile(r"(?:do|call|execute|create)\b", re.IGNORECASE)
# what splits otherwise on the server than here
_UNSURE = re.compile(r"\be'|/\*(?:(?!\*/).)*/\*|\bu&['\"]", re.IGNORECASE | re.DOTALL)
_OURS = "reconcile."


class NotApplied(Exception):
    """What a check does not apply, as the end of a sentence: "sets role, which a check does not apply"."""


@dataclass(frozen=True)
class Hook:
    """A pre_hook as dbt renders it. ``transaction``: it runs inside that of the model."""

    sql: str
    transaction: bool


def sets_session(text: str) -> str | None:
    """A setting that a text may give to the session, by its words alone; None if it has none."""
    match = _SETS.search(text)
    if match is None:
        return None
    return " ".join((match["name"] or match["reset"] or match["config"]).split()).lower()


def set_when_run(sql: str) -> str | None:
    """A setting that running this SQL gives to the session; None if it sets none."""
    try:
        statements = statements_of(sql)
    except NotApplied:
        return sets_session(sql)
    for statement in statements:
        plain = _without_comments(statement)
        sets = re.match(r"(?:set|reset|discard)\b", plain, re.IGNORECASE) or "set_config" in plain.lower()
        if sets and (name := sets_session(plain)) is not None:
            return name
    return None


def sets_every_session(text: str) -> bool:
    """Whether a text sets what holds for all sessions of a DuckDB file."""
    return _FOR_ALL.search(text) is not None


def session_of(hooks: list[Hook], header: str | None, adapter: str) -> BuildSession:
    """What holds when dbt runs a model's SQL after these hooks and this sql_header. Raises NotApplied."""
    if adapter not in _APPLIED:
        for hook in hooks:
            if (name := sets_session(hook.sql)) is not None:
                raise NotApplied(f"sets {name}, which a check does not apply")
        if header:
            raise NotApplied("is not applied by a check")
        return BuildSession()
    found = _Found(adapter)
    for hook in sorted(hooks, key=lambda hook: hook.transaction):  # dbt runs the others first
        found.read_hook(hook)
    if found.settings and found.ends is not None:
        raise NotApplied(f"begins or ends a transaction ({found.ends}): which settings hold after it is not known")
    if header:
        found.read_header(header)
    return BuildSession(tuple(found.settings), tuple(found.functions))


class _Found:
    """What the statements so far have set up."""

    def __init__(self, adapter: str) -> None:
        self.adapter = adapter
        self.settings: list[tuple[str, str]] = []
        self.functions: list[str] = []
        self.ends: str | None = None  # a statement that begins or ends a transaction

    def read_hook(self, hook: Hook) -> None:
        try:
            statements = statements_of(hook.sql)
        except NotApplied:
            if sets_session(hook.sql) is None:
                return  # whatever it does, it sets nothing
            raise
        for statement in statements:
            plain = _without_comments(statement)
            if _TRANSACTION.match(plain):
                self.ends = plain[:40]
            elif re.match(r"(?:set|reset|discard|use)\b", plain, re.IGNORECASE) or "set_config" in plain.lower():
                self._set(plain, hook.transaction)
            elif _RUNS_CODE.match(plain) and (name := sets_session(statement)) is not None:
                raise NotApplied(f"may set {name} in code, which a check does not run")

    def read_header(self, header: str) -> None:
        if "{{" in header or "{%" in header:
            raise NotApplied("holds jinja that dbt does not render, and is not applied")
        for statement in statements_of(header):
            plain = _without_comments(statement)
            if self._is_function(plain):
                self.functions.append(plain)
            elif re.match(r"(?:set|reset)\b", plain, re.IGNORECASE) or _ONE_CONFIG.fullmatch(plain):
                if self.functions:
                    raise NotApplied(f"sets something after a function is created ({_shown(plain)}): set it before")
                self._set(plain, True)
            else:
                raise NotApplied(f"is more than settings and temporary functions ({_shown(plain)}), and is not applied")

    def _is_function(self, statement: str) -> bool:
        if not _FUNCTION[self.adapter].fullmatch(statement):
            return False
        if self.adapter == "duckdb":
            return True
        outside = LITERALS_AND_COMMENTS.sub(" ", statement)
        languages = re.findall(r"\blanguage\s+(\w*)", outside, re.IGNORECASE)
        if [language.lower() for language in languages] not in (["sql"], ["plpgsql"]):
            raise NotApplied("creates a function that is not in SQL or PL/pgSQL, and is not applied")
        if re.search(r"\bset\b|\bsecurity\b|\batomic\b", outside, re.IGNORECASE):
            raise NotApplied(f"creates a function with separate settings or rights ({_shown(statement)})")
        return True

    def _set(self, statement: str, in_transaction: bool) -> None:
        """Take one statement that sets something; those that change no result are passed over."""
        parsed = _parsed(statement)
        if parsed is None:
            name = sets_session(statement)
            if name is not None or not re.match(r"set\b", statement, re.IGNORECASE):
                known = name is None or name.replace(" ", "") in _APPLIED[self.adapter]
                how = f"in a way that is not applied ({_shown(statement)})" if known else "which a check does not apply"
                raise NotApplied(f"sets {name or 'the session'}{' ' if known else ', '}{how}")
            return
        name, value, scope = parsed
        if sets_session(f"set {name} = x") is None:
            return
        custom = "." in name and self.adapter == "postgres" and not name.startswith(_OURS)
        if name not in _APPLIED[self.adapter] and not custom:
            raise NotApplied(f"sets {name}, which a check does not apply")
        if scope == "global" or (scope == "local" and self.adapter == "duckdb"):
            raise NotApplied(f"sets {name} with {scope}, which a check does not apply")
        if scope == "local" and not in_transaction:
            raise NotApplied(f"sets {name} for a transaction and runs outside of one ({_shown(statement)})")
        if value is None and self.adapter == "duckdb":
            raise NotApplied(f"resets {name}, which a check does not apply")
        if name != "datestyle" or value is None:  # its parts are set one by one
            self.settings = [entry for entry in self.settings if entry[0] != name]
        if value is not None:
            self.settings.append((name, _value_of(name, value)))


def statements_of(text: str) -> list[str]:
    """The statements of a text, without their semicolons. Raises NotApplied where the text may be split otherwise."""
    if _UNSURE.search(text):
        raise NotApplied("holds an escape text or a comment in a comment, and is not taken apart")
    pieces, start = [], 0
    masked = LITERALS_AND_COMMENTS.sub(lambda match: "x" * len(match[0]), text)
    for end in [*(match.start() for match in re.finditer(";", masked)), len(text)]:
        pieces.append(text[start:end].strip())
        start = end + 1
    return [piece for piece in pieces if _without_comments(piece)]


def _without_comments(statement: str) -> str:
    """A statement without the comments outside its texts."""
    return LITERALS_AND_COMMENTS.sub(lambda m: " " if m[0].startswith(("--", "/*")) else m[0], statement).strip()


def _parsed(statement: str) -> tuple[str, str | None, str | None] | None:
    """Name, value (None: the session's default) and scope of a statement that sets; None if it is no plain one."""
    if (match := _SET.fullmatch(statement)) is not None:
        scope = match["scope"].lower() if match["scope"] else None
        value = match["zone"] or match["value"]
        default = value.lower() == "default" or (match["zone"] is not None and value.lower() == "local")
        return (match["name"] or "timezone").lower(), None if default else value, scope
    if (match := _ONE_CONFIG.fullmatch(statement)) is not None:
        name = match["name"][1:-1].lower()
        value = match["value"]
        if not re.fullmatch(r"[a-z_]\w*(?:\.\w+)?", name):
            return None
        if name == "search_path":
            value = value[1:-1].replace("''", "'")
            if not re.fullmatch(rf"\s*{_SCHEMA}(?:\s*,\s*{_SCHEMA})*\s*", value, re.IGNORECASE):
                return None
        return name, value, "local" if match["local"].lower() == "true" else None
    if (match := _RESET.fullmatch(statement)) is not None:
        name = " ".join(match["name"].lower().split())
        return None if name == "all" else (name.replace("time zone", "timezone"), None, None)
    return None


def _value_of(name: str, value: str) -> str:
    """The value as SQL, spelled one way: a list of quoted schemas, or one text."""
    parts = [_unquoted(part) for part in _PART.findall(value)] or [value]
    if name == "search_path":
        if any(part.lower() in ("pg_temp", "pg_catalog") for part in parts):
            raise NotApplied("moves pg_catalog or pg_temp in search_path, which a check does not apply")
        return ", ".join('"' + part.replace('"', '""') + '"' for part in parts)
    if len(parts) > 1 and name != "datestyle":
        raise NotApplied(f"sets {name} to a list, which a check does not apply")
    return "'" + ", ".join(parts).replace("'", "''") + "'"


def _unquoted(part: str) -> str:
    if part.startswith("'"):
        return part[1:-1].replace("''", "'")
    return part[1:-1] if part.startswith('"') else part.lower()


def _shown(statement: str) -> str:
    return " ".join(statement.split())[:60]


def only_in_literals(view: BuildSession, reader: BuildSession) -> bool:
    """Whether two sessions differ in nothing that the creation of a view of Postgres keeps, but the values of literals
    with a digit (see ``reads_by_settings``). Whatever else it calls is evaluated in the session of its reader."""
    names = {*view.names, *reader.names}
    return not view.functions and not names & {"search_path", "array_nulls", "xmloption"}


def reads_by_settings(sql: str) -> bool:
    """Whether SQL has a literal whose meaning a setting may decide: a time, a date, an interval."""
    return any(
        re.search(r"\d", match[0]) is not None
        for match in LITERALS_AND_COMMENTS.finditer(sql)
        if match[0].startswith(("'", "$"))
    )
