"""The renderers: each turns a Report into one kind of text and reads nothing else."""

from __future__ import annotations

from collections.abc import Callable

from reconcile.render.github import render_github
from reconcile.render.html import render_html
from reconcile.render.junit import render_junit
from reconcile.render.markdown import render_markdown
from reconcile.report.model import Report


def render_json(report: Report) -> str:
    """The JSON report, as reconcile/schemas/report.schema.json describes it."""
    return report.to_json()


FORMATS: dict[str, Callable[[Report], str]] = {
    "json": render_json,
    "markdown": render_markdown,
    "junit": render_junit,
    "html": render_html,
    "github": render_github,
}
