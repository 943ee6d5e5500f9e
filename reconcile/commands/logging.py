"""Logs through stdlib logging, on stderr: text, or JSON lines that bear the run's id."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

LEVELS = ("debug", "info", "warning", "error")


class JsonLines(logging.Formatter):
    """One JSON object a line: at (ISO 8601, UTC), level, logger, run_id, message, and the record's own fields."""

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self._run_id = run_id

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        body = {"at": at.replace("+00:00", "Z"), "level": record.levelname.lower(), "logger": record.name}
        body |= {"run_id": self._run_id, "message": record.getMessage()}
        body |= getattr(record, "fields", {})
        if record.exc_info:
            body["exception"] = self.formatException(record.exc_info)
        return json.dumps(body, ensure_ascii=False)


def log_to_stderr(form: str, level: str | None, run_id: str) -> None:
    """Set up the process's logging. Other libraries speak up from WARNING; ours from ``level``."""
    handler = logging.StreamHandler(sys.stderr)
    as_json = form == "json"
    handler.setFormatter(JsonLines(run_id) if as_json else logging.Formatter("%(levelname)s %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("reconcile").setLevel((level or ("info" if as_json else "warning")).upper())
