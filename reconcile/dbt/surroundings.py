"""What decides a model's rows beside its compiled SQL: hooks, a sql_header, session settings.

``dbt compile`` runs no hook. If one can change the rows, the compiled SQL is not what a build stores, and the model
must not be judged. The text of hooks and macros is searched before rendering, so a write that a condition prevents
counts too: the answer may be too careful, never too bold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_TARGET = r"(?:only\s+)?(?P<target>(?:\{\{.*?\}\}|[\w.$\"`])+)"
_WRITES = re.compile(
    rf"""\b(?:insert\s+into|insert\s+overwrite|delete\s+from|merge\s+into|truncate(?:\s+table)?|copy)\s+{_TARGET}
      | \bupdate\s+{_TARGET.replace("target", "updated")}\s+(?:as\s+)?(?:\w+\s+)?set\b""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
_RUNS_CODE = re.compile(r"\bcall\s+[\w.]+\s*\(|\bdo\s+\$|\bexecute\s+\w", re.IGNORECASE)  # it may write to anything
_COMMENTS = re.compile(r"\{#.*?#\}|/\*.*?\*/|--[^\n]*", re.DOTALL)
# session settings that change what a SELECT yields; lock_timeout, work_mem and their kind do not
_SESSION = re.compile(
    r"""\bset\s+(?:session\s+|local\s+)?(?P<name>time\s+zone|timezone|datestyle|intervalstyle|extra_float_digits|search_path
        |role|session\s+authorization|bytea_output|lc_\w+|default_text_search_config|xmloption|array_nulls|\w+\.\w+)\b
      | set_config\s*\(\s*'(?P<config>timezone|datestyle|intervalstyle|extra_float_digits|search_path|\w+\.\w+)'""",
    re.IGNORECASE | re.VERBOSE,
)
_DIFFERS = re.compile(
    r"\b(invocation_id|invocation_args_dict|dbt_metadata_envs|thread_id|run_started_at|modules\s*\.\s*(?:datetime|pytz)|flags\s*\.\s*WHICH|flags\s*\[\s*['\"]WHICH)",
    re.IGNORECASE,
)
_CALL = re.compile(r"\b(?:(?P<package>\w+)\s*\.\s*)?(?P<name>\w+)\s*\(")
_JINJA = re.compile(r"\{\{.*?\}\}|\{%.*?%\}", re.DOTALL)
_DBTS_OWN = ("dbt", "dbt_postgres", "dbt_duckdb", "dbt_spark")


@dataclass(frozen=True)
class _Write:
    """A statement of a hook that changes rows: ``name`` of its table, "this", or None if the text does not say."""

    name: str | None
    package: str


def why_not_as_compiled(node: Any, above: Mapping[str, Any], manifest: Any, root: Path) -> str | None:
    """Why the rows of ``node`` may differ from its compiled SQL, with file and line; None if nothing suggests it.

    ``above``: unique_id -> node, of the model itself and of every model whose SQL becomes part of its definition.
    """
    for part in above.values():
        whose = "its" if part.unique_id == node.unique_id else f"the upstream model {part.name}: its"
        if part.config.get("sql_header"):
            return f"{whose} sql_header is not applied by a check ({_place(part, root, 'sql_header')})"
        if part.config.get("incremental_strategy") == "merge" and part.config.get("merge_update_columns"):
            place = _place(part, root, "merge_update_columns")
            return f"{whose} merge_update_columns keep the first value of every other column ({place})"
        for hook in part.config.get("pre_hook") or part.config.get("pre-hook") or []:
            setting = _setting(hook.sql, manifest)
            if setting is not None:
                return f"{whose} pre_hook sets {setting}, which a check does not apply ({_place(part, root, 'pre')})"
        for kind, writes in _hook_writes(part, manifest):
            if any(write.name in (None, "this", part.name, _identifier(part)) for write in writes):
                return f"{whose} {kind} may change its rows after they are built ({_place(part, root, kind[:4])})"
    return _written_elsewhere(above, manifest)


def run_words(node: Any, manifest: Any) -> dict[str, str]:
    """What a model's jinja reads that differs from run to run ("invocation_id"), each with a file that does so.

    Also flags.WHICH, which differs between dbt's commands.
    """
    found: dict[str, str] = {}
    for text, path in _texts_of(node, manifest):
        for match in _DIFFERS.finditer(text):
            found.setdefault(re.sub(r"\s+|[\['\"]", "", match[1]), path)
    return found


