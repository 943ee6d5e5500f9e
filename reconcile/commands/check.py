"""``reconcile check``."""

from __future__ import annotations

from typing import Any

import click

from reconcile.commands.options import judging, options_of, output_options, project_options, project_state
from reconcile.report.model import FAIL_ON, Report
from reconcile.report.progress import Watcher


@click.command()
@project_options
@click.option(
    "--fail-on",
    metavar="KINDS",
    help=f"Exit with 1 for these kinds only: {', '.join(FAIL_ON)} (default: drift).",
)
@click.option(
    "--scope",
    type=click.Choice(["auto", "capture", "sweep", "keys"]),
    default="auto",
    show_default=True,
    help="What to compare. capture: changed keys; sweep: every row; keys: those of --keys; auto: capture, else sweep.",
)
@click.option("--keys", metavar="FILE", help="Compare these keys only: csv, JSON lines or a key per line; - is stdin.")
@click.option("--record", is_flag=True, help="Store verdicts in the database too (reconcile.verdict), from now on.")
@output_options
def check(fail_on: str | None, scope: str, keys: str | None, record: bool, **given: Any) -> int:
    """Compare every selected incremental model with its own definition, row by row.

    \b
    reconcile check
    reconcile check -s outcomes --output json
    reconcile check -s tag:hourly --report junit=reconcile.xml
    reconcile check -s outcomes --keys ids.txt
    """
    if (scope == "keys") != (keys is not None) and scope != "auto":
        raise click.UsageError("--scope keys and --keys FILE go together: give both, or neither")
    kinds = tuple(kind.strip() for kind in (fail_on or "").split(",") if kind.strip())
    unknown = [kind for kind in kinds if kind not in FAIL_ON]
    if unknown:
        raise click.UsageError(f"--fail-on {unknown[0]}: the kinds are {', '.join(FAIL_ON)}")

    def run(watcher: Watcher) -> Report:
        from reconcile.compare.key_filter import read_keys
        from reconcile.model_check.judge_model import CheckRequest
        from reconcile.model_check.run import check as run_check

        request = CheckRequest("keys", read_keys(keys)) if keys is not None else CheckRequest(scope)
        return run_check(options_of(given), kinds, watcher, request, start_record=record)

    return judging("check", given, run, lambda: project_state(given))
