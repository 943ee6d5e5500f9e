"""How Postgres spells values: as texts, as literals, inside JSON."""

from __future__ import annotations

from collections.abc import Sequence

from reconcile.engines.base import Column
from reconcile.engines.defaults import OwnDialect


class PostgresSpelling(OwnDialect):
    """The part of the engine that asks the database nothing."""

    def losses(self) -> list[str]:
        return []  # there is one server, and without it no verdict

    def as_text(self, expression: str) -> str:
        return f"({expression})::text"

    def common_text(self, expression: str, column: Column) -> str:
        if column.type == "numeric":
            return f"cast(trim_scale({expression}) as varchar)"
        if column.base == "bpchar":  # a cast would cut the blanks with which it travels
            return f"case when {expression} is not null then format('%s', {expression}) end"
        return f"cast({expression} as varchar)"

    def hex_number(self, digest: str, digits: int) -> str:
        return f"cast(cast('x' || substr({digest}, 1, {digits}) as bit({4 * digits})) as bigint)"

    def literal(self, value: str | None) -> str:
        return "null" if value is None else text_literal(value)

    def typed(self, expression: str, column: Column) -> str:
        return f"cast({expression} as {column.unbounded})"

    def json_of(self, texts: Sequence[tuple[str, str]]) -> str:
        names = ", ".join(text_literal(name) for name, _ in texts)
        return f"json_object(array[{names}], array[{', '.join(text for _, text in texts)}])::text"

    def json_field(self, expression: str, name: str) -> str:
        return f"({expression}::json ->> {text_literal(name)})"


def text_literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
