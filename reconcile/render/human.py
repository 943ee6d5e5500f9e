"""The report at a terminal: a table of models, then the rows that differ, then what to type next."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from reconcile.render.text import (
    STYLES,
    aim,
    causes_of,
    common_ends,
    coverage,
    key_of,
    keys_of,
    kinds,
    next_step,
    preview,
    shown,
    shown_pair,
    undone,
    unjudged,
)
from reconcile.report.model import PlannedPart, RepairOutcome, Report, Sample, TableReport

_FITS = 24  # characters of a value that is not folded: below a longer one a caret could point anywhere
_SAMPLES_SHOWN = 10  # a table; the others are in the JSON and HTML reports


def print_report(report: Report, console: Console) -> None:
    """Print to ``console``, which knows width, colour and whether there is a terminal."""
    if report.undo is not None:
        console.print(Text(f"{undone(report.undo)} (run {report.run_id})"))
        return
    console.print(_models(report))
    console.print(_reasons(report))
    for table in report.tables:
        if table.error:
            console.print(Text(f"{shown(table.name)}: {shown(table.error, 1000)}", style=STYLES[table.verdict]))
        if table.drift.any() and not _is_plan(report):
            console.print(_drifted(table, carets=not console.is_terminal))
        for hint in table.hints:
            console.print(Padding(Text(f"hint: {shown(hint, 1000)}", style="dim"), (0, 0, 0, 2)))
    if report.repair is not None:
        if _is_plan(report):
            print_plan(report.repair, console)
        console.print(_repaired(report.repair, report.aimed))
        for refusal in report.repair.refused:
            console.print(Text(f"not repaired: {shown(refusal.reason, 1000)}", style="bold yellow"))
    if report.error:
        console.print(Text(f"Error: {shown(report.error, 2000)}", style="bold red"))
    ending = "; ".join(filter(None, [kinds(report.totals).strip("-"), unjudged(report)]))
    ending = f": {ending}" if ending else ""
    console.print(Text(f"{report.verdict.value}{ending} (run {report.run_id})", style=STYLES[report.verdict]))
    following = next_step(report)
    if following:
        plans = "    (plans only; --apply writes)" if report.command == "check" else ""
        console.print(Text(f"next: {following}{plans}", style="dim"))


def print_plan(planned: RepairOutcome, console: Console) -> None:
    """What would be written, table by table: each row's columns, what they are and what they become."""
    for part in planned.tables:
        console.print(_plan_of(part))


def _models(report: Report) -> Table:
    grid = Table(box=None, pad_edge=False, header_style="bold")
    grid.add_column("model", overflow="fold")
    grid.add_column("verdict")
    grid.add_column("drift", overflow="fold")
    grid.add_column("scope")
    grid.add_column("keys", justify="right")
    grid.add_column("time", justify="right")
    for table in report.tables:
        grid.add_row(
            Text(shown(table.name)),
            Text(table.verdict.value, style=STYLES[table.verdict]),
            kinds(table.drift),
            table.scope.mode,
            keys_of(table),
            f"{table.elapsed_ms / 1000:.2f} s",
        )
    return grid


def _reasons(report: Report) -> RenderableType:
    """Why each table was looked at as it was: a line a reason, and which tables it holds for where it is not all."""
    tables: dict[tuple[str, str], list[str]] = {}
    for table in report.tables:
        tables.setdefault((table.scope.mode, table.scope.reason), []).append(shown(table.name))
    lines = []
    for (mode, reason), names in tables.items():
        of = "" if len(names) == len(report.tables) else f" ({', '.join(names)})"
        lines.append(Text(f"{mode}: {shown(reason, 500)}{of}", style="dim"))
    lines += [Text(f"{shown(t.name)}: {said}", style="dim") for t in report.tables if (said := coverage(t))]
    lines += [Text(f"not judged: {shown(e.name)} ({shown(e.reason)})", style="dim") for e in report.excluded]
    return Group(*lines)


