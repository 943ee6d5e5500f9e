"""What Spark's own pages tell of its workers, which Spark Connect does not: the REST API beside the driver's UI.

https://spark.apache.org/docs/latest/monitoring.html#rest-api; Sail has no such pages.
"""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass
from typing import Any

_ANSWERS_WITHIN = 10.0  # seconds: the first answer of a busy driver takes several
_PORT = "4040"
_silent: set[str] = set()  # an address without an answer is not asked again by this process
# why Spark takes an executor away by itself, while its work is whole
_BY_ITSELF = ("idle", "decommission", "killed by driver")


@dataclass(frozen=True)
class _Executor:
    active: bool
    address: str
    tasks: int  # that it has finished
    why: str  # it was removed

    @property
    def lost(self) -> bool:
        return not self.active and not any(word in self.why.lower() for word in _BY_ITSELF)


class Workers:
    """The executors of one Spark application, as far as its pages can be reached at ``host``."""

    def __init__(self, session: Any, host: str) -> None:
        application = session.conf.get("spark.app.id", None)
        port = session.conf.get("spark.ui.port", _PORT)
        self._address = f"http://{host}:{port}/api/v1/applications/{application}/allexecutors" if application else None
        self._told = {name for name, executor in self._asked().items() if executor.lost}

    def lost(self) -> list[str]:
        """What went since this was made or asked, in words; nothing where it cannot be known."""
        found = {name: one for name, one in self._asked().items() if one.lost and name not in self._told}
        self._told |= found.keys()
        return [
            f"executor {name} at {one.address} was lost meanwhile ({one.why}): others did its share"
            for name, one in found.items()
        ]

    def tasks(self) -> dict[str, int]:
        """How many tasks each executor has finished."""
        return {name: executor.tasks for name, executor in self._asked().items()}

    def _asked(self) -> dict[str, _Executor]:
        if self._address is None or self._address in _silent:
            return {}
        try:
            with urllib.request.urlopen(self._address, timeout=_ANSWERS_WITHIN) as answer:
                return {
                    told["id"]: _Executor(
                        told["isActive"],
                        told["hostPort"],
                        int(told["completedTasks"]),
                        told.get("removeReason") or "no reason given",
                    )
                    for told in json.load(answer)
                    if told["id"] != "driver"
                }
        except (OSError, ValueError, KeyError, TypeError):  # no such pages, or others than were expected
            _silent.add(self._address)
            return {}
