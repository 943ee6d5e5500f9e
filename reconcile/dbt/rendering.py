"""Render models as ``dbt run`` does, though ``dbt compile`` renders them, and find what differs from run to run."""

from __future__ import annotations

import datetime
import logging
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

from reconcile.dbt.session_settings import set_when_run
from reconcile.engines.identifiers import LITERALS_AND_COMMENTS
from reconcile.engines.volatility import marked_run_value

log = logging.getLogger("reconcile")
_LATER = datetime.timedelta(days=401, hours=1, minutes=1, seconds=1)
_TOKEN = re.compile(rf"{LITERALS_AND_COMMENTS.pattern}|\d+(?:\.\d+)?|[^\W\d]\w*|\S", re.DOTALL | re.VERBOSE)
_READS = re.compile(
    r"select|with|show|explain|describe|desc|pragma|values|from|table|set|begin|start|commit|rollback|use",
    re.IGNORECASE,
)
_WRITES = re.compile(r"\b(insert\s+into|update\s+\S+\s+set|delete\s+from|merge\s+into)\b", re.IGNORECASE)


Hooks = dict[str, list[str | None]]  # unique_id -> the text of each pre_hook of its model; None where it has none


@contextmanager
def hooks_rendered() -> Iterator[Hooks]:
    """Each pre_hook of the models that are compiled in the block, as their build renders it."""
    from dbt.task.compile import CompileRunner

    found: Hooks = {}
    compile_model = CompileRunner.compile

    def also_hooks(self: Any, manifest: Any) -> Any:
        node = compile_model(self, manifest)
        hooks = getattr(node.config, "pre_hook", None) or []
        found[node.unique_id] = [_rendered(hook.sql, node, self.config, manifest) for hook in hooks]
        return node

    with mock.patch.object(CompileRunner, "compile", also_hooks):
        yield found


def _rendered(text: str, node: Any, config: Any, manifest: Any) -> str | None:
    if not any(mark in text for mark in ("{{", "{%", "{#")):
        return text
    from dbt.clients.jinja import get_rendered
    from dbt.context.providers import generate_runtime_model_context

    try:
        return str(get_rendered(text, generate_runtime_model_context(node, config, manifest), node))
    except Exception as error:  # noqa: BLE001  of any macro
        log.info("a pre_hook of %s cannot be rendered: %s", node.name, error)
        return None


@contextmanager
def as_a_build(command: str = "run", another: bool = False) -> Iterator[None]:
    """For the time of the block, models are rendered with ``flags.WHICH`` as in a build.

    A statement that a macro runs meanwhile must read only and set nothing: another one is an error of that model. The
    error of one model stops no other one.
    ``another``: with the id, the start and the clock of another run, more than a year later.
    """
    from dbt import flags
    from dbt.adapters.sql.connections import SQLConnectionManager
    from dbt.context import base
    from dbt.task.compile import CompileTask

    def told() -> Any:
        found = flags.get_flag_obj()
        found.WHICH = command
        return found

    patches: dict[str, Any] = {"flags_module": SimpleNamespace(get_flag_obj=told)}
    if another:
        started = datetime.datetime.now(datetime.UTC) + _LATER
        later = SimpleNamespace(active_user=SimpleNamespace(run_started_at=started))
        clock = base.get_datetime_module_context() | {"datetime": _LaterTime, "date": _LaterDate}
        number = str(uuid.uuid4())
        patches |= {"tracking": later, "get_invocation_id": lambda: number}
        patches |= {"get_datetime_module_context": lambda: clock}
    reads_only = _reading(SQLConnectionManager.add_query)
    with (
        mock.patch.multiple(base, **patches),
        mock.patch.object(SQLConnectionManager, "add_query", reads_only),
        mock.patch.object(CompileTask, "raise_on_first_error", return_value=False),
    ):
        yield


def _reading(add_query: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(self: Any, sql: str, *args: Any, **more: Any) -> Any:
        plain = LITERALS_AND_COMMENTS.sub(" ", sql).strip(" \n\t(;")
        why = None
        if plain and (_WRITES.search(plain) or not _READS.fullmatch(plain.split()[0])):
            why = f"it runs a statement that writes while it is rendered ({' '.join(plain.split())[:60]})"
        elif (name := set_when_run(sql)) is not None:
            why = f"it sets {name} while it is rendered, which a check does not apply"
        if why is not None:
            from dbt_common.exceptions import DbtRuntimeError

            raise DbtRuntimeError(why)
        return add_query(self, sql, *args, **more)

    return guarded


class _LaterTime(datetime.datetime):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        return super().now(tz) + _LATER

    @classmethod
    def utcnow(cls) -> Any:
        return cls.now(datetime.UTC).replace(tzinfo=None)

    @classmethod
    def today(cls) -> Any:
        return cls.now()


class _LaterDate(datetime.date):
    @classmethod
    def today(cls) -> Any:
        return super().today() + _LATER


def marked_literals(sql: str, other: str, name: str) -> str | None:
    """``sql`` with each literal marked that is another one in ``other``; None if the two differ in anything else.

    ``name`` tells what decides these literals.
    """
    ours, theirs = _tokens(sql), _tokens(other)
    if len(ours) != len(theirs):
        return None
    pieces, start = [], 0
    for mine, other_one in zip(ours, theirs, strict=True):
        if mine[0] == other_one[0]:
            continue
        if not _is_literal(mine[0]) or not _is_literal(other_one[0]) or (mine[0][0] == "'") != (other_one[0][0] == "'"):
            return None
        pieces += [sql[start : mine.start()], marked_run_value(mine[0], name)]
        start = mine.end()
    return "".join([*pieces, sql[start:]])


def _tokens(sql: str) -> list[re.Match[str]]:
    return [token for token in _TOKEN.finditer(sql) if not token[0].startswith(("--", "/*"))]


def _is_literal(token: str) -> bool:
    return token[0] == "'" or token[0].isdigit()
