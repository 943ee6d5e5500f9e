"""The pipeline: which posts are due, read them, judge them, load what holds. Reads like its table of contents."""

from __future__ import annotations

import fcntl
import logging
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import dlt
from dlt.common.destination import Destination
from dlt.extract import DltResource
from dlt.pipeline.exceptions import PipelineStepFailed

from extract.attempt import Now, Profile, Source
from extract.content import screen_content
from extract.due import Due, due
from extract.errors import ExtractError
from extract.history import candidates, expectations
from extract.record import READ
from extract.staging import DATASET, TABLES, columns, follower_row, snapshot_row
from extract.validate import Verdict, judge

PIPELINE = "engagement"
_TOLD_EACH = 50  # a scheduled job tells every post; a backfill of thousands does not
log = logging.getLogger("extract")

Rows = list[dict[str, Any]]
ContentRows = Iterable[tuple[int, str, dict[str, Any] | None]]


@dataclass
class Summary:
    """What a run came to. ``updated``: accepted readings; ``held``: suspect or rejected; ``failed``: read nothing."""

    job: str
    run_id: str
    due: int = 0
    updated: int = 0
    held: int = 0
    failed: int = 0
    content_rows: int = 0
    content_refused: int = 0
    wall: str | None = None
    loaded: dict[str, int] = field(default_factory=dict)

    @property
    def skipped(self) -> int:
        """Due, but not asked for: the site's wall came first. Held readings count too: they update nothing."""
        return self.due - self.updated - self.failed

    def line(self) -> str:
        ending = f" (stopped: {self.wall})" if self.wall else ""
        held = f", {self.held} of them held in quarantine" if self.held else ""
        counts = f"{self.updated} updated, {self.skipped} skipped{held}, {self.failed} failed"
        return f"Metrics collection complete: {counts}{ending}"


def make_pipeline(destination: Destination[Any, Any], pipelines_dir: Path) -> dlt.Pipeline:
    """The engagement pipeline on a destination; its working folder is shared by all runs of this project.

    Raises ExtractError where that folder cannot be written.
    """
    try:
        pipelines_dir.mkdir(parents=True, exist_ok=True)
        (pipelines_dir / "engagement.lock").touch()
    except OSError as error:
        raise ExtractError(
            f"cannot write to {pipelines_dir} ({error.strerror}): mend its rights or its disk"
        ) from error
    made: dlt.Pipeline = dlt.pipeline(
        PIPELINE, pipelines_dir=str(pipelines_dir), destination=destination, dataset_name=DATASET
    )
    return made


def run(
    pipeline: dlt.Pipeline,
    source: Source,
    *,
    job: str,
    account: str,
    now: Now,
    content: ContentRows | None = None,
    tick: Callable[[int, int], None] = lambda done, total: None,
) -> Summary:
    """One job, end to end: content first (it says what was posted), then the readings that are due.

    ``tick`` is told (attempts made, attempts due). Raises ExtractError where the warehouse or the site cannot be
    reached or the counts loaded are not the counts read; a wall is no error here, but stands in the summary.
    """
    with _alone(Path(pipeline.pipelines_dir)):
        summary = Summary(job, run_id=uuid.uuid4().hex[:12])
        log.info("Starting %s metrics collection", job)
        _finish_pending(pipeline)
        _ensure_tables(pipeline)
        if content is not None:
            _load_content(pipeline, content, now(), summary)
        chosen = due(job, candidates(pipeline), now())
        summary.due = len(chosen)
        log.info("Found %d posts to check", len(chosen))
        if chosen:
            _load(pipeline, _collect(pipeline, source, chosen, account, now, summary, tick), summary)
        if source.wall is not None:
            summary.wall = f"{source.wall.status.value}: {source.wall.detail or 'the site asks to stop'}"
        log.info(summary.line())
        return summary


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the project's extract lock: dlt's working folder has none of its own. Leaves at once where it is taken."""
    with (folder / "engagement.lock").open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ExtractError("another `dlt pipeline engagement run` is at work here: wait until it ends") from None
        yield


def _finish_pending(pipeline: dlt.Pipeline) -> None:
    """Load what an interrupted run left behind, before anything new: dlt would otherwise do only that in our run."""
    if pipeline.has_pending_data:
        log.info("Loading the package that an earlier run left behind")
        _run(pipeline, None)


def _ensure_tables(pipeline: dlt.Pipeline) -> None:
    """Create the raw tables empty, so that what reads them is green before the first reading."""
    if pipeline.first_run or not set(TABLES) <= set(pipeline.default_schema.tables):
        _run(pipeline, raw_tables({table: [] for table in TABLES}))


@dlt.source(name=PIPELINE)
def raw_tables(rows: dict[str, Rows]) -> Iterable[DltResource]:
    """The raw tables with the rows to add to each; a table without rows is created where it does not exist yet."""
    for table, found in rows.items():
        yield _table(table, found)


def _table(table: str, rows: Rows) -> DltResource:
    """A raw table's resource. Delete-insert on our own id is exactly-once under kill -9 at any point (measured)."""

    def produce() -> Iterator[Any]:
        yield rows or dlt.mark.materialize_table_schema()

    return dlt.resource(
        produce,
        name=table,
        primary_key=TABLES[table][0],
        write_disposition={"disposition": "merge", "strategy": "delete-insert"},
        columns=columns(table),
    )


