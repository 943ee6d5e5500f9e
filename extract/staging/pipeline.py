"""The pipeline: which posts are due, read them, judge them, load what holds. Reads like its table of contents."""

from __future__ import annotations

import logging
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import dlt
from dlt.common.destination import Destination
from dlt.common.runtime import signals
from dlt.destinations.exceptions import DatabaseUndefinedRelation
from dlt.extract import DltResource
from dlt.pipeline.exceptions import PipelineStepFailed
from dlt.pipeline.progress import TSupportedCollectors

from extract.due import BUDGET, SCHEDULES, due
from extract.errors import ExtractError
from extract.interrupts import interrupts_told
from extract.process_lock import hold
from extract.reading.attempt import Now, PostSource
from extract.reading.post_ids import Network
from extract.sources.files import ExportSource
from extract.staging.bulk_load import load_snapshots
from extract.staging.bulk_rules import BulkLoadRequest
from extract.staging.collect_and_validate import Rows, read_and_judge
from extract.staging.content_changes import Changes, changes_in
from extract.staging.content_columns import Content, ContentScreen
from extract.staging.known_state import candidates, expectations, zeros_held
from extract.staging.tables import DATASET, TABLES, columns, evolved_columns
from extract.summary import Summary

PIPELINE = "engagement"
_KEPT_PACKAGES = 50
log = logging.getLogger("extract")


@dataclass(frozen=True)
class CollectionPlan:
    """How `scheduled` picks, how many posts a run, and what becomes of a content column that staging does not have."""

    schedule: str = SCHEDULES[0]
    budget: int = BUDGET
    new_columns: str = "evolve"


def make_pipeline(destination: Destination[Any, Any], pipelines_dir: Path, progress: str | None = None) -> dlt.Pipeline:
    """The engagement pipeline on a destination; its working folder is shared by all runs of this project.

    ``progress`` names one of dlt's collectors (log, tqdm, ...); None shows none. Raises ExtractError where that folder
    cannot be written.
    """
    try:
        pipelines_dir.mkdir(parents=True, exist_ok=True)
        (pipelines_dir / "engagement.lock").touch()
    except OSError as error:
        raise ExtractError(f"cannot write to {pipelines_dir} ({error.strerror}): fix its rights or its disk") from error
    made: dlt.Pipeline = dlt.pipeline(
        PIPELINE,
        pipelines_dir=str(pipelines_dir),
        destination=destination,
        dataset_name=DATASET,
        progress=cast(TSupportedCollectors | None, progress),  # type: ignore[arg-type]
    )
    return made


def run(
    pipeline: dlt.Pipeline,
    source: PostSource,
    *,
    job: str,
    account: str,
    now: Now,
    plan: CollectionPlan = CollectionPlan(),
    content: Content | None = None,
    run_id: str | None = None,
    tick: Callable[[int, int], None] = lambda done, total: None,
) -> Summary:
    """One job, end to end: content first (it says what was posted), then the readings that are due.

    ``tick`` receives (attempts made, attempts due). Raises ExtractError where the warehouse or the site cannot be
    reached, the counts loaded are not the counts read, or the layout has changed (what was read is loaded by then); a
    wall is no error here, but is in the summary.
    """
    with _prepared(pipeline, job, run_id, content, now, plan) as summary:
        known_posts = candidates(pipeline, source.network)
        if isinstance(source, ExportSource):
            source.check_matches({post.tweet_id for post in known_posts})
        if not known_posts:
            _tell_no_posts(pipeline, source.network)
        chosen = due(job, known_posts, now(), plan.schedule, plan.budget)
        summary.due = len(chosen)
        log.info("Found %d posts to check", len(chosen))
        if chosen:
            posts = [item.candidate for item in chosen]
            known = expectations(pipeline, posts, account, zeros_held(pipeline), source.network)
            _load(pipeline, read_and_judge(source, chosen, known, now, summary, tick), summary)
        if source.wall is not None:
            summary.wall = f"{source.wall.status.value}: {source.wall.detail or 'the site asks to stop'}"
    return summary


