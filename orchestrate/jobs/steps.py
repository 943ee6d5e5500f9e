"""The steps that users type, with their messages and exit codes: collect, build, check."""

from __future__ import annotations

import logging
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

from orchestrate.errors import Trouble
from orchestrate.servers.postgres import main_project
from orchestrate.targets import choose
from reconcile import JsonLines

WALL = 3


def log_to_stderr(level: int = logging.INFO, form: str = "text", run_id: str = "") -> None:
    """Our own loggers, on stderr, one line each; other libraries only speak up from WARNING.

    ``form`` json makes each line an object that bears ``run_id`` and the record's own fields.
    """
    handler = logging.StreamHandler(sys.stderr)
    text = logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")
    handler.setFormatter(JsonLines(run_id) if form == "json" else text)
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)  # a library may have set up its own
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


def collect_command(
    job: str, *, target: str | None, progress: str | None = None, log_format: str = "text", **chosen: str | None
) -> int:
    """``dlt pipeline engagement run``: 0 done, 2 trouble, 3 stopped at a wall, 130 interrupted.

    ``chosen`` are settings given on the command line; ``progress`` is one of dlt's collectors.
    """
    run_id = uuid.uuid4().hex[:12]
    log_to_stderr(form=log_format, run_id=run_id)

    def collect() -> int:
        from extract.run import collect as run
        from extract.settings import load_settings

        where = choose(main_project(), target)
        shown = progress or ("tqdm" if sys.stderr.isatty() and log_format == "text" else None)
        settings = load_settings(**chosen)
        summary = run(where.destination(), where.pipelines_dir(), settings, job, progress=shown, run_id=run_id)
        return WALL if summary.wall else 0

    return say_trouble(collect)


def docs_command(target: str | None) -> Path:
    """``levelset docs``: the page it has built. Raises Trouble where dbt cannot."""
    from orchestrate.dbt import run_dbt
    from orchestrate.servers import postgres as warehouse

    project = main_project()
    where = choose(project, target)
    warehouse.before_connect(where.name, project)
    run_dbt(where, "docs", "generate", "--static")
    return project / "target" / "static_index.html"


def report_command(target: str | None) -> Path:
    """``levelset report``: the page it has written. Raises Trouble where nothing was ever checked."""
    from orchestrate.dbt import environment
    from reconcile import ReconcileError, project_overview, write_overview

    project = main_project()
    where = choose(project, target)
    page = project / "target" / "reconcile" / "report.html"
    with environment(where.environment()):
        try:
            write_overview(project_overview(project_dir=project, profiles_dir=project, target=where.name), page)
        except ReconcileError as error:
            raise Trouble(str(error)) from error
    return page
