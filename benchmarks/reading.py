"""What a reading costs: CPU and memory a post by way of reading, and the fixed cost of a job of twenty posts by part.

    uv run benchmarks/reading.py [--posts 200] [--runs 3]

The peer is what the old scraper did, a browser opened anew for each post, in the same run on the same local site,
which is a separate process and not counted. CPU is of this process and all it started (driver, browser). Machines are
noisy: compare the ratios and medians.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import httpx
import psutil

from extract.reading.attempt import Attempt, PostSource
from extract.reading.record import READ
from extract.site.account import HANDLE
from extract.sources.browser import BrowserSource
from extract.sources.chromium import Chromium, find_chromium
from extract.sources.http import HttpSource

LIMITS = {"timeline": 20, "four pages": 95}  # CPU ms a post
_JOB = """
import sys, time
began = time.process_time()
import dlt
from pathlib import Path
from extract.run import collect
from extract.settings import Settings
read = time.process_time()
folder = Path(sys.argv[1])
settings = Settings(source="http", base_url=sys.argv[2], content=str(folder / "content.jsonl"))
destination = dlt.destinations.duckdb(str(folder / "w.duckdb"), destination_name="warehouse")
done = collect(destination, folder / "pipelines", settings, "scheduled")
print(began, read - began, time.process_time() - read, done.updated)
"""


@contextmanager
def local_site() -> Iterator[str]:
    """A local site in a separate process; its address."""
    command = [str(Path(sys.executable).parent / "extract"), "site", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()[0].removesuffix(f"/{HANDLE}")
        process.terminate()


def spent(site: int) -> tuple[float, float]:
    """CPU seconds and memory (PSS, MB) of this process and all it started, but for the site's."""
    seconds = memory = 0.0
    me = psutil.Process()
    for process in [me, *me.children(recursive=True)]:
        if process.pid == site:
            continue
        try:
            times = process.cpu_times()
            seconds += times.user + times.system
            memory += process.memory_full_info().pss / 1e6
        except psutil.NoSuchProcess:
            continue
    return seconds, memory


@dataclass(frozen=True)
class Cost:
    """CPU ms a post with the start of the browser in it, the same from the first reading on, and memory in MB."""

    whole: float
    further: float
    memory: float


def read(source: PostSource, wanted: Sequence[str], site: int) -> Cost:
    before = spent(site)[0]
    first = last = memory = 0.0
    count = 0
    for item in source.collect(wanted):
        if isinstance(item, Attempt):
            assert item.reading.status in READ, item
            count += 1
            if count in (1, len(wanted)):
                last, memory = spent(site)
            first = first or last
    return Cost((last - before) / count * 1e3, (last - first) / max(count - 1, 1) * 1e3, memory)


def anew(base: str, chromium: Chromium, wanted: Sequence[str], site: int) -> float:
    """CPU ms a post of a browser opened for each: the processes are gone afterwards, so each is looked at in turn."""
    total = 0.0
    for tweet_id in wanted:
        source = BrowserSource(base, HANDLE, lambda: datetime.now(UTC), chromium)
        before, _ = spent(site)
        for item in source.reread([tweet_id]):
            assert item.reading.status in READ, item
            total += spent(site)[0] - before
    return total / len(wanted) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--posts", type=int, default=200)
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    chromium = find_chromium()
    if chromium is None:
        sys.exit("no Chromium was found: see docs/reference/collecting.md")
    found: dict[str, list[float]] = {}
    most = 0.0
    with local_site() as base:
        [site] = [child.pid for child in psutil.Process().children()]
        rows = [json.loads(line) for line in httpx.get(f"{base}/export/content_metadata.jsonl").text.splitlines()]
        there = {line.split(",")[0] for line in httpx.get(f"{base}/export/content.csv").text.splitlines()}
        posts = [row for row in rows if row["tweet_id"] in there]
        # the timeline shows everything but replies, whose pages are opened
        shown = [row["tweet_id"] for row in posts if row["decision_type"] != "reply"][: asked.posts]
        opened = [row["tweet_id"] for row in posts if row["decision_type"] == "reply"][: asked.posts]
        clock = lambda: datetime.now(UTC)  # noqa: E731
        for _ in range(asked.runs):
            made = {
                "timeline": read(BrowserSource(base, HANDLE, clock, chromium), shown, site),
                "four pages": read(BrowserSource(base, HANDLE, clock, chromium), opened, site),
                "http": read(HttpSource(base, HANDLE, clock), opened, site),
            }
            for name, cost in made.items():
                found.setdefault(name, []).append(cost.further)
                found.setdefault(f"{name}, start included", []).append(cost.whole)
                most = max(most, cost.memory)
            found.setdefault("a browser a post", []).append(anew(base, chromium, opened[:4], site))
        _job(base, asked.runs)
    peer = median(found["a browser a post"])
    print(f"{'way':<26} {'CPU ms a post':>14} {'limit':>6} {'of a browser a post':>20}")
    for name, costs in found.items():
        limit = LIMITS.get(name, "")
        print(f"{name:<26} {median(costs):>14.1f} {limit:>6} {median(costs) / peer:>19.0%}")
    print(f"memory at most {most:.0f} MB (limit 600)")


def _job(base: str, runs: int) -> None:
    """CPU seconds of a job of twenty posts over HTTP, each in a fresh process on a DuckDB warehouse that is there."""
    parts = []
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "content.jsonl").write_text(httpx.get(f"{base}/export/content_metadata.jsonl").text)
        for _ in range(runs + 1):
            done = subprocess.run(
                [sys.executable, "-c", _JOB, folder, base], capture_output=True, text=True, check=True
            )
            *seconds, updated = done.stdout.split()
            assert updated == "20", done.stderr
            parts.append([float(part) for part in seconds])
    python, imports, job = (median(column) for column in zip(*parts[1:], strict=True))  # the first makes the tables
    whole = f"a 20-post job without browser: {python + imports + job:.1f} CPU s (limit 4)"
    print(f"{whole}: {python:.1f} Python, {imports:.1f} importing, {job:.1f} content, reading, judging, loading")


if __name__ == "__main__":
    main()
