"""Whether all is well with a warehouse that runs unattended: what is looked at, against limits that can be set."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from orchestrate.errors import Trouble
from orchestrate.targets import Target
from reconcile import history, write_file

log = logging.getLogger("orchestrate")


class State(StrEnum):
    """The level of one health check; the worst level of all checks is that of the whole."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


_WORST_FIRST = (State.FAIL, State.WARN, State.OK)
# check -> (warn from, fail from); set under [health] as open_drift = [1, 1]. Freshness by the field's habit: twice and
# four times the schedule.
LIMITS: dict[str, tuple[float, float]] = {
    "overdue": (2, 4),  # turns of its schedule that a post has waited
    "loads": (1, 2),  # 1: a package waits for the next run, 2: rows were refused for good
    "quarantined": (0.05, 0.2),  # share of the last day's readings
    "zeros": (1, 2),  # posts held in the last day for a fall to 0: several at once are the site's fault
    "open_drift": (1, 1),  # models whose latest verdict is drift
    "unproven": (24, 72),  # hours since a model was last judged level or drifted
    "slot_lag": (1024, 4096),  # MB of WAL that our replication slots hold back
    "disk_used": (0.9, 0.95),  # share of the disk that the project lies on
}


@dataclass(frozen=True)
class HealthCheck:
    """One check: the value that was found (None: there is nothing to measure), and what it means in words."""

    check: str
    state: State
    value: float | None
    said: str


@dataclass(frozen=True)
class Health:
    """Every finding at an instant (ISO 8601, UTC)."""

    target: str
    at: str
    findings: tuple[HealthCheck, ...]

    @property
    def state(self) -> State:
        return next(s for s in _WORST_FIRST if s is State.OK or any(f.state is s for f in self.findings))

    @property
    def exit_code(self) -> int:
        """1 where something fails; a warning is worth a look, not an alarm."""
        return 1 if self.state is State.FAIL else 0

    def as_dict(self) -> dict[str, Any]:
        return {"state": self.state.value, **asdict(self)}

    def prometheus(self) -> str:
        """The findings in Prometheus' text format, for a text file collector."""
        states = "".join(
            f'levelset_health_state{{check="{f.check}",target="{self.target}"}} {_WORST_FIRST[::-1].index(f.state)}\n'
            for f in self.findings
        )
        values = "".join(
            f'levelset_health_value{{check="{f.check}",target="{self.target}"}} {f.value:g}\n'
            for f in self.findings
            if f.value is not None
        )
        seconds = datetime.fromisoformat(self.at).timestamp()
        return (
            "# HELP levelset_health_state 0 ok, 1 warn, 2 fail.\n# TYPE levelset_health_state gauge\n"
            f"{states}# HELP levelset_health_value What was measured; its unit is in docs/how-to/schedules.md.\n"
            f"# TYPE levelset_health_value gauge\n{values}"
            "# HELP levelset_health_timestamp_seconds When this was looked at.\n"
            "# TYPE levelset_health_timestamp_seconds gauge\n"
            f'levelset_health_timestamp_seconds{{target="{self.target}"}} {seconds:.0f}\n'
        )


def judge(check: str, value: float | None, said: str, limits: dict[str, tuple[float, float]]) -> HealthCheck:
    """A finding by its limits; what cannot be measured because there is nothing yet is well."""
    warn, fail = limits[check]
    state = State.OK if value is None or value < warn else State.WARN if value < fail else State.FAIL
    return HealthCheck(check, state, value, said)


def load_limits() -> dict[str, tuple[float, float]]:
    """The limits in force: ours, or those of ``[health]`` in .dlt/config.toml. Raises Trouble for what is no limit."""
    import dlt
    from dlt.common.configuration.exceptions import ConfigurationValueError

    from extract.setting_names import check_setting_names

    check_setting_names("health", (*LIMITS, "webhook"))
    found = dict(LIMITS)
    for check in LIMITS:
        value: object
        try:
            value = dlt.config.get(f"health.{check}", expected_type=list)
        except ConfigurationValueError:
            value = "no list"
        if value is None:
            continue
        if not (isinstance(value, list) and len(value) == 2 and all(isinstance(v, int | float) for v in value)):
            raise Trouble(
                f"health.{check} must be two numbers, from which it warns and fails, as [2, 4]: {value!r:.60}"
            )
        found[check] = (float(value[0]), float(value[1]))
    return found


def find_health(target: Target) -> Health:
    """Look at everything, and change nothing. Raises Trouble for a limit that is none; a part that cannot be looked at
    is a finding that fails.
    """
    limits = load_limits()
    now = datetime.now(UTC)
    findings = []
    for check, look in _looks(target, now):
        try:
            value, said = look()
        except Exception as error:  # noqa: BLE001 - any failure of the check is what there is to tell
            findings.append(HealthCheck(check, State.FAIL, None, f"cannot be looked at: {_first_line(error)}"))
            continue
        findings.append(judge(check, value, said, limits))
    return Health(target.name, now.isoformat(timespec="seconds"), tuple(findings))


_Found = tuple[float | None, str]


def _looks(target: Target, now: datetime) -> Iterator[tuple[str, Callable[[], _Found]]]:
    from extract.staging.pipeline import make_pipeline

    pipeline = make_pipeline(target.destination(), target.pipelines_dir())
    yield "overdue", lambda: _overdue(pipeline, now)
    yield "loads", lambda: _loads(pipeline)
    yield "quarantined", lambda: _quarantined(pipeline, now)
    yield "zeros", lambda: _zeros(pipeline, now)
    yield "open_drift", lambda: _open_drift(target)
    yield "unproven", lambda: _unproven(target, now)
    if target.name != "duckdb":
        yield "slot_lag", lambda: _slot_lag(pipeline)
    yield "disk_used", lambda: _disk_used(target.project)


