"""What Spark's own pages tell of its workers, which Spark Connect does not: the REST API beside the driver's UI.

https://spark.apache.org/docs/latest/monitoring.html#rest-api; Sail has no such pages.
"""

from __future__ import annotations

import json
import urllib.request
from typing import Any

_ANSWERS_WITHIN = 2.0  # seconds
_PORT = "4040"
_silent: set[str] = set()  # where nobody answered is not asked again by this process
# why Spark takes an executor away by itself, while its work is whole
_BY_ITSELF = ("idle", "decommission", "killed by driver")


class Workers:
    """The executors of one Spark application, as far as its pages can be reached at ``host``."""

    def __init__(self, session: Any, host: str) -> None:
        application = session.conf.get("spark.app.id", None)
        port = session.conf.get("spark.ui.port", _PORT)
        self._address = f"http://{host}:{port}/api/v1/applications/{application}/allexecutors" if application else None
        self._gone = {name for name, told in self._asked().items() if not told["isActive"]}

    def lost(self) -> list[str]:
        """What went since this was made, in words; nothing where it cannot be known."""
        found = []
        for name, told in self._asked().items():
            why = str(told.get("removeReason") or "no reason is told")
            if not told["isActive"] and name not in self._gone and not any(word in why.lower() for word in _BY_ITSELF):
                self._gone.add(name)
                found.append(f"executor {name} at {told['hostPort']} was lost meanwhile ({why}): others did its share")
        return found

    def tasks(self) -> dict[str, int]:
        """How many tasks each executor has finished."""
        return {name: int(told["completedTasks"]) for name, told in self._asked().items()}

    def _asked(self) -> dict[str, dict[str, Any]]:
        if self._address is None or self._address in _silent:
            return {}
        try:
            with urllib.request.urlopen(self._address, timeout=_ANSWERS_WITHIN) as answer:
                return {told["id"]: told for told in json.load(answer) if told["id"] != "driver"}
        except (OSError, ValueError, KeyError, TypeError):  # no such pages, or others than were expected
            _silent.add(self._address)
            return {}
