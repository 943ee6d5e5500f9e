"""Reports written to files, with what a page shows beside the run: past runs, and a link to the dbt docs."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from reconcile.atomic_files import write_whole
from reconcile.errors import ReconcileError
from reconcile.render import FORMATS
from reconcile.report.model import Report
from reconcile.state import past_runs
from reconcile.state.folder import target_folder
from reconcile.state.store import State


def write_report(report: Report, kind: str, path: Path, project_dir: Path, state: State) -> None:
    """Write a report of one kind, a page with the past runs of ``state``.

    Raises ReconcileError for an unknown kind or a path that cannot be written.
    """
    if kind not in FORMATS:
        raise ReconcileError(f"no report of kind {kind!r}: use one of {', '.join(FORMATS)}")
    if kind == "html":
        report = replace(past_runs.with_past(report, state), docs=docs_address(project_dir, path))
    write_text(path, kind, FORMATS[kind](report))


def write_text(path: Path, kind: str, text: str) -> None:
    """Write the text of a report whole or not at all. Raises ReconcileError if it cannot be written."""
    try:
        write_whole(path, text)
    except OSError as error:
        raise ReconcileError(f"cannot write the {kind} report to {path}: {error.strerror}") from error


def docs_address(project_dir: Path, page: Path) -> str | None:
    """The dbt docs as a page links to them: RECONCILE_DOCS_URL, else the project's built docs, relative to the page."""
    if address := os.environ.get("RECONCILE_DOCS_URL"):
        return address.partition("#")[0] if address.startswith(("http://", "https://")) else None
    for name in ("static_index.html", "index.html"):
        docs = target_folder(project_dir.resolve()) / name
        if docs.is_file():
            return quote(os.path.relpath(docs, page.resolve().parent))
    return None
