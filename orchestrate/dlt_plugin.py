"""What dlt learns from us: `dlt pipeline engagement run`, and that this clone keeps its pipelines in .levelset/dlt.

dlt loads this module (entry-point group ``dlt``) whenever it is used, in any folder: everything heavy is imported
where it is needed, and outside a levelset project nothing changes.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from dlt.common.configuration import plugins
from dlt.common.runtime.run_context import RunContext

from orchestrate.servers.postgres import is_levelset_project


class LevelsetRunContext(RunContext):
    """dlt's own run context, but for where the pipelines' working folders are."""

    @property
    def data_dir(self) -> str:
        from orchestrate.targets import data_folder

        return str(data_folder(Path(self.run_dir).resolve()))


COLLECTORS = ("log", "tqdm")  # of dlt's, those that need no further package


class RunCommand:
    """``dlt pipeline [engagement] run``: one collection job, end to end."""

    parent = "pipeline"
    command = "run"
    compose = "replace"
    help_string = "Collect what is due and load it: dlt pipeline engagement run --job scheduled"
    description = (
        "Reads the posts that are due, judges each reading, and loads it into the staging schema. "
        "Exit codes: 0 done, 2 trouble, 3 stopped at a wall of the site (what was read is loaded)."
    )
    docs_url = None

    def configure_parser(self, parser: argparse.ArgumentParser) -> None:
        from extract.due import JOBS
        from extract.settings import SOURCES

        parser.add_argument("--job", choices=JOBS, default="scheduled", help="which posts are due (default: scheduled)")
        parser.add_argument("--source", choices=SOURCES, help="how posts are read (default: as configured, browser)")
        parser.add_argument("--target", help="target of profiles.yml to load into (default: $DBT_TARGET, embedded)")
        parser.add_argument("--content", metavar="FILE", help="the posting bot's content_metadata, .csv or .jsonl")
        parser.add_argument("--file", metavar="PATH", help="what the sources export (a CSV) and replay (answers) read")
        parser.add_argument("--log-format", choices=("text", "json"), default="text", help="json: a line an object")
        parser.add_argument("--progress", choices=COLLECTORS, help="dlt's progress (default: tqdm on a terminal)")

    def execute(self, args: argparse.Namespace) -> None:
        from orchestrate.jobs.steps import collect_command

        name = getattr(args, "pipeline_name", None)
        if name not in (None, "engagement"):
            print(f"Error: no pipeline {name!r} here to run: dlt pipeline engagement run", file=sys.stderr)  # noqa: T201
            sys.exit(2)
        chosen = {"source": args.source, "content": args.content, "file": args.file}
        how = {"target": args.target, "progress": args.progress, "log_format": args.log_format}
        sys.exit(collect_command(args.job, **how, **chosen))


@plugins.hookimpl
def plug_run_context(run_dir: str | None, runtime_kwargs: dict[str, Any] | None) -> RunContext | None:
    folder = Path(run_dir or os.environ.get("DLT_PROJECT_DIR") or ".")
    return LevelsetRunContext(run_dir) if is_levelset_project(folder) else None


@plugins.hookimpl
def plug_cli(host: str) -> type[RunCommand] | None:
    if host != "dlt" or not is_levelset_project(Path.cwd()):
        return None
    _offer_credentials()
    return RunCommand


def _offer_credentials() -> None:
    """Let dlt's built-in subcommands (sync, drop, ...) reach the default target's warehouse without configuration."""
    from orchestrate.targets import Target, default_target_name

    target = Target(default_target_name(), Path.cwd().resolve())
    if target.name in ("embedded", "postgres"):
        os.environ.setdefault("DESTINATION__WAREHOUSE__CREDENTIALS", target.dlt_credentials())
