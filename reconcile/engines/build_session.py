"""What holds in the session in which dbt builds a model: its settings and temporary functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

Settings = tuple[tuple[str, str], ...]  # name and value, the value as SQL, in the order in which they are set


@dataclass(frozen=True)
class BuildSession:
    """``settings`` are set first; each of ``functions`` is a statement that creates one temporary function or macro."""

    settings: Settings = ()
    functions: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.settings or self.functions)

    @property
    def names(self) -> tuple[str, ...]:
        """The settings that are set, each once."""
        return tuple(dict.fromkeys(name for name, _ in self.settings))

    def statements(self) -> Iterator[str]:
        yield from setting_statements(self.settings)
        yield from self.functions


def setting_statements(settings: Settings) -> Iterator[str]:
    for name, value in settings:
        yield f"set {name} = {value}"
