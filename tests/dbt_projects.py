"""Small dbt projects written by tests, and dbt run on them in this process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb
import yaml

from orchestrate.dbt import environment
from tests.conftest import Database


@dataclass
class DbtProject:
    """A dbt project on one warehouse: a Postgres database or a DuckDB file."""

    folder: Path
    database: Database | None

    @property
    def duckdb_file(self) -> Path:
        return self.folder / "warehouse.duckdb"

    def write(self, files: dict[str, str]) -> None:
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def profile(self, name: str = "shop") -> None:
        output: dict[str, object] = {"type": "duckdb", "path": str(self.duckdb_file), "schema": "main", "threads": 2}
        if self.database is not None:
            output = {
                "type": "postgres",
                "host": self.database.host,
                "port": 5432,
                "user": "postgres",
                "password": "",
                "dbname": self.database.name,
                "schema": "public",
                "threads": 2,
            }
        body = {name: {"target": "dev", "outputs": {"dev": output}}}
        (self.folder / "profiles.yml").write_text(yaml.safe_dump(body))

    def run(self, *statements: str) -> None:
        if self.database is not None:
            self.database.run(*statements)
            return
        with duckdb.connect(str(self.duckdb_file)) as connection:
            for statement in statements:
                connection.execute(statement)

    def rows(self, query: str) -> list[tuple[object, ...]]:
        if self.database is not None:
            return self.database.rows(query)
        with duckdb.connect(str(self.duckdb_file)) as connection:
            return connection.execute(query).fetchall()

    def dbt(self, *arguments: str, **variables: str) -> None:
        """Run dbt on the project; fails the test with dbt's words where it fails."""
        from dbt.cli.main import dbtRunner

        where = ["--project-dir", str(self.folder), "--profiles-dir", str(self.folder)]
        with environment(variables):
            outcome = dbtRunner().invoke([*arguments, *where, "--quiet", "--log-level", "none"])
        results = getattr(outcome.result, "results", None) or []
        failed = [f"{r.node.name}: {r.message}" for r in results if str(r.status) in ("error", "fail")]
        assert outcome.exception is None, outcome.exception
        assert not failed, "\n".join(failed)
