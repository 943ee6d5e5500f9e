"""Readings that are in files already: the official CSV export, and recorded answers played again."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from extract.answers.numbers import read_counters, whole
from extract.answers.reader import read_file_content
from extract.answers.shapes import Answer
from extract.errors import ExtractError
from extract.reading.attempt import Attempt, Profile
from extract.reading.post_ids import Network
from extract.reading.record import Reading, Status

# lower-case header of the official export -> counter; both known headers (2025: "Link", "Share"; 2026: "Post Link")
_COUNTERS = {
    "likes": "likes",
    "retweets": "reposts",
    "replies": "replies",
    "bookmarks": "bookmarks",
    "views": "impressions",
}
_LINKS = ("post link", "link")
_NEEDED = ("post id", *_COUNTERS.values())
# an instant that a recording's name may begin with: 2026-07-01T12-00-00Z_timeline.json
_NAMED_INSTANT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d)[-:](\d\d)[-:](\d\d)Z")


class _FileSource:
    """Every wanted post's readings, oldest first; a post that the files do not hold was not asked for."""

    name: str
    network = Network.X

    def __init__(self, path: Path) -> None:
        self.wall: Reading | None = None
        if not path.exists():
            raise ExtractError(f"{path} does not exist: fix sources.engagement.file or --file")
        self._path = path

    def readings(self) -> Iterator[tuple[datetime, Reading]]:
        raise NotImplementedError

    def collect(self, wanted: Sequence[str]) -> Iterator[Attempt | Profile]:
        asked = set(wanted)
        try:
            for observed_at, reading in self.readings():
                found = asked & {reading.tweet_id, reading.canonical_id}
                for tweet_id in sorted(filter(None, found)):
                    yield Attempt(tweet_id, reading, observed_at)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise ExtractError(f"cannot read {self._path}: {error}") from error

    def reread(self, wanted: Sequence[str]) -> Iterator[Attempt]:
        """A file says what it says: nothing to ask again."""
        return iter(())


class ExportSource(_FileSource):
    """The official export of an account's own posts. It was observed when the file was written, and says no quotes.

    Raises ExtractError where the file is not such an export.
    """

    name = "export"

    def check_matches(self, known: Collection[str]) -> None:
        """Raise ExtractError where no row of the file is of a ``known`` post: reading it would do nothing, silently."""
        try:
            ids = [reading.tweet_id for _, reading in self.readings()]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise ExtractError(f"cannot read {self._path}: {error}") from error
        if any(tweet_id in known for tweet_id in ids):
            return
        if not ids:
            why = "the file is a header only: export a period with posts"
        elif not known:
            why = "content_metadata holds no posts: load some with --content FILE"
        else:
            why = (
                f"the first id in column 'Post id' is {ids[0]!r:.40}, and none of these ids is in content_metadata: "
                "export the account whose posts are there, and do not let a spreadsheet round the ids"
            )
        raise ExtractError(f"{self._path}: {len(ids)} rows read, 0 matched: {why}")

    def readings(self) -> Iterator[tuple[datetime, Reading]]:
        observed_at = _modified(self._path)
        with self._path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            rows.fieldnames = [name.strip().lower() for name in rows.fieldnames or []]
            lacking = [name for name in _NEEDED if name not in rows.fieldnames]
            if lacking:
                found = ", ".join(rows.fieldnames) or "none"
                raise ExtractError(
                    f"{self._path} is no content export of X: it has no column {lacking[0]!r} "
                    f"(its columns: {found:.200}). Download the CSV of the posts from X's analytics again"
                )
            for row in rows:
                yield observed_at, _exported(row)


class ReplaySource(_FileSource):
    """Recorded answers (a file, or every file of a folder), each observed when it says or its name does, else when the
    file was written."""

    name = "replay"

    def readings(self) -> Iterator[tuple[datetime, Reading]]:
        for written_at, file in sorted((_observed(file), file) for file in files_of(self._path)):
            for answer in read_recording(file):
                for reading in answer.readings:
                    yield answer.observed_at or written_at, reading


def files_of(path: Path) -> list[Path]:
    """The file itself, or every file of a folder and its folders."""
    return sorted(f for f in path.rglob("*") if f.is_file()) if path.is_dir() else [path]


def read_recording(file: Path) -> list[Answer]:
    """The answers in any file that extract reads, the official export's CSV among them. Raises OSError."""
    content = file.read_bytes()
    if file.suffix.lower() == ".csv":
        return [Answer("official export", tuple(reading for _, reading in ExportSource(file).readings()))]
    return read_file_content(content)


def _exported(row: dict[str, str]) -> Reading:
    counters, warnings = read_counters({k: v or None for k, v in row.items() if k}, _COUNTERS, "export")
    link = urlsplit(next((row[name] for name in _LINKS if row.get(name)), "")).path.split("/")
    clicks = row.get("profile visits")
    return Reading(
        Status.PARTIAL if warnings else Status.OK if counters.any_read() else Status.NO_DATA,
        tweet_id=row["post id"],
        counters=counters,
        author=link[1] if len(link) > 2 and link[2] == "status" else None,
        warnings=warnings,
        selector="export",
        profile_clicks=whole(clicks),
    )


def _modified(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _observed(path: Path) -> datetime:
    match = _NAMED_INSTANT.match(path.name)
    if match is None:
        return _modified(path)
    return datetime.fromisoformat(":".join(match.groups())).replace(tzinfo=UTC)
