"""The report as one HTML file: offline, no script, no request; a Content-Security-Policy says so."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from reconcile.render.text import kinds, rows_of, shown
from reconcile.report import KINDS, Report

_FOLDER = Path(__file__).parent


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(shown=shown, kinds=kinds, rows=rows_of)
    return environment


def render_html(report: Report) -> str:
    style = (_FOLDER / "report.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    most = max((getattr(table.drift, kind) for table in report.tables for kind in KINDS), default=0)
    return (
        _environment()
        .get_template("report.html.jinja")
        .render(report=report, style=style, style_hash=f"sha256-{digest}", kind_names=KINDS, most=max(most, 1))
    )