def _load_content(pipeline: dlt.Pipeline, content: ContentRows, now: datetime, summary: Summary) -> None:
    screened: dict[str, Rows] = {"content_metadata": [], "quarantined_content": []}
    for table, row in screen_content(content, now):
        screened[table].append(row)
    summary.content_refused = len(screened["quarantined_content"])

    loading = raw_tables(screened)
    loading.resources["content_metadata"].apply_hints(
        incremental=dlt.sources.incremental("updated_at", on_cursor_value_missing="include")
    )
    _run(pipeline, loading)
    _analyze(pipeline, screened)
    summary.content_rows = _row_counts(pipeline).get("content_metadata", 0)
    log.info("Content: %d new or changed decisions, %d refused", summary.content_rows, summary.content_refused)


def _collect(
    pipeline: dlt.Pipeline,
    source: Source,
    chosen: list[Due],
    account: str,
    now: Now,
    summary: Summary,
    tick: Callable[[int, int], None],
) -> dict[str, Rows]:
    """Read and judge every due post; returns the rows by table. Nothing is dropped: each attempt is one row."""
    by_id = {item.candidate.tweet_id: item for item in chosen}
    known = expectations(pipeline, [item.candidate for item in chosen], account)
    rows: dict[str, Rows] = {name: [] for name in TABLES}
    each = logging.INFO if len(chosen) <= _TOLD_EACH else logging.DEBUG
    for item in source.collect(list(by_id)):
        if isinstance(item, Profile):
            rows["follower_snapshots"].append(follower_row(item, source.name, summary.run_id))
            continue
        log.debug("Scraping %s", item.wanted)
        judgement = judge(item, known[item.wanted], now())
        row = snapshot_row(item, by_id[item.wanted], judgement, source.name, summary.run_id)
        held = judgement.verdict in (Verdict.SUSPECT, Verdict.REJECTED)
        rows["quarantined_metrics" if held else "real_tweet_metrics"].append(row)
        if held:
            summary.held += 1
            log.warning("Held %s: %s", item.wanted, "; ".join(judgement.reasons))
        elif item.reading.status in READ:
            summary.updated += 1
            log.log(each, "Updated %s: %s likes, %s views", item.wanted, row["likes"], row["views"])
        else:
            summary.failed += 1
            log.log(each, "No counters for %s: %s", item.wanted, item.reading.status.value)
        tick(sum(map(len, (rows["real_tweet_metrics"], rows["quarantined_metrics"]))), len(chosen))
    return {name: found for name, found in rows.items() if found}


def _load(pipeline: dlt.Pipeline, rows: dict[str, Rows], summary: Summary) -> None:
    """Load every table of a run in one package, and prove that what went in came out."""
    if not rows:
        return
    _run(pipeline, raw_tables(rows))
    summary.loaded = {name: count for name, count in _row_counts(pipeline).items() if name in TABLES}
    expected = {name: len(found) for name, found in rows.items()}
    _analyze(pipeline, rows)
    if summary.loaded != expected:
        raise ExtractError(f"read {expected} rows but loaded {summary.loaded}: the load is kept, look at its trace")


def _analyze(pipeline: dlt.Pipeline, tables: Iterable[str]) -> None:
    """Give Postgres statistics of what was just loaded: builds right after a load are planned on them."""
    with pipeline.sql_client() as client:
        if client.capabilities.sqlglot_dialect == "postgres":
            for table in tables:
                client.execute_sql(f"analyze {DATASET}.{table}")


def _row_counts(pipeline: dlt.Pipeline) -> dict[str, int]:
    trace = pipeline.last_trace
    normalized = trace.last_normalize_info if trace else None
    return dict(normalized.row_counts) if normalized else {}


def _run(pipeline: dlt.Pipeline, data: Any) -> None:
    try:
        pipeline.run(data)
    except PipelineStepFailed as error:
        refused = _refused(pipeline)
        if refused is not None:
            raise ExtractError(refused) from error
        reason = str(error.exception or error).strip().splitlines()[0][:300]
        raise ExtractError(
            f"the load stopped at {error.step}: {reason}. Nothing is lost: the next run loads what this one left"
        ) from error


def _refused(pipeline: dlt.Pipeline) -> str | None:
    """What the warehouse refused for good, and where it is kept: dlt gives such a package up, and loads the next."""
    packages = sorted(pipeline.list_completed_load_packages())
    jobs = pipeline.list_failed_jobs_in_package(packages[-1]) if packages and not pipeline.has_pending_data else []
    if not jobs:
        return None
    job = jobs[0]
    said = [line for line in (job.failed_message or "").splitlines() if "Exception: " in line]
    reason = said[-1].split("Exception: ", 1)[1][:300] if said else "it does not say why"
    return (
        f"the warehouse refused rows of {job.job_file_info.table_name}: {reason}. What was to be loaded is kept in "
        f"{Path(job.file_path).parent}, and its posts stay due: mend the cause, then run again"
    )
