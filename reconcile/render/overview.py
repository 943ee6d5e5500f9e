"""The page over time, and the same at a terminal: what the person on duty looks at."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from reconcile.render.html import clock, page
from reconcile.render.text import STYLES, duration, shown, state_of
from reconcile.report.model import Verdict
from reconcile.report.overview import ModelOverTime, Overview

_BARS = "▁▂▃▄▅▆▇█"
_RUNS_SHOWN = 24
_ROWS_SHOWN = 10


def render_overview(overview: Overview) -> str:
    return page("overview.html.jinja", overview=overview)


def print_overview(overview: Overview, console: Console) -> None:
    """Print to ``console``, which knows width, colour and whether there is a terminal."""
    console.print(_models(overview))
    if overview.sources:
        console.print(_sources(overview))
    for panel in overview.panels:
        grid = _grid(shown(panel.title), *(shown(name).replace("_", " ") for name in panel.columns))
        for row in panel.rows[:_ROWS_SHOWN]:
            grid.add_row(*(shown(cell, 40) for cell in row))
        console.print(grid)
        if panel.cut or len(panel.rows) > _ROWS_SHOWN:
            console.print(Text("… the first rows only", style="dim"))
    for notice in overview.notices:
        console.print(Text(f"not shown: {shown(notice, 500)}", style="yellow"))
    console.print(Text(f"\n{overview.verdict.value}: {state_of(overview)}", style=STYLES[overview.verdict]))


def _models(overview: Overview) -> Table:
    grid = _grid("Models", "model", "last verdict", "open since", "keys", "time to repair", "runs")
    for model in overview.models:
        grid.add_row(
            shown(model.name),
            Text(model.verdict.value, style=STYLES[model.verdict]),
            clock(model.open_since or ""),
            f"{model.keys:,}",
            duration(model.time_to_repair),
            _sparkline(model),
        )
    return grid


def _sources(overview: Overview) -> Table:
    grid = _grid("Sources", "source", "freshness", "age", "warns after", "is an error after")
    for source in overview.sources:
        style = {"pass": "green", "warn": "yellow"}.get(source.status, "red")
        limits = (source.warn_after or "-", source.error_after or "-")
        grid.add_row(shown(source.name), Text(source.status, style=style), duration(source.age), *limits)
    return grid


def _grid(title: str, *columns: str) -> Table:
    grid = Table(box=None, pad_edge=False, header_style="bold", title=f"\n{title}", title_justify="left")
    for name in columns:
        grid.add_column(name, overflow="fold")
    return grid


def _sparkline(model: ModelOverTime) -> Text:
    """A character a run: its height is how many keys differed, a dot a run that did not look."""
    most = max((found.keys for _, found in model.runs if found), default=0) or 1
    line = Text()
    for _, found in model.runs[-_RUNS_SHOWN:]:
        if found is None:
            line.append("·", style="dim")
            continue
        height = 0 if found.verdict is Verdict.LEVEL else max(1, round(found.keys / most * (len(_BARS) - 1)))
        line.append(_BARS[height], style=STYLES[found.verdict])
    return line
