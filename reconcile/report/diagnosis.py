"""One thing that was looked at, how bad it is, and how to fix it: what doctor, setup and teardown say."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum


class Level(StrEnum):
    """Trouble keeps something from being judged; a warning costs time or knowledge."""

    FINE = "fine"
    WARNING = "warning"
    TROUBLE = "trouble"


@dataclass(frozen=True)
class Diagnosis:
    """One thing that was examined, and how to fix it (``mend``; the name is part of doctor's JSON)."""

    level: Level
    about: str
    said: str
    mend: str | None = None

    def line(self) -> str:
        line = f"{self.level.value:8} {self.about}: {self.said}"
        return line if self.mend is None else line + "\n         fix: " + self.mend

    def as_dict(self) -> dict[str, str | None]:
        return {**asdict(self), "level": self.level.value}
