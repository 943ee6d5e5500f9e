"""``reconcile install``: what a dbt project needs for `dbt build` to fail on drift, and to record when it built."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from reconcile.commands.options import past_options
from reconcile.errors import ProjectError, ReconcileError

_FOLDER = Path(__file__).parent.parent / "dbt"
_OURS = {"reconciles.sql": "{% test reconciles(", "reconcile_record_build.sql": "{% macro reconcile_record_build("}
_HOOK = '"{{ reconcile_record_build(results) }}"'
_SECTION = f"on-run-end:\n  - {_HOOK}\n"


@click.command()
@past_options
@click.option("--no-database", is_flag=True, help="Write the project's files only.")
def install(project_dir: Path, no_database: bool, **given: Any) -> int:
    """Write the test `reconciles` and the hook `reconcile_record_build` into the project, and make schema reconcile.

    The hook records each build in the schema, and checks keep proofs and past runs there: then every machine that
    checks the database knows them. Run it again after an upgrade.

    \b
    reconcile install
    then, in a model's yml:   data_tests: [reconciles]
    """
    project = _read_project(project_dir)
    for path, written in [_install(project_dir, project, name) for name in _OURS]:
        click.echo(f"{path} {'written' if written else 'is up to date'}")
    click.echo(_hook(project_dir / "dbt_project.yml", project))
    if not no_database:
        click.echo(_schema({"project_dir": project_dir, **given}))
    click.echo("next: put `data_tests: [reconciles]` into the yml of an incremental model, then dbt build", err=True)
    return 0


def _read_project(project_dir: Path) -> dict[str, Any]:
    import yaml

    try:
        return yaml.safe_load((project_dir / "dbt_project.yml").read_text(encoding="utf-8")) or {}
    except FileNotFoundError as error:
        where = project_dir.resolve()
        raise ProjectError(f"no dbt_project.yml in {where}: run in a dbt project, or pass --project-dir") from error
    except (OSError, yaml.YAMLError) as error:
        raise ProjectError(f"cannot read dbt_project.yml in {project_dir.resolve()}: {error}") from error


def _install(project_dir: Path, project: dict[str, Any], name: str) -> tuple[Path, bool]:
    """Write one of our macro files; its path, and whether it was not there as it is."""
    from reconcile.atomic_files import write_whole

    path = project_dir / (project.get("macro-paths") or ["macros"])[0] / name
    text = (_FOLDER / name).read_text(encoding="utf-8")
    try:
        if path.exists():
            there = path.read_text(encoding="utf-8")
            if there == text:
                return path, False
            if _OURS[name] not in there:
                raise ProjectError(f"{path} exists and was not written by reconcile: rename it, then run this again")
        write_whole(path, text)
    except OSError as error:
        raise ProjectError(f"cannot write {path}: {error.strerror}") from error
    return path, True


def _hook(path: Path, project: dict[str, Any]) -> str:
    """Add the hook to dbt_project.yml, or say what to add; in words."""
    import yaml

    from reconcile.atomic_files import write_whole

    hooks = project.get("on-run-end") or []
    hooks = hooks if isinstance(hooks, list) else [hooks]
    if any("reconcile_record_build(" in str(hook) for hook in hooks):
        return f"{path} records builds already"
    before = path.read_bytes().decode("utf-8")
    after = _with_hook(before, bool(hooks))
    wanted = {**project, "on-run-end": [_HOOK.strip('"'), *hooks]}
    try:
        safe = "\r" not in before and yaml.safe_load(after) == wanted
    except yaml.YAMLError:
        safe = False
    if not safe:
        return f"add this to {path}, for dbt to record its builds:\n{_SECTION}".rstrip()
    try:
        write_whole(path, after)
    except OSError as error:
        raise ProjectError(f"cannot write {path}: {error.strerror}") from error
    return f"{path} records builds now (on-run-end)"


def _with_hook(text: str, has_hooks: bool) -> str:
    """The text of dbt_project.yml with the hook in its first place: dbt skips hooks after one that fails."""
    if not has_hooks:
        text = re.sub(r"^on-run-end:[ \t]*(\[\s*\])?[ \t]*\n", "", text, flags=re.MULTILINE)
        return f"{text.rstrip()}\n\n{_SECTION}"
    return re.sub(
        r"^(on-run-end:[^\n]*\n)((?:[ \t]*(?:#[^\n]*)?\n)*)([ \t]*)- ",
        lambda found: f"{found[1]}{found[2]}{found[3]}- {_HOOK}\n{found[3]}- ",
        text,
        count=1,
        flags=re.MULTILINE,
    )


def _schema(given: dict[str, Any]) -> str:
    """Make the schema in the target's database; what came of it, in words. Not being able to is no failure."""
    from reconcile.commands.options import past_options_of
    from reconcile.dbt.project import profile_connection
    from reconcile.state.database import keeps_state, make_home

    try:
        connection = profile_connection(past_options_of(given))
        if not keeps_state(connection):
            return "build times, proofs and past runs are kept in files: this database has no transactions for them"
        make_home(connection)
    except ReconcileError as error:
        said = "build times, proofs and past runs are kept in files until schema reconcile is made"
        return f"{said} ({error}): run this again, or reconcile check --record"
    return f"schema reconcile is there in the database of target {connection.target}"