def run_bulk(
    pipeline: dlt.Pipeline,
    path: Path,
    *,
    account: str,
    now: Now,
    plan: CollectionPlan = CollectionPlan(),
    content: Content | None = None,
    run_id: str | None = None,
) -> Summary:
    """Load a history of readings from Parquet, after the content; every row of a post of ours is judged.

    Raises ExtractError as ``run`` does; nothing of the file is loaded then.
    """
    with _prepared(pipeline, "backfill", run_id, content, now, plan) as summary:
        loaded_into = BulkLoadRequest(path, account, now(), summary.run_id)
        load_snapshots(pipeline, loaded_into, summary)
        _analyze(pipeline, summary.loaded)
        _check_arrived(pipeline, summary, dict(summary.loaded))
    return summary


@contextmanager
def _prepared(
    pipeline: dlt.Pipeline, job: str, run_id: str | None, content: Content | None, now: Now, plan: CollectionPlan
) -> Iterator[Summary]:
    """What every run begins and ends with: alone, on whole tables, with the newest content; its summary told."""
    refusal = "another `dlt pipeline engagement run` is at work here: wait until it ends"
    # dlt's working folder has no lock
    with interrupts_told(), hold(Path(pipeline.pipelines_dir) / "engagement.lock", f"the job {job}", refusal):
        summary = Summary(job, run_id or uuid.uuid4().hex[:12])
        log.info("Starting %s metrics collection", job)
        _finish_pending(pipeline)
        _ensure_tables(pipeline)
        _check_tables(pipeline)
        if content is not None:
            _load_content(pipeline, content, now(), plan.new_columns, summary)
        yield summary
        _forget_old_packages(pipeline)
        log.info(summary.line(), extra={"fields": summary.told()})
        summary.check()


def _finish_pending(pipeline: dlt.Pipeline) -> None:
    """Load what an interrupted run left behind, before anything new: dlt would otherwise do only that in our run."""
    _clear_after_kills(pipeline)
    if pipeline.has_pending_data:
        log.info("Loading the package that an earlier run left behind")
        _run(pipeline, None)


def _clear_after_kills(pipeline: dlt.Pipeline) -> None:
    """Fix what dlt was killed while making or deleting, on which every later run would fail.

    dlt makes the folders of its load storage one by one, and takes them for whole as soon as the first is there. It
    commits a normalized package, then deletes the extracted one file by file: what is normalized by now, or holds
    nothing, goes. Both found by the kills of tests/extract/staging/test_pipeline.py.
    """
    load = Path(pipeline.working_dir) / "load"
    if load.exists():
        for name in ("new", "normalized", "loaded"):
            (load / name).mkdir(exist_ok=True)
    kept = {*pipeline.list_normalized_load_packages(), *pipeline.list_completed_load_packages()}
    for load_id in pipeline.list_extracted_load_packages():
        folder = Path(pipeline.working_dir) / "normalize" / "extracted" / load_id
        holds_nothing = not (folder / "schema.json").exists() and not any((folder / "new_jobs").glob("*"))
        if load_id in kept or holds_nothing:
            log.info("Clearing away extracted package %s, whose deletion was interrupted", load_id)
            shutil.rmtree(folder)


def _forget_old_packages(pipeline: dlt.Pipeline) -> None:
    """Keep dlt's folders of the latest completed packages, and of those of which rows were refused: dlt keeps all, for
    ever, which is 6 GB a year of jobs every ten minutes.
    """
    for load_id in sorted(pipeline.list_completed_load_packages())[:-_KEPT_PACKAGES]:
        if not pipeline.list_failed_jobs_in_package(load_id):
            shutil.rmtree(Path(pipeline.working_dir) / "load" / "loaded" / load_id, ignore_errors=True)


def _ensure_tables(pipeline: dlt.Pipeline) -> None:
    """Create the raw tables empty, so that what reads them is green before the first reading."""
    if pipeline.first_run or not set(TABLES) <= set(pipeline.default_schema.tables):
        _run(pipeline, raw_tables({table: [] for table in TABLES}))