def _written_elsewhere(above: Mapping[str, Any], manifest: Any) -> str | None:
    """A hook of another model, or of the whole run, that writes to one of the models ``above``."""
    # a ref names the model, and of a version the model without it; a statement may name the table
    names = {name: part for part in above.values() for name in (part.name.lower(), _identifier(part))}
    for other in manifest.nodes.values():
        if other.resource_type == "model" and other.unique_id not in above:
            for kind, writes in _hook_writes(other, manifest):
                for write in writes:
                    if write.name in names:
                        return f"the {kind} of {other.name} writes to {write.name} ({other.original_file_path})"
        elif other.resource_type == "operation" and "on-run-end" in other.tags:  # on-run-start runs before a refresh
            for write in _writes(other.raw_code, other.package_name, manifest):
                hit = names.get(write.name or "")
                if hit is None and write.name is None:
                    hit = next((part for part in above.values() if part.package_name == write.package), None)
                if hit is not None:
                    return f"the hook {other.name} of the run may write to {hit.name} ({other.original_file_path})"
    return None


def _hook_writes(node: Any, manifest: Any) -> Iterator[tuple[str, list[_Write]]]:
    for kind in ("pre_hook", "post_hook"):
        hooks = node.config.get(kind) or node.config.get(kind.replace("_", "-")) or []
        found = [write for hook in hooks for write in _writes(hook.sql, node.package_name, manifest)]
        if kind == "pre_hook":  # a full refresh replaces what it does to the model's own table
            found = [write for write in found if write.name not in (None, "this", node.name, _identifier(node))]
        if found:
            yield kind, found


def _writes(text: str, package: str, manifest: Any) -> list[_Write]:
    """The tables that a hook's text, and the macros that it calls, may write to."""
    found = []
    for part, where in [(text, package), *_macros_called(text, manifest)]:
        text = _COMMENTS.sub(" ", part)
        found += [_Write(_named(match["target"] or match["updated"]), where) for match in _WRITES.finditer(text)]
        if _RUNS_CODE.search(_JINJA.sub(" ", text)):  # in jinja, execute is a variable and call a tag
            found.append(_Write(None, where))
    return found


def _named(target: str) -> str | None:
    """The table that a target names: "this", an identifier, or None for an expression."""
    last = target.rpartition(".")[2] if not target.endswith("}}") else target
    if not last.startswith("{{"):
        return last.strip('"`').lower() or None
    inside = last.strip("{} -")
    if inside == "this":
        return "this"
    reference = re.fullmatch(r"ref\(\s*(?:['\"]\w+['\"]\s*,\s*)?['\"](\w+)['\"].*\)", inside)
    source = re.fullmatch(r"source\(\s*['\"]\w+['\"]\s*,\s*['\"](\w+)['\"]\s*\)", inside)
    match = reference or source
    return match[1].lower() if match else None


def _setting(text: str, manifest: Any) -> str | None:
    for part, _ in [(text, ""), *_macros_called(text, manifest)]:
        match = _SESSION.search(_COMMENTS.sub(" ", part))
        if match is not None:
            return " ".join((match["name"] or match["config"]).split()).lower()
    return None


def _texts_of(node: Any, manifest: Any) -> Iterator[tuple[str, str]]:
    """The jinja of a model and of every macro that it depends on, dbt's own excepted, with the file of each."""
    for tag in _JINJA.findall(_COMMENTS.sub(" ", node.raw_code)):
        yield tag, node.original_file_path
    waiting, seen = list(node.depends_on.macros), set[str]()
    while waiting:
        unique_id = waiting.pop()
        macro = manifest.macros.get(unique_id)
        if macro is None or unique_id in seen or macro.package_name in _DBTS_OWN:
            continue
        seen.add(unique_id)
        waiting.extend(macro.depends_on.macros)
        for tag in _JINJA.findall(_COMMENTS.sub(" ", macro.macro_sql)):
            yield tag, macro.original_file_path


def _macros_called(text: str, manifest: Any) -> Iterator[tuple[str, str]]:
    """The text and package of every macro that the jinja of ``text`` calls, and of those that these depend on."""
    names = {match["name"] for tag in _JINJA.findall(text) for match in _CALL.finditer(tag)}
    waiting = [
        unique_id
        for unique_id, macro in manifest.macros.items()
        if macro.package_name not in _DBTS_OWN and re.sub(r"^\w+?__", "", macro.name) in names | {macro.name} & names
    ]
    seen = set[str]()
    while waiting:
        unique_id = waiting.pop()
        macro = manifest.macros.get(unique_id)
        if macro is None or unique_id in seen or macro.package_name in _DBTS_OWN:
            continue
        seen.add(unique_id)
        waiting.extend(macro.depends_on.macros)
        yield macro.macro_sql, macro.package_name


def _identifier(node: Any) -> str:
    return str(node.alias or node.name).lower()


def _place(node: Any, root: Path, word: str) -> str:
    """The model's file, with the line that holds ``word`` if one does."""
    try:
        lines = (root / node.original_file_path).read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    line = next((number for number, text in enumerate(lines, 1) if word in text), None)
    return f"{node.original_file_path}:{line}" if line else str(node.original_file_path)
