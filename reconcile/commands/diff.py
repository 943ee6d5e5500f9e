"""``reconcile diff``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconcile.commands.options import judging, output_options
from reconcile.errors import ReconcileError
from reconcile.masking import shown_side
from reconcile.report.model import Report
from reconcile.report.progress import Watcher

if TYPE_CHECKING:
    from reconcile.state.store import State


@click.command()
@click.argument("left")
@click.argument("right")
@click.option("--key", default="", metavar="COLS", help="Key columns, with commas. Without: rows as a multiset.")
@click.option("--columns", metavar="COLS", help="Compare only these columns.")
@click.option("--ignore", default="", metavar="COLS", help="Do not compare these columns.")
@click.option("--tolerance", multiple=True, metavar="COL=EPS", help="Absolute tolerance of a column; repeatable.")
@click.option("--rename", multiple=True, metavar="RIGHT=LEFT", help="A column of RIGHT under LEFT's name; repeatable.")
@click.option("--where", metavar="SQL", help="Compare only the rows of both sides that meet this condition.")
@click.option("--cast", multiple=True, metavar="COL=TYPE", help="Compare a column by its values of TYPE; repeatable.")
@click.option("--delimiter", metavar="CHAR", help="Delimiter of csv files (default: comma, or as the header has it).")
@click.option("--encoding", metavar="NAME", help="Encoding of csv and json files (default: UTF-8, or by its mark).")
@click.option(
    "--null-text", default="", metavar="TEXT", help="Unquoted text of csv files that is NULL (default: empty)."
)
@click.option(
    "--project-dir", type=click.Path(path_type=Path), default=".", help="Where dbt_project.yml is (TARGET:...)."
)
@click.option("--profiles-dir", type=click.Path(path_type=Path), help="Where profiles.yml is.")
@output_options
def diff(left: str, right: str, **given: Any) -> int:
    """Compare two tables or files: LEFT is expected, RIGHT is actual.

    LEFT and RIGHT: postgresql://user@host/db#schema.table, duckdb:FILE#schema.table, TARGET:schema.table of the dbt
    profile, or a .csv, .tsv, .parquet, .json or .jsonl file (csv and json also as .gz; * names several; - is stdin).

    \b
    reconcile diff prod:analytics.outcomes dev:analytics.outcomes --key decision_id
    reconcile diff embedded:analytics.tweet_metrics export.csv --key tweet_id --rename "Post id=tweet_id"
    reconcile diff before.parquet after.parquet --key id --tolerance revenue=0.01
    reconcile diff old.csv new.csv --key id --cast id=bigint --cast price=numeric
    """

    def run(watcher: Watcher) -> Report:
        from reconcile.dbt.project import Options
        from reconcile.table_diff.run import DiffRequest
        from reconcile.table_diff.run import diff as run_diff
        from reconcile.table_diff.text_files import Dialect

        request = DiffRequest(
            left,
            right,
            key=_listed(given["key"]),
            columns=_listed(given["columns"]) if given["columns"] else None,
            ignore=_listed(given["ignore"]),
            tolerance={name: _number(value) for name, value in _pairs(given["tolerance"], "--tolerance")},
            renamed=dict(_pairs(given["rename"], "--rename")),
            where=given["where"],
            casts=dict(_pairs(given["cast"], "--cast")),
            dialect=Dialect(_character(given["delimiter"]), given["encoding"], given["null_text"]),
        )
        options = Options(project_dir=given["project_dir"], profiles_dir=given["profiles_dir"])
        return run_diff(request, options, watcher)

    def find_state() -> State:
        from reconcile.state.folder import FolderState, state_folder

        return FolderState(state_folder(given["project_dir"]))

    return judging("diff", {**given, "target": shown_side(right)}, run, find_state)


def _character(text: str | None) -> str | None:
    named = {"tab": "\t", "\\t": "\t"}.get(text or "", text)
    if named is not None and (len(named) != 1 or named in '"\r\n'):
        raise ReconcileError(f"--delimiter {text!r}: give one character, or tab")
    return named


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _pairs(values: tuple[str, ...], flag: str) -> list[tuple[str, str]]:
    pairs = [value.partition("=") for value in values]
    wrong = [value for value, (name, _, rest) in zip(values, pairs, strict=True) if not name or not rest]
    if wrong:
        raise ReconcileError(f"{flag} {wrong[0]}: give NAME=VALUE")
    return [(name, rest) for name, _, rest in pairs]


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ReconcileError(f"--tolerance: {text!r} is not a number") from None
