"""Logs through stdlib logging, on stderr: text, or JSON lines with the run's id."""

from __future__ import annotations

import logging
import sys

from reconcile.report.log_lines import JsonLines

LEVELS = ("debug", "info", "warning", "error")


def log_to_stderr(form: str, level: str | None, run_id: str) -> None:
    """Set up the process's logging. Other libraries log from WARNING on, ours from ``level`` on."""
    handler = logging.StreamHandler(sys.stderr)
    as_json = form == "json"
    handler.setFormatter(JsonLines(run_id) if as_json else logging.Formatter("%(levelname)s %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("reconcile").setLevel((level or ("info" if as_json else "warning")).upper())
