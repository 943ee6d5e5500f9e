"""An HTTP answer of the local site, and the query of a request."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

Query = dict[str, list[str]]


@dataclass(frozen=True)
class HttpAnswer:
    """An HTTP answer; ``trouble`` is what happens to it on the way: slow, hang or half_body."""

    code: int
    kind: str
    body: str
    headers: dict[str, str] = field(default_factory=dict)
    trouble: str | None = None


def first(query: Query, name: str, default: str = "") -> str:
    return query[name][0] if name in query else default


def as_json(body: object, code: int = 200) -> HttpAnswer:
    return HttpAnswer(code, "application/json", json.dumps(body))
