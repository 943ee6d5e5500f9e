"""What decides a model's rows beside its compiled SQL: hooks, a sql_header, session settings.

``dbt compile`` runs no hook. If one can change the rows, the compiled SQL is not what a build stores, and the model
must not be judged. Settings and temporary functions are applied by a check instead (``session_settings``). The text of
hooks and macros is searched before rendering, so a write that a condition prevents counts too: the answer may be too
careful, never too bold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconcile.dbt.session_settings import (
    Hook,
    NotApplied,
    only_in_literals,
    reads_by_settings,
    session_of,
    sets_every_session,
    sets_session,
)
from reconcile.engines.build_session import BuildSession
from reconcile.state.schema import BUILD

_TARGET = r"(?:only\s+)?(?P<target>(?:\{\{.*?\}\}|[\w.$\"`])+)"
_WRITES = re.compile(
    rf"""\b(?:insert\s+into|insert\s+overwrite|delete\s+from|merge\s+into|truncate(?:\s+table)?|copy)\s+{_TARGET}
      | \bupdate\s+{_TARGET.replace("target", "updated")}\s+(?:as\s+)?(?:\w+\s+)?set\b""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
_RUNS_CODE = re.compile(r"\bcall\s+[\w.]+\s*\(|\bdo\s+\$|\bexecute\s+\w", re.IGNORECASE)  # it may write to anything
_COMMENTS = re.compile(r"\{#.*?#\}|/\*.*?\*/|--[^\n]*", re.DOTALL)
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
        if part.config.get("incremental_strategy") == "merge" and part.config.get("merge_update_columns"):
            place = _place(part, root, "merge_update_columns")
            return f"{whose} merge_update_columns keep the first value of every other column ({place})"
        for kind, writes in _hook_writes(part, manifest):
            if any(write.name in (None, "this", part.name, _identifier(part)) for write in writes):
                return f"{whose} {kind} may change its rows after they are built ({_place(part, root, kind[:4])})"
    return _written_elsewhere(above, manifest)


@dataclass(frozen=True)
class Compiled:
    """What dbt rendered: the text of each pre_hook (None where it could not) and the SQL, by unique_id."""

    hooks: Mapping[str, list[str | None]]
    sql: Mapping[str, str]


class UnknownSession(Exception):
    """The session of a model's build is not one that a check can set up, and why."""


def build_session(node: Any, above: Mapping[str, Any], compiled: Compiled, manifest: Any, root: Path) -> BuildSession:
    """What holds in the session in which dbt builds ``node``, and every model whose SQL becomes part of its definition.

    dbt closes the connection after each model, so what one sets does not reach another; a statement that sets
    something for every session of a DuckDB file does. Raises UnknownSession.
    """
    adapter = manifest.metadata.adapter_type
    if adapter == "duckdb" and (culprit := _sets_every_session(manifest)) is not None:
        raise UnknownSession(culprit)
    own = _session_of(node, compiled, manifest, root)
    for part in above.values():
        if part.unique_id == node.unique_id or part.config.materialized == "ephemeral":
            continue  # dbt runs no hook of an ephemeral model
        other = _session_of(part, compiled, manifest, root, f"the upstream model {part.name}: ")
        if not _serves(other, own, part, compiled, adapter):
            what = ", ".join(dict.fromkeys([*other.names, *own.names])) or "temporary functions"
            raise UnknownSession(
                f"the upstream model {part.name} is built in another session than {node.name}: their hooks and "
                f"sql_headers differ in what they set ({what}; {_place_of_session(part, node, other, root)}); "
                "--upstream shallow reads its table instead"
            )
    return own


def _serves(other: BuildSession, own: BuildSession, part: Any, compiled: Compiled, adapter: str) -> bool:
    """Whether the SQL of an upstream model means in the session ``own`` what it means to those who read the model."""
    if other == own:
        return True
    if part.config.materialized != "view":
        return False
    if adapter == "duckdb":  # it keeps the text of a view, and reads it in the session that selects from it
        return set(other.functions) <= set(own.functions)
    return only_in_literals(other, own) and not reads_by_settings(compiled.sql.get(part.unique_id, "'0'"))