def _check_tables(pipeline: dlt.Pipeline) -> None:
    """That dlt has made a table does not mean that it is there; without it nothing would be due, for ever."""
    table = ""
    with pipeline.sql_client() as client:
        try:
            for table in TABLES:
                client.execute_sql(f"select 1 from {DATASET}.{table} where 1 = 0")
        except DatabaseUndefinedRelation as error:
            raise ExtractError(
                f"the table {DATASET}.{table} is missing from the warehouse, where earlier runs made it. Restore it "
                f"from a backup; or, to have it made empty, delete all rows of {DATASET}._dlt_version and "
                f"{DATASET}._dlt_pipeline_state, remove the folder {pipeline.working_dir}, and run again"
            ) from error


def _tell_no_posts(pipeline: dlt.Pipeline, network: Network) -> None:
    with pipeline.sql_client() as client:
        [[count]] = client.execute_sql(f"select count(*) from {DATASET}.content_metadata") or [[0]]
    if count:
        log.warning(
            "content_metadata holds %d decisions, but none that is posted, with posted_at and an id of network %s: "
            "nothing can be read before the posting bot writes these",
            *(count, network.value),
        )
    else:
        log.warning(
            "content_metadata holds no posts: load some with --content FILE, or set content or content_table under "
            "[sources.engagement]"
        )


@dlt.source(name=PIPELINE)
def raw_tables(rows: dict[str, Rows], told: dict[str, Any] | None = None) -> Iterable[DltResource]:
    """The raw tables with the rows to add to each; a table without rows is created where it does not exist yet.

    ``told`` (a run's counts and rates) is in the load's trace, as the tables' custom metrics.
    """
    for table, found in rows.items():
        yield _table(table, found, told or {})


def _table(table: str, rows: Rows, told: dict[str, Any]) -> DltResource:
    """A raw table's resource. Delete-insert on our own id is exactly-once under kill -9 at any point (measured)."""

    def produce() -> Iterator[Any]:
        dlt.current.resource_metrics().update({"rows_in": len(rows), **told})
        yield rows or dlt.mark.materialize_table_schema()

    return dlt.resource(
        produce,
        name=table,
        primary_key=TABLES[table][0],
        write_disposition={"disposition": "merge", "strategy": "delete-insert"},
        columns=columns(table),
        # a value of another type never makes a second column: what does not fit was refused before, row by row
        schema_contract={"columns": "evolve" if table == "content_metadata" else "freeze", "data_type": "freeze"},
    )


def _load_content(pipeline: dlt.Pipeline, content: Content, now: datetime, new_columns: str, summary: Summary) -> None:
    screen = ContentScreen(_content_types(pipeline), new_columns)
    refused: Rows = []
    fitting: Rows = []
    for table, row in screen.rows(content(), now):
        (refused if table == "quarantined_content" else fitting).append(row)
    found = _content_changes(pipeline, fitting, now)
    summary.content_rows, summary.content_refused = len(found.rows), len(refused)
    if found.rows or refused:
        loading = raw_tables({"content_metadata": list(found.rows.values()), "quarantined_content": refused})
        loading.resources["content_metadata"].apply_hints(columns=evolved_columns(screen.learned))
        _run(pipeline, loading)
        _analyze(pipeline, ("content_metadata", "quarantined_content"))
        lost = _content_changes(pipeline, list(found.rows.values()), now).rows
        if lost:
            raise ExtractError(
                f"{len(lost)} of {len(found.rows)} decisions are not in {DATASET}.content_metadata as they were "
                f"loaded, {next(iter(lost))} among them: the load is kept, look at its trace"
            )
    older = f", {found.older} older than what staging holds" if found.older else ""
    log.info(
        "Content: %d new or changed decisions, %d unchanged%s, %d refused",
        *(len(found.rows), found.unchanged, older, len(refused)),
    )
    if refused and not fitting:  # told at the end: the posts that are known are still read
        summary.trouble = ExtractError(
            f"all {len(refused)} rows of the content are refused, the first because {refused[0]['reason']}: they are "
            f"in {DATASET}.quarantined_content; fix the file or table, and run again"
        )


