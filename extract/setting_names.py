"""Refuse a setting that nothing reads: a misspelt one would leave the default in force, silently."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Iterator

from extract.errors import ExtractError


def check_setting_names(section: str, known: Collection[str]) -> None:
    """Raise ExtractError if config.toml, secrets.toml or the environment sets a name in ``section`` that is not
    ``known``, or names a section beside it that is nearly its name (``sources.engagment``).
    """
    parent, _, own = section.rpartition(".")
    for name, where in _set_in(parent) if parent else ():
        if name != own and difflib.get_close_matches(name.lower(), [own], cutoff=0.8):
            raise ExtractError(f"{parent}.{name} ({where}) is no section: did you mean {section}?")
    for name, where in _set_in(section):
        if name not in known:
            close = difflib.get_close_matches(name.lower(), known, n=1)
            meant = f"did you mean {close[0]}?" if close else f"the settings are {', '.join(sorted(known))}"
            raise ExtractError(f"{section}.{name} ({where}) is no setting: {meant}")


def _set_in(section: str) -> Iterator[tuple[str, str]]:
    """``(name, where)`` of everything that is set in a section, by dlt's providers, in their order."""
    import dlt

    prefix = section.upper().replace(".", "__") + "__"
    for variable in sorted(os.environ):
        if variable.startswith(prefix):
            yield variable.removeprefix(prefix).split("__")[0].lower(), f"environment variable {variable}"
    *sections, key = section.split(".")
    for provider in dlt.config.config_providers:  # secrets.toml is one of them
        if provider.name.endswith(".toml"):
            found, _ = provider.get_value(key, dict, "", *sections)
            yield from ((name, provider.name) for name in (found if isinstance(found, dict) else ()))
