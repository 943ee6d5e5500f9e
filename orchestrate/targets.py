"""The three targets of profiles.yml as seen by each part: a dlt destination, and the environment dbt reads."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrate.errors import Trouble
from orchestrate.servers.location import DATABASE, PORT, USER, locate
from orchestrate.servers.postgres import start

if TYPE_CHECKING:
    from dlt.common.destination import Destination

TARGETS = ("embedded", "postgres", "duckdb")
DUCKDB_FILE = "levelset.duckdb"
# between two loads; not the raw schema's name with a suffix, which reads like a second raw schema
_MERGE_SCHEMA = "_dlt_merge"


@dataclass(frozen=True)
class Target:
    """One target of this project. ``url`` is for people and reports: it never holds a password."""

    name: str
    project: Path

    @property
    def duckdb_file(self) -> Path:
        """Where loader, builder and reconciler find the target duckdb: LEVELSET_DUCKDB, as profiles.yml reads it."""
        return self.project / (os.environ.get("LEVELSET_DUCKDB") or DUCKDB_FILE)

    @property
    def url(self) -> str:
        if self.name == "duckdb":
            return str(self.duckdb_file)
        host, port, user, database = self._server()
        return f"postgresql://{user}@/{database}?host={host}&port={port}"

    def environment(self) -> dict[str, str]:
        """What dbt and reconcile must find in the environment, absolute paths included."""
        found = {"DBT_TARGET": self.name, "LEVELSET_DUCKDB": str(self.duckdb_file)}
        if self.name == "embedded":
            found["PGHOST"] = str(start(self.project).socket)
        return found

    def destination(self) -> Destination[Any, Any]:
        """The dlt destination; starts the embedded server where it sleeps."""
        import dlt

        options: dict[str, Any] = {"destination_name": "warehouse", "staging_dataset_name_layout": _MERGE_SCHEMA}
        if self.name == "duckdb":
            return dlt.destinations.duckdb(str(self.duckdb_file), **options)
        if self.name == "embedded":
            start(self.project)
        # a unique index on _dlt_id would stop the rerun of a load that was killed after its commit
        return dlt.destinations.postgres(self.dlt_credentials(), create_indexes=False, **options)

    def dlt_credentials(self) -> str:
        """A URL as dlt wants it: a socket needs a host part beside the ``host`` parameter."""
        from urllib.parse import quote

        host, port, user, database = self._server()
        if self.name == "embedded":
            host = str(locate(self.project).alias)
        password = os.environ.get("PGPASSWORD", "") if self.name == "postgres" else ""
        address = f"localhost:{port}/{database}?host={quote(host, safe='/')}" if host.startswith("/") else None
        return f"postgresql://{quote(user)}:{quote(password or 'none')}@{address or f'{host}:{port}/{database}'}"

    def pipelines_dir(self) -> Path:
        """dlt's working folder. The default target's is where `dlt pipeline` itself looks in this project."""
        name = "pipelines" if self.name == default_target_name() else f"pipelines-{self.name}"
        return data_folder(self.project) / name

    def _server(self) -> tuple[str, str, str, str]:
        if self.name == "embedded":
            return str(locate(self.project).socket), str(PORT), USER, DATABASE
        env = os.environ.get
        return env("PGHOST", "localhost"), env("PGPORT", "5432"), env("PGUSER", USER), env("PGDATABASE", DATABASE)


def default_target_name() -> str:
    return os.environ.get("DBT_TARGET") or "embedded"


def data_folder(project: Path) -> Path:
    """Where dlt keeps this clone's pipelines: two clones on one machine must not share them."""
    return Path(os.environ.get("DLT_DATA_DIR") or project / ".levelset" / "dlt")


def choose(project: Path, name: str | None) -> Target:
    """The target of that name, or the default one. Raises Trouble for a name that profiles.yml does not have."""
    chosen = name or default_target_name()
    if chosen == "lake":
        raise Trouble(
            f"nothing is collected into the lake itself: name one of {', '.join(TARGETS)}; "
            "`levelset copy` brings staging there"
        )
    if chosen not in TARGETS:
        raise Trouble(f"no target {chosen!r} in profiles.yml: one of {', '.join(TARGETS)}")
    return Target(chosen, project)
