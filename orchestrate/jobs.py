"""The steps that users type, with their messages and exit codes: collect, build, check."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path

from orchestrate.errors import Trouble
from orchestrate.targets import choose
from orchestrate.warehouse import main_project

WALL = 3


def log_to_stderr(level: int = logging.INFO) -> None:
    """Our own loggers, on stderr, one line each; other libraries only speak up from WARNING."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S"))
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(handler)
    for name in ("extract", "orchestrate", "reconcile"):
        logging.getLogger(name).setLevel(level)


def say_trouble(command: Callable[[], int]) -> int:
    """Run a command; an expected failure becomes one ``Error:`` line and exit code 2, Ctrl-C 130."""
    from extract.errors import ExtractError

    try:
        return command()
    except (Trouble, ExtractError) as error:
        print(f"Error: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except KeyboardInterrupt:
        print("Interrupted: nothing is half-loaded, run the command again", file=sys.stderr)  # noqa: T201
        return 130


def collect_command(job: str, *, target: str | None, progress: str | None = None, **chosen: str | None) -> int:
    """``dlt pipeline engagement run``: 0 done, 2 trouble, 3 stopped at a wall, 130 interrupted.

    ``chosen`` are settings given on the command line; ``progress`` is one of dlt's collectors.
    """
    log_to_stderr()

    def collect() -> int:
        from extract.collecting import collect as run
        from extract.settings import load_settings

        where = choose(main_project(), target)
        shown = progress or ("tqdm" if sys.stderr.isatty() else None)
        summary = run(where.destination(), where.pipelines_dir(), load_settings(**chosen), job, progress=shown)
        return WALL if summary.wall else 0

    return say_trouble(collect)


def docs_command(target: str | None) -> Path:
    """``levelset docs``: the page it has built. Raises Trouble where dbt cannot."""
    from orchestrate import warehouse
    from orchestrate.dbt import run_dbt

    project = main_project()
    where = choose(project, target)
    warehouse.before_connect(where.name, project)
    run_dbt(where, "docs", "generate", "--static")
    return project / "target" / "static_index.html"


def report_command(target: str | None) -> Path:
    """``levelset report``: the page it has written. Raises Trouble where nothing was ever checked."""
    from orchestrate.dbt import environment
    from reconcile.errors import ReconcileError
    from reconcile.overview import overview
    from reconcile.project import Options
    from reconcile.render.overview import render_overview

    project = main_project()
    where = choose(project, target)
    page = project / "target" / "reconcile" / "report.html"
    with environment(where.environment()):
        try:
            found = overview(Options(project_dir=project, profiles_dir=project, target=where.name))
        except ReconcileError as error:
            raise Trouble(str(error)) from error
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(render_overview(found), encoding="utf-8")
    return page
