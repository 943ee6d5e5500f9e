"""The JSON schemas are what the dataclasses say, and every reader of a published version can go on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.conftest import ROOT
from tests.support import reports
from tools.schemas import schemas

PUBLISHED = Path(__file__).with_name("published")
NAMES = ("report.schema.json", "plan.schema.json")


def plain(schema: Any, definitions: dict[str, Any]) -> Any:
    """A schema without references and texts, and with one spelling for what may be null."""
    if not isinstance(schema, dict):
        return schema
    schema = dict(schema)
    if "$ref" in schema:
        schema = {**definitions[schema.pop("$ref").rpartition("/")[2]], **schema}
    for name in ("$schema", "$defs", "title", "description"):
        schema.pop(name, None)
    if "anyOf" in schema:
        only, null = (plain(part, definitions) for part in schema.pop("anyOf"))
        assert null == {"type": "null"}
        schema = {**only, **schema, "type": [only["type"], "null"]}
    if "const" in schema or "enum" in schema:
        schema = {name: part for name, part in schema.items() if name not in ("type", "minimum")}
    for name in ("items", "additionalProperties"):
        if name in schema:
            schema[name] = plain(schema[name], definitions)
    if "properties" in schema:
        schema["properties"] = {name: plain(part, definitions) for name, part in schema["properties"].items()}
    return {name: sorted(part) if name in ("enum", "required") else part for name, part in schema.items()}


def changes(published: Any, now: Any, place: str = "") -> Iterator[str]:
    """What a reader of the published schema could trip over: anything but a new property that is not required."""
    if not (isinstance(published, dict) and isinstance(now, dict)):
        if published != now:
            yield f"{place}: {published} -> {now}"
        return
    for name in sorted({*published, *now}):
        if name in published and name in now:
            yield from changes(published[name], now[name], f"{place}/{name}")
        elif name in published or not place.endswith("/properties"):
            yield f"{place}/{name}: {published.get(name)} -> {now.get(name)}"


@pytest.mark.parametrize("name", NAMES)
def test_the_schemas_are_generated_from_the_dataclasses(name: str) -> None:
    written = (ROOT / "reconcile" / "schemas" / name).read_text()
    assert written == schemas()[name], "run: uv run tools/schemas.py"


@pytest.mark.parametrize("name", NAMES)
def test_a_published_schema_keeps_its_meaning(name: str) -> None:
    published, now = json.loads((PUBLISHED / name).read_text()), json.loads(schemas()[name])

    found = changes(plain(published, published.get("$defs", {})), plain(now, now["$defs"]))
    assert list(found) == []


def test_a_required_property_and_another_type_are_changes() -> None:
    before = {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}
    after = {"type": "object", "required": ["a", "b"], "properties": {"a": {"type": "integer"}, "b": {}}}
    assert list(changes(before, after)) == ["/properties/a/type: string -> integer", "/required: ['a'] -> ['a', 'b']"]
    assert list(changes(before, {**before, "properties": {**before["properties"], "b": {}}})) == []


def test_a_report_is_valid_under_the_published_schema_too() -> None:
    body = reports.report().as_dict()
    for schema in (json.loads((PUBLISHED / NAMES[0]).read_text()), json.loads(schemas()[NAMES[0]])):
        jsonschema.validate(body, schema)
