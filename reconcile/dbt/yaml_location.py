"""Where a model is declared: the yml file and the line that names it, for annotations that open at the right place."""

from __future__ import annotations

from pathlib import Path

import yaml

from reconcile.report.model import Declared


def find_declared(root: Path, path: str | None, name: str) -> Declared | None:
    """The line of ``path`` (from the project's root) that names model ``name``; None where there is none."""
    if path is None:
        return None
    try:
        document = yaml.compose((root / path).read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, yaml.YAMLError):
        return None
    for entry in _items(_value(document, "models")):
        named = _value(entry, "name")
        if isinstance(named, yaml.ScalarNode) and named.value == name:
            return Declared(path, named.start_mark.line + 1)
    return None


def _value(node: yaml.Node | None, key: str) -> yaml.Node | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)


def _items(node: yaml.Node | None) -> list[yaml.Node]:
    return node.value if isinstance(node, yaml.SequenceNode) else []
