"""What staging holds: the raw tables' columns, and the rows that go into them.

Every attempt is one append-only row. Accepted readings and attempts that read nothing (a status, counters NULL) go to
``real_tweet_metrics``; suspect and rejected ones to ``quarantined_metrics``, with their reasons, and nowhere else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, cast

from dlt.common.data_types import TDataType
from dlt.common.schema.typing import TColumnSchema, TTableSchemaColumns

from extract import VERSION
from extract.due import Due
from extract.reading.attempt import Attempt, Profile
from extract.reading.record import COUNTERS
from extract.reading.storable import is_bigint, storable_text
from extract.validate import Judgement, ReadingVerdict

DATASET = "staging"

_SNAPSHOT_TYPES = {
    "snapshot_id": "text",
    "tweet_id": "text",
    "decision_id": "text",
    "canonical_id": "text",
    "collected_at": "timestamp",
    "posted_at": "timestamp",
    "hours_after_post": "double",
    "collection_phase": "text",
    "likes": "bigint",
    "retweets": "bigint",
    "replies": "bigint",
    "quotes": "bigint",
    "bookmarks": "bigint",
    "views": "bigint",
    "profile_clicks": "bigint",
    "status": "text",
    "detail": "text",
    "verdict": "text",
    "validation_passed": "bool",
    "validation_warnings": "json",
    "anomaly_detected": "bool",
    "anomaly_reasons": "json",
    "provenance": "json",
    "selector_used": "text",
    "data_source": "text",
    "scraper_version": "text",
    "attempts": "bigint",
    "latency_ms": "bigint",
    "run_id": "text",
}
_FOLLOWER_TYPES = {
    "snapshot_id": "text",
    "account_id": "text",
    "snapshot_at": "timestamp",
    "follower_count": "bigint",
    "following_count": "bigint",
    "tweet_count": "bigint",
    "source": "text",
    "run_id": "text",
}
CONTENT_TYPES = {
    "decision_id": "text",
    "decision_type": "text",
    "content": "text",
    "thread_parts": "json",
    "thread_tweet_ids": "json",
    "topic_cluster": "text",
    "raw_topic": "text",
    "generator_name": "text",
    "tone": "text",
    "angle": "text",
    "style": "text",
    "hook_type": "text",
    "format_strategy": "text",
    "visual_format": "text",
    "bandit_arm": "text",
    "timing_arm": "text",
    "predicted_er": "double",
    "predicted_followers": "bigint",
    "predicted_engagement": "bigint",
    "quality_score": "double",
    "generation_source": "text",
    "status": "text",
    "tweet_id": "text",
    "target_tweet_id": "text",
    "created_at": "timestamp",
    "scheduled_at": "timestamp",
    "posted_at": "timestamp",
    "updated_at": "timestamp",
}
_REFUSED_TYPES = {"row_id": "text", "line": "bigint", "reason": "text", "raw": "text", "refused_at": "timestamp"}

# table -> (its key, its columns); dbt_project/models/staging/_sources.yml documents the same, and a test compares them
TABLES: dict[str, tuple[str, dict[str, str]]] = {
    "real_tweet_metrics": ("snapshot_id", _SNAPSHOT_TYPES),
    "quarantined_metrics": ("snapshot_id", _SNAPSHOT_TYPES),
    "follower_snapshots": ("snapshot_id", _FOLLOWER_TYPES),
    "content_metadata": ("decision_id", CONTENT_TYPES),
    "quarantined_content": ("row_id", _REFUSED_TYPES),
}


def columns(table: str) -> TTableSchemaColumns:
    """dlt's column hints of a raw table: every column is declared, so that one never seen still exists."""
    key, types = TABLES[table]
    return {name: _column(name, kind, nullable=name != key) for name, kind in types.items()}


def evolved_columns(learned: Mapping[str, str]) -> TTableSchemaColumns:
    """Hints for content columns beyond ours: their types are said, so that dlt guesses none from the first value."""
    return {**columns("content_metadata"), **{name: _column(name, kind, True) for name, kind in learned.items()}}


def _column(name: str, kind: str, nullable: bool) -> TColumnSchema:
    return {"name": name, "data_type": cast(TDataType, kind), "nullable": nullable}


def digest(*parts: object) -> str:
    """An id that is a function of its parts, so that loading a row twice leaves one."""
    return hashlib.sha256("|".join(map(str, parts)).encode(errors="surrogatepass")).hexdigest()[:32]


def _bigint(value: int | None) -> int | None:
    return value if value is not None and is_bigint(value) else None


def _text(value: str | None) -> str | None:
    return None if value is None else storable_text(value)


def snapshot_row(attempt: Attempt, due: Due, judgement: Judgement, source: str, run_id: str) -> dict[str, Any]:
    """The staging row of one attempt. Counters are NULL unless read exactly; a failure never writes 0.

    A lower bound (visible text as "1.5K") stays in ``provenance``, with its step. So does a number beyond 64 bits, as
    a text; a character that no database holds is written out. ``judge`` rejects such readings: no accepted row has
    lost a value here.
    """
    reading = attempt.reading
    posted_at = due.candidate.posted_at
    age = attempt.observed_at - posted_at
    provenance = {
        name: {
            "source": count.source,
            "value": count.value if is_bigint(count.value) else str(count.value),
            "step": count.step,
        }
        for name in COUNTERS
        if (count := getattr(reading.counters, name)) is not None
    }
    return {
        "snapshot_id": digest(attempt.wanted, attempt.observed_at.isoformat(), attempt.tries, reading.selector),
        "tweet_id": attempt.wanted,
        "decision_id": due.candidate.decision_id,
        "canonical_id": _text(reading.canonical_id),
        "collected_at": attempt.observed_at,
        "posted_at": posted_at,
        "hours_after_post": round(age.total_seconds() / 3600, 6),
        "collection_phase": due.phase,
        **{
            name: _bigint(count.value) if (count := getattr(reading.counters, name)) and count.step == 1 else None
            for name in COUNTERS
        },
        "profile_clicks": _bigint(reading.profile_clicks),
        "status": reading.status.value,
        "detail": _text(reading.detail),
        "verdict": judgement.verdict.value,
        "validation_passed": judgement.verdict is ReadingVerdict.ACCEPTED,
        "validation_warnings": [storable_text(warning) for warning in judgement.warnings],
        "anomaly_detected": bool(judgement.reasons),
        "anomaly_reasons": [storable_text(reason) for reason in judgement.reasons],
        "provenance": provenance,
        "selector_used": _text(reading.selector),
        "data_source": source,
        "scraper_version": VERSION,
        "attempts": attempt.tries,
        "latency_ms": attempt.latency_ms,
        "run_id": run_id,
    }


def follower_row(profile: Profile, source: str, run_id: str) -> dict[str, Any]:
    """The staging row of a profile. A number beyond a bigint is NULL, as one that was not read: the log names it."""
    values = asdict(profile)
    return {
        "snapshot_id": digest(profile.account, profile.observed_at.isoformat()),
        "account_id": profile.account,
        "snapshot_at": profile.observed_at,
        "follower_count": _bigint(values["followers"]),
        "following_count": _bigint(values["following"]),
        "tweet_count": _bigint(values["tweets"]),
        "source": source,
        "run_id": run_id,
    }


def refused_row(line: int, reason: str, raw: str, at: datetime) -> dict[str, Any]:
    return {
        "row_id": digest(raw),
        "line": line,
        "reason": storable_text(reason),
        "raw": storable_text(raw),
        "refused_at": at,
    }
