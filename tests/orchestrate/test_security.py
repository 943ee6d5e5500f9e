"""No password in any output, file or process list; no name that a project or a file brings reaches SQL unquoted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import Database, command

CANARY = "c4n4ry%41@:/x"
SPELLINGS = (CANARY, "c4n4ry%2541%40%3A%2Fx", "c4n4ry%2541%40:/x", "c4n4ryA@:/x", "c4n4ry")


class Watched:
    """The command lines of all processes, looked at again and again."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._stop.wait(0.05):
            for process in psutil.process_iter(["cmdline"]):
                line = " ".join(process.info["cmdline"] or [])
                if "c4n4ry" in line:
                    self.seen.add(line)

    def __enter__(self) -> Watched:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def leaks(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            yield from (f"{path.relative_to(folder)}: {s}" for s in SPELLINGS if s.encode() in content)


@pytest.mark.long
def test_a_password_is_in_no_output_no_file_and_no_process_list(clone: Path, database: Database) -> None:
    """Every kind of secret there is, in runs that do well and in runs that fail."""
    secrets = {
        "PGPASSWORD": CANARY,
        "SOURCES__ENGAGEMENT__XAPI_BEARER_TOKEN": CANARY,
        "SOURCES__ENGAGEMENT__CONTENT_CREDENTIALS": f"postgresql://me:{'c4n4ry%2541%40%3A%2Fx'}@127.0.0.1:1/bot",
        "SOURCES__LEGACY__CREDENTIALS": f"postgresql://me:{'c4n4ry%2541%40%3A%2Fx'}@127.0.0.1:1/old",
        "HEALTH__WEBHOOK": f"http://127.0.0.1:1/{CANARY}",
    }
    here = {"PGHOST": database.host, "PGDATABASE": database.name, "PGUSER": "postgres"}
    away = {"PGHOST": "127.0.0.1", "PGPORT": "1", "PGDATABASE": "x", "PGUSER": "postgres"}
    collect = ("dlt", "pipeline", "engagement", "run", "--target", "postgres")
    runs: list[tuple[int, dict[str, str], tuple[str, ...]]] = [
        (0, here, (*collect, "--source", "http")),
        (0, here, (*collect, "--source", "xapi", "--log-format", "json")),
        (2, here | {"SOURCES__ENGAGEMENT__CONTENT_TABLE": "content"}, (*collect, "--source", "http")),
        (2, away, (*collect, "--source", "http")),
        (0, here, ("dbt", "run", "--target", "postgres", "--debug", "-s", "+tweet_metrics")),
        (0, here, ("reconcile", "check", "--target", "postgres", "-s", "tweet_metrics", "--report", "html=drift.html")),
        (2, away, ("reconcile", "check", "--target", "postgres", "--log-format", "json")),
        (1, here, ("levelset", "health", "--target", "postgres", "--output", "json", "--prometheus", "health.prom")),
        (2, here, ("levelset", "backfill", "--target", "postgres")),
    ]
    with Watched() as watched:
        for code, where, arguments in runs:
            done = command(*arguments, cwd=clone, **secrets, **where)
            assert done.returncode == code, (arguments, done.stdout[-600:], done.stderr[-600:])
            found = [spelling for spelling in SPELLINGS if spelling in done.stdout + done.stderr]
            assert not found, (arguments, found, done.stderr)
            if arguments[0] != "dbt":
                assert "Traceback" not in done.stderr, arguments
    assert list(leaks(clone)) == []
    assert watched.seen == set()
