"""Add one setting to a user's yml file as text: comments, quotes and layout stay.

Every edit is proven: the parsed text differs from the parsed text before by exactly the setting, or there is no edit.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

_PLAIN = re.compile(r"[A-Za-z_+][\w+-]*")
_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n"})  # YAML 1.1 reads them as values


class NotEditable(Exception):
    """The text cannot be edited safely; the message says why."""


@dataclass(frozen=True)
class Entry:
    """One mapping of a list: the one in which ``key`` has this value."""

    key: str
    value: str


Step = str | Entry


def with_setting(text: str, steps: Sequence[Step], values: Sequence[str]) -> str:
    """``text`` with ``values`` in the list at ``steps``: the keys of mappings, and entries of lists, from the root.

    Values that the list has already are kept. Raises NotEditable.
    """
    try:
        before = yaml.safe_load(text)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        after = _inserted(text, root, steps, values)
        found = yaml.safe_load(after)
    except yaml.YAMLError as error:
        raise NotEditable(f"it cannot be parsed ({' '.join(str(error).split())[:120]})") from error
    if found != _with(_unshared(before) if before is not None else {}, steps, values):
        raise NotEditable("the edited text would not differ by this setting alone")
    return after


def has_path(text: str, steps: Sequence[Step]) -> bool:
    """Whether there is a value at ``steps``; False where the text cannot be parsed."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return False
    for step in steps:
        value = _child(value, step)
        if value is None:
            return False
    return True


def flow(value: object) -> str:
    """A value of texts, lists and dictionaries on one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{flow(key)}: {flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(flow, value)) + "]"
    word = str(value)
    plain = _PLAIN.fullmatch(word) and word.lower() not in _WORDS
    return word if plain else word if word.isdigit() else json.dumps(word, ensure_ascii=False)


def nested(steps: Sequence[Step], values: Sequence[str]) -> Any:
    """What is written below the last place that exists."""
    inner: Any = list(values)
    for step in reversed(steps):
        inner = {step: inner} if isinstance(step, str) else [{step.key: step.value, **inner}]
    return inner


def _child(value: Any, step: Step) -> Any:
    if isinstance(step, str):
        return value.get(step) if isinstance(value, dict) else None
    entries = value if isinstance(value, list) else []
    return next((e for e in entries if isinstance(e, dict) and str(e.get(step.key)) == step.value), None)


def _with(value: Any, steps: Sequence[Step], values: Sequence[str]) -> Any:
    """What ``value`` should be after the edit. An entry of a list has to exist."""
    if not steps:
        kept = [value] if isinstance(value, str) else list(value or [])
        return kept + [name for name in values if name not in kept]
    step, rest = steps[0], steps[1:]
    if isinstance(step, str):
        of = dict(value or {})
        return {**of, step: _with(of.get(step), rest, values)}
    entry = _child(value, step)
    if entry is None:
        return [*(value or []), *nested([step, *rest], values)]
    return [_with(e, rest, values) if e is entry else e for e in value]


def _unshared(value: Any) -> Any:
    """A copy in which no two places are one object, as YAML's aliases are."""
    if isinstance(value, dict):
        return {key: _unshared(inner) for key, inner in value.items()}
    return [_unshared(inner) for inner in value] if isinstance(value, list) else value


def _inserted(text: str, root: yaml.Node | None, steps: Sequence[Step], values: Sequence[str]) -> str:
    if root is None:
        raise NotEditable("it is empty")
    node, place = root, 0
    while place < len(steps):
        found = _node_at(node, steps[place])
        if found is None:
            break
        node, place = found, place + 1
    rest = steps[place:]
    if not rest:
        return _in_list(text, node, values)
    if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null":
        at = node.start_mark.index
        if isinstance(rest[0], Entry) and not text[at:].strip():
            return _new_entry(text, 2, rest, values)
        return text[:at] + " " + flow(nested(rest, values)) + text[node.end_mark.index :]
    if isinstance(node, yaml.SequenceNode) and isinstance(rest[0], Entry) and not node.flow_style:
        return _new_entry(text, node.start_mark.column, rest, values)
    if not isinstance(node, yaml.MappingNode) or not isinstance(rest[0], str):
        raise NotEditable("its structure is not the one of dbt's property files")
    return _in_mapping(text, node, rest[0], flow(nested(rest[1:], values)), at_root=node is root)


