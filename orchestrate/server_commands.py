"""``levelset up``, ``down``, ``psql`` and ``copy``: this machine's servers, and what goes from one to the other."""

from __future__ import annotations

import subprocess

import click

_SERVERS = click.option(
    "--target", "-t", type=click.Choice(["embedded", "lake"]), default="embedded", show_default=True, help="Which one."
)


@click.command()
@_SERVERS
def up(target: str) -> int:
    """Start the embedded warehouse (Postgres 18, on a socket that only you can open), or the lake.

    \b
    lake: Delta tables behind Sail, a Spark Connect server with two workers on loopback (extra `scale`).
    """
    from orchestrate.servers import lake
    from orchestrate.servers import postgres as warehouse
    from orchestrate.targets import Target

    project = warehouse.main_project()
    if target == "lake":
        there = lake.start(project)
        click.echo(f"lake is up: Spark Connect at {there.host}:{there.port}, tables in {there.tables or 'its catalog'}")
        return 0
    server = warehouse.start(project)
    warehouse.ensure_schemas(server, "staging", "analytics")
    click.echo(f"warehouse is up: {Target('embedded', project).url}")
    if server.export_line:
        click.echo(f"its path is too long for profiles.yml to spell; before plain dbt commands: {server.export_line}")
    return 0


@click.command()
@_SERVERS
def down(target: str) -> int:
    """Stop the embedded warehouse, or the lake. Its data stay in .levelset/."""
    from orchestrate.servers import lake
    from orchestrate.servers import postgres as warehouse

    named = "lake" if target == "lake" else "warehouse"
    stopped = (lake if target == "lake" else warehouse).stop(warehouse.main_project())
    click.echo(f"{named} is down" if stopped else f"{named} was not up")
    return 0


@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[PSQL ARGUMENTS]...")
def psql(arguments: tuple[str, ...]) -> int:
    """Open psql on the embedded warehouse, or run it with psql's own arguments.

    \b
    levelset psql
    levelset psql -c "select count(*) from analytics.outcomes"
    """
    from orchestrate.servers import postgres as warehouse

    server = warehouse.start(warehouse.main_project())
    return subprocess.run([server.binaries / "psql", server.conninfo, *arguments], check=False).returncode


@click.command()
@click.option("--from", "source", metavar="NAME", help="Target whose staging is copied (default: as dbt chooses).")
def copy(source: str | None) -> int:
    """Copy staging into the lake, as Delta tables: all of it the first time, then what was loaded since."""
    from orchestrate.jobs.copy_to_lake import copy_staging
    from orchestrate.servers.postgres import main_project
    from orchestrate.targets import choose

    for table, rows in copy_staging(choose(main_project(), source)).items():
        click.echo(f"staging.{table}: {rows} rows copied")
    return 0
