"""Log records as JSON lines."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime


class JsonLines(logging.Formatter):
    """One JSON object per line: at (ISO 8601, UTC), level, logger, run_id, message, and the record's fields."""

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