def _node_at(node: yaml.Node, step: Step) -> yaml.Node | None:
    if isinstance(step, str):
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        return next((value for key, value in pairs if key.value == step), None)
    for entry in node.value if isinstance(node, yaml.SequenceNode) else []:
        named = _node_at(entry, step.key)
        if isinstance(named, yaml.ScalarNode) and named.value == step.value:
            return entry  # type: ignore[no-any-return]
    return None


def _in_list(text: str, node: yaml.Node, values: Sequence[str]) -> str:
    """Add to a list that exists; one name alone becomes a list."""
    start, end = node.start_mark.index, node.end_mark.index
    if isinstance(node, yaml.ScalarNode):
        return text[:start] + flow([node.value, *(v for v in values if v != node.value)]) + text[end:]
    if not isinstance(node, yaml.SequenceNode) or not all(isinstance(e, yaml.ScalarNode) for e in node.value):
        raise NotEditable("the setting exists and is no list of names")
    new = [flow(value) for value in values if value not in {entry.value for entry in node.value}]
    if node.flow_style:
        return (
            text[: end - 1]
            + "".join(f", {name}" if node.value or i else name for i, name in enumerate(new))
            + "]"
            + text[end:]
        )
    return _after_line(text, node.value[-1], node.start_mark.column, "".join(f"- {name}\n" for name in new))


def _in_mapping(text: str, node: yaml.MappingNode, key: str, value: str, at_root: bool) -> str:
    line = f"{flow(key)}: {value}"
    if node.flow_style:
        at = node.end_mark.index - 1
        return text[:at].rstrip(" ") + (", " if node.value else "") + line + text[at:]
    if at_root:
        return text + ("" if text.endswith("\n") else _newline(text)) + line + _newline(text)
    for _, inner in node.value:
        if inner.start_mark.line == inner.end_mark.line and inner.start_mark.index < inner.end_mark.index:
            return _after_line(text, inner, node.start_mark.column, line + "\n")
    for beside, _ in node.value:
        start = text.rfind("\n", 0, beside.start_mark.index) + 1
        if not text[start : beside.start_mark.index].strip():
            at = _above_comments(text, start)
            return text[:at] + " " * node.start_mark.column + line + _newline(text) + text[at:]
    raise NotEditable("no key beside it begins a line or has its value on one line")


def _above_comments(text: str, start: int) -> int:
    """Where the comment lines begin that are just above the line that begins at ``start``."""
    while start > 0:
        above = text.rfind("\n", 0, start - 1) + 1
        if not text[above:start].lstrip().startswith("#"):
            break
        start = above
    return start


def _new_entry(text: str, column: int, rest: Sequence[Step], values: Sequence[str]) -> str:
    """A new mapping at the end of a list that the file ends with."""
    entry = rest[0]
    assert isinstance(entry, Entry)
    pad, end = " " * column, _newline(text)
    inner = nested(rest[1:], values)
    lines = [f"- {entry.key}: {flow(entry.value)}", *(f"  {flow(key)}: {flow(value)}" for key, value in inner.items())]
    return text + ("" if text.endswith("\n") else end) + "".join(pad + line + end for line in lines)


def _after_line(text: str, node: yaml.Node, column: int, lines: str) -> str:
    """``lines``, each indented to ``column``, after the line on which a node ends."""
    end = _newline(text)
    at = text.find("\n", node.end_mark.index)
    head = text + end if at < 0 else text[: at + 1]
    added = "".join(" " * column + line + end for line in lines.splitlines())
    return head + added + ("" if at < 0 else text[at + 1 :])


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"