def _drifted(table: TableReport, carets: bool) -> RenderableType:
    heading = Text(f"\n{shown(table.name)}", style="bold")
    if table.columns:
        heading.append(
            "  by column: " + ", ".join(f"{shown(name)} {n:,}" for name, n in table.columns.items()), style="dim"
        )
    parts: list[RenderableType] = [heading]
    if table.causes:
        parts.append(Text(f"  causes   {causes_of(table)}"))
    for change in table.schema_changes:
        expected, actual = change.expected or "no such column", change.actual or "no such column"
        parts.append(Text(f"  schema   {shown(change.column)}: expected {expected}, is {actual}"))
    grid = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("kind", "cause", ", ".join(map(shown, table.key)) or "key", "column", "expected", "actual"):
        if name != "cause" or table.causes:
            grid.add_column(name, overflow="fold", no_wrap=name not in ("expected", "actual"))
    for sample in table.samples[:_SAMPLES_SHOWN]:
        for cells in _cells(sample, carets):
            grid.add_row(*(cells if table.causes else (cells[0], *cells[2:])))
    if table.samples:
        parts.append(grid)
    hidden = table.drift.of_rows() - min(len(table.samples), _SAMPLES_SHOWN)
    if hidden > 0:
        parts.append(
            Text(f"  … and {hidden:,} more (--report html=FILE shows up to {len(table.samples):,})", style="dim")
        )
    return Group(*parts)


def _cells(sample: Sample, carets: bool) -> list[tuple[str | Text, ...]]:
    if sample.kind != "changed":
        in_table = sample.stands_in_table
        none = "once" if sample.kind == "duplicate" and in_table else "no row"
        expected, actual = (none, preview(sample)) if in_table else (preview(sample), none)
        whole = Text("(the row)", style="dim")
        return [(sample.kind, _cause(sample), key_of(sample, named=False), whole, expected, actual)]
    rows: list[tuple[str | Text, ...]] = []
    for index, (name, cell) in enumerate(sample.columns.items()):
        left, right = marked(*shown_pair(cell.expected, cell.actual), carets)
        first = index == 0
        key = key_of(sample, named=False) if first else ""
        kind, cause = (sample.kind, _cause(sample)) if first else ("", "")
        rows.append((kind, cause, key, shown(name), left, right))
    return rows


def _cause(sample: Sample) -> str:
    return (sample.cause or "").replace("_", " ")


def marked(expected: str, actual: str, carets: bool = False) -> tuple[Text, Text]:
    """Two values with what differs between their common beginning and end underlined; with ``carets`` where there are
    no styles, and only where it is not the whole of both values.
    """
    start, end = common_ends(expected, actual)
    texts = []
    for value, style in ((expected, "green"), (actual, "red")):
        text = Text(value)
        text.stylize(f"bold underline {style}", start, len(value) - end)
        if carets and (start or end) and len(value) <= _FITS:
            text.append("\n" + " " * start + "^" * (len(value) - end - start))
        texts.append(text)
    return texts[0], texts[1]


def _is_plan(report: Report) -> bool:
    return report.repair is not None and not report.repair.applied


def _plan_of(part: PlannedPart) -> RenderableType:
    said = f"  {part.insert:,} to insert, {part.update:,} to update, {part.delete:,} to delete"
    grid = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("write", "why", "key", "column", "is", "becomes"):
        grid.add_column(name, overflow="fold", no_wrap=name in ("write", "why"))
    for change in part.changes[:_SAMPLES_SHOWN]:
        key = ", ".join(shown(value, 60) for value in change.key.values()) or "(no key)"
        times = f" x {change.copies}" if change.copies > 1 else ""
        head = [f"{change.action}{times}", change.reason.replace("_", " "), key]
        if change.action != "update":
            gone = change.action == "delete"
            row = preview(Sample("extra" if gone else "missing", change.key, change.columns))
            grid.add_row(*head, Text("(the row)", style="dim"), *((row, "no row") if gone else ("no row", row)))
            continue
        for name, cell in change.columns.items():
            becomes, stands = marked(*shown_pair(cell.expected, cell.actual))
            grid.add_row(*head, shown(name), stands, becomes)
            head = ["", "", ""]
    hidden = part.hidden + sum(change.copies or 1 for change in part.changes[_SAMPLES_SHOWN:])
    more = [Text(f"  … and {hidden:,} more, all in the plan file", style="dim")] if hidden else []
    return Group(Text(f"\n{shown(part.name)}", style="bold").append(said, style="dim"), grid, *more)


def _repaired(repair: RepairOutcome, aimed: str | None) -> Text:
    if not repair.applied:
        said = f"{repair.inserted:,} to insert, {repair.updated:,} to update, {repair.deleted:,} to delete"
        where = f" (plan file: {repair.plan_file})" if repair.plan_file else ""
        right = f"rewrites {repair.unneeded:,} rows that are right"
        return Text(f"\nplan: {said} ({right}); nothing was written{where}")
    done = (
        f"{repair.inserted:,} inserted, {repair.updated:,} updated, {repair.deleted:,} deleted, {repair.stale:,} stale"
    )
    return Text(f"\nrepaired: {done}; take it back with: reconcile undo {repair.run_id} --apply{aim(aimed)}")
