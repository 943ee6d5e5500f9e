"""The state of a dbt project that is not parsed: its past runs can be read without a compiled model."""

from __future__ import annotations

import logging

from reconcile.dbt.project import Options, profile_connection, root_of
from reconcile.errors import ReconcileError
from reconcile.state.folder import FolderState, state_folder
from reconcile.state.project_state import open_state
from reconcile.state.store import State

log = logging.getLogger("reconcile")


def state_of(options: Options) -> State:
    """The state on the target of the options; that of the folder alone where the profile gives no database."""
    try:
        root = root_of(options.project_dir)
        connection = profile_connection(options)
        return open_state(connection, root, project_name(options), options.state_dir, options.keep_days)
    except ReconcileError as error:
        log.info("only past runs in files are known: %s", error)
        return FolderState(state_folder(options.project_dir, options.state_dir))


def project_name(options: Options) -> str:
    """The project's name in dbt_project.yml; "" where it has none."""
    import yaml

    path = root_of(options.project_dir) / "dbt_project.yml"
    try:
        return str((yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("name", ""))
    except (OSError, yaml.YAMLError, AttributeError):
        return ""