def _session_of(node: Any, compiled: Compiled, manifest: Any, root: Path, whose: str = "") -> BuildSession:
    adapter = manifest.metadata.adapter_type
    header = node.config.get("sql_header")
    place = _place(node, root, "pre_hook", "pre-hook")
    hooks = []
    texts = compiled.hooks.get(node.unique_id, [])
    for number, hook in enumerate(node.config.pre_hook or []):
        text = texts[number] if number < len(texts) else None
        named = _set_by_words(hook.sql, manifest)
        if named is not None and (word := _run_word(hook.sql, manifest)) is not None:
            raise UnknownSession(
                f"{whose}its pre_hook sets {named} and reads {word}, which differs in every run ({place})"
            )
        if text is None and named is not None:
            raise UnknownSession(f"{whose}its pre_hook sets {named}, and dbt cannot render it here ({place})")
        hooks.append(Hook(text or "", hook.transaction))
    try:
        found = session_of(hooks, None, adapter)
    except NotApplied as why:
        raise UnknownSession(f"{whose}its pre_hook {why} ({place})") from why
    if found and node.config.get("incremental_strategy") == "microbatch":
        raise UnknownSession(
            f"{whose}its pre_hook sets {found.names[0]}, and dbt runs it before the first batch only ({place})"
        )
    if not header:
        return found
    place = _place(node, root, "sql_header")
    if words := run_words(node, manifest):
        word = next(iter(words))
        raise UnknownSession(f"{whose}its sql_header may differ in every run, because the model reads {word} ({place})")
    try:
        return session_of(hooks, header, adapter)
    except NotApplied as why:
        raise UnknownSession(f"{whose}its sql_header {why} ({place})") from why


def _sets_every_session(manifest: Any) -> str | None:
    for node in manifest.nodes.values():
        kinds = ("pre_hook", "post_hook")  # a test has none
        hooks = [hook for kind in kinds for hook in getattr(node.config, kind, None) or ()]
        texts = [hook.sql for hook in hooks] + [node.config.get("sql_header") or ""]
        if node.resource_type == "operation":
            texts.append(node.raw_code)
        for text in texts:
            for part, _ in [(text, ""), *_macros_called(text, manifest)]:
                if sets_every_session(_COMMENTS.sub(" ", part)):
                    place = node.original_file_path
                    return f"a hook of {node.name} sets something for every session of the file ({place})"
    return None


def _set_by_words(text: str, manifest: Any) -> str | None:
    """A setting that a hook may set, by its text and that of the macros that it calls."""
    parts = (_COMMENTS.sub(" ", part) for part, _ in [(text, ""), *_macros_called(text, manifest)])
    return next((name for part in parts if (name := sets_session(part)) is not None), None)


def _run_word(text: str, manifest: Any) -> str | None:
    """What differs from run to run and is read by the jinja of a hook, or of the macros that it calls."""
    for part, _ in [(text, ""), *_macros_called(text, manifest)]:
        for tag in _JINJA.findall(_COMMENTS.sub(" ", part)):
            if (match := _DIFFERS.search(tag)) is not None:
                return match[0]
    return None


def _place_of_session(part: Any, node: Any, other: BuildSession, root: Path) -> str:
    return _place(part if other else node, root, "sql_header", "pre_hook", "pre-hook")


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
        targets = [match["target"] or match["updated"] for match in _WRITES.finditer(text)]
        found += [_Write(_named(target), where) for target in targets if target.lower() != BUILD]
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


def _place(node: Any, root: Path, *words: str) -> str:
    """The file and line that hold one of ``words``: the model's, its yml file or dbt_project.yml; else its file."""
    declared = node.patch_path.partition("://")[2] if node.patch_path else None
    for path in (node.original_file_path, declared, "dbt_project.yml"):
        lines: list[str] = []
        if path is not None:
            with suppress(OSError):
                lines = (root / path).read_text(encoding="utf-8").splitlines()
        for number, text in enumerate(lines, 1):
            if any(word in text for word in words):
                return f"{path}:{number}"
    return str(node.original_file_path)
