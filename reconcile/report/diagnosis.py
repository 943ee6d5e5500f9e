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
    """One thing looked at. ``mend`` says how to fix it, where something is to be done."""

    level: Level
    about: str
    said: str
    mend: str | None = None

    def line(self) -> str:
        mend = f"\n         fix: {self.mend}" if self.mend else ""
        return f"{self.level.value:8} {self.about}: {self.said}{mend}"

    def as_dict(self) -> dict[str, str | None]:
        return {**asdict(self), "level": self.level.value}
