"""The account that the local site shows: which posts there are, as a function of a seed and a day."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from extract.reading.post_ids import Network, PostId, make_id

HANDLE = "levelset_demo"
_NAMESPACE = uuid.UUID("5b6b2b7e-6f0e-4c5e-9f60-3a1f3a7d2c11")
_SLOT_HOURS = (6, 8, 11, 13, 16, 19, 22)  # when the account posts, UTC
_TOPICS = ("sleep", "focus", "strength", "nutrition", "habits")
_GENERATORS = ("storyteller", "data_nerd", "contrarian", "coach")
_TONES = ("calm", "bold", "curious")
_ANGLES = ("myth", "how_to", "case_study")
_FORMATS = ("list", "story", "one_liner")
_VISUALS = ("plain", "emoji", "spaced")
_HOOKS = (
    "73% of people get {topic} wrong every day",
    "5 lessons about {topic} nobody told me",
    "What if your {topic} routine is the problem?",
    "You can fix your {topic} in ten minutes",
    "Never change your {topic} plan on a Monday",
    "Right now is the best time for {topic}",
    "Everyone is wrong about {topic} and why",
    "The quiet science behind better {topic} habits",
)


@dataclass(frozen=True)
class Post:
    """One tweet of the account. ``root_id`` differs from ``tweet_id`` for the later parts of a thread."""

    decision_id: str
    decision_type: str  # single, thread, reply
    tweet_id: str
    root_id: str
    part: int
    parts: int
    posted_at: datetime
    text: str
    deleted_at: datetime | None
    target_tweet_id: str | None
    edited_id: str | None = None  # an edit makes a new id; the first stays the post's key
    quoted_id: str | None = None  # somebody else's post, shown inside
    liked: bool = False  # by the account itself: its button is another one then

    @property
    def shown_id(self) -> str:
        """The id that the site shows the post by."""
        return self.edited_id or self.tweet_id


def draw(*key: object) -> float:
    """A number in [0, 1) that is a pure function of ``key``: no generator state, any order, any instant."""
    digest = hashlib.blake2b("|".join(map(str, key)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _pick(options: tuple[str, ...], *key: object) -> str:
    return options[int(draw(*key) * len(options))]


class Account:
    """The posts of ``days`` days up to an instant. The same seed gives the same post on the same day, for ever."""

    def __init__(self, seed: int = 7, days: int = 40, per_day: int = 6, network: Network = Network.X) -> None:
        if not 1 <= per_day <= len(_SLOT_HOURS):
            raise ValueError(f"per_day must be 1 to {len(_SLOT_HOURS)}, not {per_day}")
        self.seed = seed
        self.days = days
        self.per_day = per_day
        self.network = network

    def posts(self, now: datetime) -> list[Post]:
        """Every tweet posted from ``days`` days before ``now`` (whole UTC days) up to it, newest first."""
        today = now.replace(hour=0, minute=0, second=0, microsecond=0)
        found = [post for offset in range(self.days + 1) for post in self._day(today - timedelta(days=offset))]
        shown = [post for post in found if post.posted_at <= now]
        return sorted(shown, key=lambda post: (post.posted_at, post.tweet_id), reverse=True)

    def find(self, tweet_id: str, now: datetime) -> Post | None:
        """The post of that id, of whatever age; None where there is none yet, or never was."""
        wanted = PostId(tweet_id, self.network)
        if not wanted.valid:
            return None
        day = wanted.made_at().replace(hour=0, minute=0, second=0, microsecond=0)
        return next((p for p in self._day(day) if tweet_id in (p.tweet_id, p.edited_id) and p.posted_at <= now), None)

    def _day(self, day: datetime) -> Iterator[Post]:
        for slot in range(self.per_day):
            yield from self._slot(day, slot)

    def _slot(self, day: datetime, slot: int) -> Iterator[Post]:
        key = (self.seed, day.date().isoformat(), slot)
        jitter = timedelta(seconds=int(draw(*key, "jitter") * 3000))
        posted_at = day + timedelta(hours=_SLOT_HOURS[slot]) + jitter
        chance = draw(*key, "type")
        decision_type = "reply" if chance < 0.15 else "thread" if chance < 0.25 else "single"
        parts = 3 if decision_type == "thread" else 1
        topic = _pick(_TOPICS, *key, "topic")
        hook = _pick(_HOOKS, *key, "hook").format(topic=topic)
        text = f"{hook}{'' if hook.endswith('?') else '.'} Note {day:%j}-{slot} on {topic}."
        root = make_id(posted_at, slot + 1, self.network)
        gone = draw(*key, "deleted") < 0.02
        parent = make_id(posted_at - timedelta(hours=1), 9, self.network) if decision_type == "reply" else None
        for part in range(parts):
            at = posted_at + timedelta(seconds=20 * part)
            edited = decision_type == "single" and self.network is Network.X and draw(*key, "edited") < 0.06
            quotes = decision_type == "single" and draw(*key, "quotes") < 0.1
            yield Post(
                decision_id=str(uuid.uuid5(_NAMESPACE, "/".join(map(str, key)))),
                decision_type=decision_type,
                tweet_id=root if part == 0 else make_id(at, slot + 1, self.network),
                root_id=root,
                part=part,
                parts=parts,
                posted_at=at,
                text=text if part == 0 else f"Part {part + 1} of {parts} on {topic}.",
                deleted_at=posted_at + timedelta(hours=30) if gone else None,
                target_tweet_id=parent,
                edited_id=make_id(at + timedelta(seconds=40), slot + 1, self.network) if edited else None,
                quoted_id=make_id(posted_at - timedelta(days=3), 7, self.network) if quotes else None,
                liked=draw(*key, "liked") < 0.2,
            )

    def content_rows(self, now: datetime) -> list[dict[str, Any]]:
        """What the posting bot would keep: a content_metadata row a decision, plus queued and failed ones."""
        by_decision: dict[str, list[Post]] = {}
        for post in self.posts(now):
            by_decision.setdefault(post.decision_id, []).append(post)
        rows = []
        for decision_id, group in by_decision.items():
            thread = sorted(group, key=lambda post: post.part)
            rows.append(self._content_row(decision_id, thread))
        for status in ("queued", "failed", "skipped"):
            decision_id = str(uuid.uuid5(_NAMESPACE, f"{self.seed}/{status}"))
            rows.append({**rows[-1], "decision_id": decision_id, "status": status, "tweet_id": None, "posted_at": None})
        return rows

    def _content_row(self, decision_id: str, thread: list[Post]) -> dict[str, Any]:
        root = thread[0]
        queued_at = root.posted_at - timedelta(minutes=30 + int(draw(decision_id, "queue") * 600))
        text = root.text
        is_thread = root.decision_type == "thread"
        return {
            "decision_id": decision_id,
            "decision_type": root.decision_type,
            "content": text,
            "thread_parts": [post.text for post in thread] if is_thread else None,
            "thread_tweet_ids": [post.tweet_id for post in thread] if is_thread else None,
            "topic_cluster": _pick(_TOPICS, decision_id, "cluster"),
            "raw_topic": text.split(" on ")[-1].strip("."),
            "generator_name": _pick(_GENERATORS, decision_id, "generator"),
            "tone": _pick(_TONES, decision_id, "tone"),
            "angle": _pick(_ANGLES, decision_id, "angle"),
            "style": _pick(_TONES, decision_id, "style"),
            "hook_type": None,
            "format_strategy": _pick(_FORMATS, decision_id, "format"),
            "visual_format": _pick(_VISUALS, decision_id, "visual"),
            "bandit_arm": f"arm_{int(draw(decision_id, 'arm') * 4)}",
            "timing_arm": f"hour_{root.posted_at.hour}",
            "predicted_er": round(draw(decision_id, "er") * 0.05, 4),
            "predicted_followers": int(draw(decision_id, "pf") * 12),
            "predicted_engagement": int(draw(decision_id, "pe") * 300),
            "quality_score": round(0.5 + draw(decision_id, "quality") / 2, 3),
            "generation_source": "real",
            "status": "posted",
            "tweet_id": root.tweet_id,
            "target_tweet_id": root.target_tweet_id,
            "created_at": queued_at.isoformat(),
            "scheduled_at": (root.posted_at - timedelta(minutes=2)).isoformat(),
            "posted_at": root.posted_at.isoformat(),
            "updated_at": root.posted_at.isoformat(),
        }
