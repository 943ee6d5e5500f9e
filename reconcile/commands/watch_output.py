"""What ``reconcile watch`` prints: lines for people, or one JSON report a line."""

from __future__ import annotations

import json
from datetime import datetime

import click

from reconcile.dbt.project import Project
from reconcile.render.text import key_of, kinds, preview, shown
from reconcile.repair.session import Applied
from reconcile.report.model import Report, Sample, TableReport, Verdict
from reconcile.report.run_id import new_run_id, now
from reconcile.watch import Listener

_SHOWN = 20  # rows of one event


class HumanTeller(Listener):
    """Data to stdout, what is said about the watch itself to stderr."""

    def began(self, project: Project) -> None:
        count = len(project.definitions)
        click.echo(f"watching {count} {'model' if count == 1 else 'models'}; Ctrl-C ends it", err=True)

    def judged(self, table: TableReport) -> None:
        if table.verdict is Verdict.UNVERIFIED:
            self._say(table.name, f"unverified: {table.error}")
            return
        pending = f" ({table.drift.pending:,} pending)" if table.drift.pending else ""
        found = kinds(table.drift) if table.drift.any() else f"level{pending}"
        self._say(table.name, found)
        for change in table.schema_changes:
            click.echo(f"  {shown(change.column)}: expected {change.expected}, is {change.actual}")
        drifted = [sample for sample in table.samples if sample.kind != "pending"]
        for sample in drifted[:_SHOWN]:
            click.echo(f"  {sample.kind} {key_of(sample)}: {_difference(sample)}")
        if len(drifted) > _SHOWN:
            click.echo(f"  … and {table.drift.of_rows() - _SHOWN:,} more: reconcile check -s {table.name}")

    def repaired(self, name: str, done: Applied) -> None:
        counts = f"{done.inserted} inserted, {done.updated} updated, {done.deleted} deleted, {done.stale} stale"
        self._say(name, f"repaired: {counts} (reconcile undo {done.run_id})")

    def refused(self, name: str, why: str) -> None:
        self._say(name, f"not repaired: {why}")

    def away(self, why: str) -> None:
        click.echo(f"{_time()} away: {why}; trying again", err=True)

    def back(self) -> None:
        click.echo(f"{_time()} back: changes meanwhile are read now", err=True)

    def _say(self, name: str, said: str) -> None:
        click.echo(f"{_time()} {shown(name)}: {said}")


class JsonTeller(HumanTeller):
    """One JSON report per line."""

    def __init__(self, target: str) -> None:
        self._target = target

    def judged(self, table: TableReport) -> None:
        at = now()
        click.echo(json.dumps(Report(new_run_id(), "watch", self._target, at, at, (table,)).as_dict()))

    def repaired(self, name: str, done: Applied) -> None:
        rows = {"inserted": done.inserted, "updated": done.updated, "deleted": done.deleted, "stale": done.stale}
        click.echo(json.dumps({"command": "repair", "model": name, "run_id": done.run_id, "rows": rows}))

    def refused(self, name: str, why: str) -> None:
        click.echo(json.dumps({"command": "repair", "model": name, "refused": why}))


def _difference(sample: Sample) -> str:
    if sample.kind != "changed":
        return f"only in the {'table' if sample.stands_in_table else 'definition'}: {preview(sample)}"
    return "; ".join(
        f"{shown(name)} expected {shown(cell.expected)}, is {shown(cell.actual)}"
        for name, cell in sample.columns.items()
    )


def _time() -> str:
    return f"{datetime.now().astimezone():%H:%M:%S}"