def _content_changes(pipeline: dlt.Pipeline, rows: Rows, now: datetime) -> Changes:
    with pipeline.sql_client() as client:
        return changes_in(rows, _content_types(pipeline), lambda query, ids: client.execute_sql(query, *ids) or [], now)


def _content_types(pipeline: dlt.Pipeline) -> dict[str, str]:
    """The columns that content_metadata has by now beyond ours, with dlt's type of each."""
    table = pipeline.default_schema.tables["content_metadata"]["columns"]
    return {name: str(column["data_type"]) for name, column in table.items() if column.get("data_type")}


def _load(pipeline: dlt.Pipeline, rows: dict[str, Rows], summary: Summary) -> None:
    """Load every table of a run in one package, and prove that what went in came out."""
    if not rows:
        return
    _run(pipeline, raw_tables(rows, summary.told()))
    expected = {name: len(found) for name, found in rows.items()}
    _analyze(pipeline, rows)
    _check_arrived(pipeline, summary, expected)


def _check_arrived(pipeline: dlt.Pipeline, summary: Summary, expected: dict[str, int]) -> None:
    summary.loaded = _arrived(pipeline, expected, summary.run_id)
    if summary.loaded != expected:
        raise ExtractError(f"read {expected} rows but loaded {summary.loaded}: the load is kept, look at its trace")


def _arrived(pipeline: dlt.Pipeline, tables: Iterable[str], run_id: str) -> dict[str, int]:
    """The rows of this run that are in the warehouse, counted there."""
    found = {}
    with pipeline.sql_client() as client:
        for table in tables:
            counted = client.execute_sql(f"select count(*) from {DATASET}.{table} where run_id = %s", run_id)
            found[table] = int(counted[0][0]) if counted else 0
    return found


def _analyze(pipeline: dlt.Pipeline, tables: Iterable[str]) -> None:
    """Give Postgres statistics of what was just loaded: builds right after a load are planned on them."""
    with pipeline.sql_client() as client:
        if client.capabilities.sqlglot_dialect == "postgres":
            for table in tables:
                client.execute_sql(f"analyze {DATASET}.{table}")


def row_counts(pipeline: dlt.Pipeline) -> dict[str, int]:
    trace = pipeline.last_trace
    normalized = trace.last_normalize_info if trace else None
    return dict(normalized.row_counts) if normalized else {}


def _run(pipeline: dlt.Pipeline, data: Any) -> None:
    try:
        with _signals_let_through():
            pipeline.run(data)
    except PipelineStepFailed as error:
        refused = _refused(pipeline)
        if refused is not None:
            raise ExtractError(refused) from error
        reason = _words_of(str(error.exception or error))
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
    reason = _words_of(job.failed_message or "")
    return (
        f"the warehouse refused rows of {job.job_file_info.table_name}: {reason}. What was to be loaded is kept in "
        f"{Path(job.file_path).parent}, and its posts stay due: fix the cause, then run again"
    )


@contextmanager
def _signals_let_through() -> Iterator[None]:
    """dlt holds a signal back until a load ends, and forgets it where that ends well: Ctrl-C and SIGTERM would be lost.

    A load may be interrupted at any moment: tests/extract/staging/test_pipeline.py kills it.
    """
    intercepted = signals.intercepted_signals
    signals.intercepted_signals = nullcontext  # type: ignore[assignment]
    try:
        yield
    finally:
        signals.intercepted_signals = intercepted


def _words_of(message: str) -> str:
    """The database's own words out of what dlt says, which may be a traceback that ends with them."""
    named = re.findall(r"^[\w.]+(?:Exception|Error|[a-z][A-Z]\w+): (.+)$", message, re.MULTILINE)
    lines = [named[-1]] if named else message.strip().splitlines()
    return lines[0].strip()[:300] if lines else "it does not say why"
