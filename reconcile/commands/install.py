"""``reconcile install``: write the generic test ``reconciles`` into a dbt project; `dbt build` then fails on drift."""

from __future__ import annotations

from pathlib import Path

import click

from reconcile.errors import ProjectError

_FILE = Path(__file__).parent.parent / "dbt" / "reconciles.sql"
_OURS = "{% test reconciles("


@click.command()
@click.option("--project-dir", type=click.Path(path_type=Path), default=".", help="Where dbt_project.yml is.")
def install(project_dir: Path) -> int:
    """Write the generic test `reconciles` into the project's macros. Run it again after an upgrade.

    \b
    reconcile install
    then, in a model's yml:   data_tests: [reconciles]
    """
    path, written = _install(project_dir)
    click.echo(f"{path} {'written' if written else 'is up to date'}")
    click.echo("next: put `data_tests: [reconciles]` into the yml of an incremental model, then dbt build", err=True)
    return 0


def _install(project_dir: Path) -> tuple[Path, bool]:
    import yaml

    from reconcile.atomic_files import write_whole

    try:
        project = yaml.safe_load((project_dir / "dbt_project.yml").read_text(encoding="utf-8")) or {}
    except FileNotFoundError as error:
        where = project_dir.resolve()
        raise ProjectError(f"no dbt_project.yml in {where}: run in a dbt project, or pass --project-dir") from error
    except (OSError, yaml.YAMLError) as error:
        raise ProjectError(f"cannot read dbt_project.yml in {project_dir.resolve()}: {error}") from error
    path = project_dir / (project.get("macro-paths") or ["macros"])[0] / _FILE.name
    text = _FILE.read_text(encoding="utf-8")
    try:
        if path.exists():
            there = path.read_text(encoding="utf-8")
            if there == text:
                return path, False
            if _OURS not in there:
                raise ProjectError(f"{path} exists and was not written by reconcile: rename it, then run this again")
        write_whole(path, text)
    except OSError as error:
        raise ProjectError(f"cannot write {path}: {error.strerror}") from error
    return path, True