def _overdue(pipeline: Any, now: datetime) -> _Found:
    from extract.due import turns_waited
    from extract.settings import load_settings
    from extract.staging.known_state import candidates

    posts = candidates(pipeline, load_settings().network)
    waited = sorted(((turns_waited(post, now), post.tweet_id) for post in posts if not post.ended), reverse=True)
    if not waited:
        return None, "no post is known yet"
    turns, tweet_id = waited[0]
    return round(turns, 2), f"of {len(waited)} posts {tweet_id} waits longest: {turns:.1f} turns of its schedule"


def _loads(pipeline: Any) -> _Found:
    packages = sorted(pipeline.list_completed_load_packages())
    failed = pipeline.list_failed_jobs_in_package(packages[-1]) if packages else []
    if failed:
        return (
            2,
            f"the last load was refused in part: {failed[0].job_file_info.table_name} (dlt pipeline engagement info)",
        )
    if pipeline.has_pending_data:
        return 1, "a package waits: the next run loads it"
    return 0, "every package is loaded"


def _quarantined(pipeline: Any, now: datetime) -> _Found:
    from dlt.destinations.exceptions import DatabaseUndefinedRelation

    since = f"where collected_at > timestamp with time zone '{(now - timedelta(hours=24)).isoformat()}'"
    try:
        with pipeline.sql_client() as client:
            [[held]] = client.execute_sql(f"select count(*) from staging.quarantined_metrics {since}")
            [[taken]] = client.execute_sql(f"select count(*) from staging.real_tweet_metrics {since}")
    except DatabaseUndefinedRelation:
        return None, "nothing was loaded yet"
    if held + taken == 0:
        return None, "nothing was read in the last 24 hours"
    return round(held / (held + taken), 4), f"{held} of {held + taken} readings of the last 24 hours are held"


def _zeros(pipeline: Any, now: datetime) -> _Found:
    from dlt.destinations.exceptions import DatabaseUndefinedRelation

    from extract.staging.known_state import zeros_held

    try:
        held = zeros_held(pipeline)
    except DatabaseUndefinedRelation:
        return None, "nothing was loaded yet"
    posts = {tweet_id for tweet_id, at in held if at > now - timedelta(hours=24)}
    if not posts:
        return 0, "no counter fell to 0"
    return len(posts), f"{len(posts)} posts are held for a fall to 0, first {min(posts)}: is the site at fault?"


def _latest_verdicts(target: Target) -> dict[str, tuple[str, str]]:
    """model -> (its latest verdict that says something, when it was judged)."""
    found: dict[str, tuple[str, str]] = {}
    for report in history(project_dir=target.project, database=False):
        for table in report.tables:
            if report.target == target.name and table.verdict.value in ("level", "drift"):
                found[table.name] = (table.verdict.value, report.finished_at)
    return found


def _open_drift(target: Target) -> _Found:
    drifted = sorted(name for name, (verdict, _) in _latest_verdicts(target).items() if verdict == "drift")
    return len(drifted), f"drift in {', '.join(drifted)}" if drifted else "no drift is open"


def _unproven(target: Target, now: datetime) -> _Found:
    found = _latest_verdicts(target)
    if not found:
        return None, "nothing was ever checked"
    at, name = min((at, name) for name, (_, at) in found.items())
    hours = (now - datetime.fromisoformat(at)).total_seconds() / 3600
    return round(hours, 2), f"{name} was judged {hours:.1f} hours ago, every other model later"


def _slot_lag(pipeline: Any) -> _Found:
    with pipeline.sql_client() as client:
        slots = client.execute_sql(
            "select slot_name, wal_status, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn) / 1048576.0"
            " from pg_replication_slots where database = current_database() and slot_name like 'reconcile%%'"
        )
    if not slots:
        return None, "no changes are captured"
    name, status, behind = max(slots, key=lambda slot: slot[2] or 0)
    if any(slot[1] == "lost" for slot in slots):
        return float("inf"), f"slot {name} is lost: reconcile setup makes it anew"
    return round(float(behind or 0), 1), f"slot {name} holds back {float(behind or 0):.0f} MB of WAL ({status})"


def _disk_used(project: Path) -> _Found:
    usage = shutil.disk_usage(project)
    share = 1 - usage.free / usage.total
    return round(share, 4), f"{usage.free / 1e9:.1f} GB free where {project} lies"


def _first_line(error: BaseException) -> str:
    from extract.errors import innermost_line

    return innermost_line(error) if str(error).strip() else type(error).__name__


def keep(path: Path, text: str) -> None:
    """Write a file whole or not at all. Raises Trouble where it cannot be written."""
    try:
        write_file(path, text)
    except OSError as error:
        raise Trouble(f"cannot write {path} ({error.strerror})") from error


def tell_change(health: Health, project: Path, webhook: str | None) -> None:
    """POST the health as JSON to the webhook when its state is another than the last one told.

    What could not be sent is logged, and sent the next time: the state is kept once it was.
    """
    import httpx

    memory = project / ".levelset" / f"health-{health.target}.json"
    try:
        before = json.loads(memory.read_text(encoding="utf-8"))["state"]
    except (OSError, ValueError, KeyError, TypeError):
        before = State.OK.value
    if before == health.state.value:
        return
    if webhook:
        body = {**health.as_dict(), "before": before, "text": f"levelset: {before} -> {health.state.value}"}
        try:
            httpx.post(webhook, json=body, timeout=10).raise_for_status()
        except httpx.HTTPError as error:
            log.warning(
                "the webhook of health did not take the change (%s): told again next time", type(error).__name__
            )
            return
    keep(memory, json.dumps({"state": health.state.value, "at": health.at}))
