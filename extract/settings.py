"""The extractor's configuration, from where dlt keeps it: .dlt/config.toml, secrets.toml, or SOURCES__ENGAGEMENT__…"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from extract.due import BUDGET, SCHEDULES
from extract.errors import ExtractError
from extract.reading.post_ids import Network
from extract.setting_names import check_setting_names

LOCAL = "local"  # base_url: a local site is started for the run
SOURCES = ("browser", "http", "xapi", "bluesky", "mastodon", "export", "replay", "parquet")
FROM_FILES = ("export", "replay", "parquet")
NEW_COLUMNS = ("evolve", "discard", "quarantine")
_SECTION = "sources.engagement"
_SECRETS = ("content_credentials", "xapi_bearer_token")
# what dlt itself reads in a source's section
_DLTS = ("extract", "normalize", "load", "data_writer", "max_table_nesting", "schema_contract", "root_key")


@dataclass(frozen=True)
class ExtractSettings:
    """Settings of a run: each field is a key of ``[sources.engagement]``, see docs/reference/collecting.md."""

    base_url: str = LOCAL
    account: str = "levelset_demo"  # the own account's handle there
    source: str = "browser"
    allow_hosts: tuple[str, ...] = ()
    written_consent: bool = False  # X's, to read its pages: it forbids that without
    session_state: str | None = None  # a file of Playwright's storage state, for reading signed in
    file: str | None = None  # what the sources export, replay and parquet read
    schedule: str = SCHEDULES[0]
    budget: int = BUDGET
    content: str | None = None  # the posting bot's table, as a .csv or .jsonl file
    content_table: str | None = None  # or as a table of the bot's database, with or without its schema
    new_columns: str = NEW_COLUMNS[0]  # what becomes of a content column that staging does not have

    @property
    def network(self) -> Network:
        return Network(self.source) if self.source in ("bluesky", "mastodon") else Network.X


_TYPES: dict[str, type] = {"allow_hosts": list, "written_consent": bool, "budget": int}  # the others are texts
_MUST_BE = {
    "allow_hosts": 'a list of host names, as ["social.example"]',
    "written_consent": "true or false",
    "budget": "a number of posts, at least 1",
}
_CHOICES = {"source": SOURCES, "schedule": SCHEDULES, "new_columns": NEW_COLUMNS}


def load_settings(**chosen: str | None) -> ExtractSettings:
    """The settings in force; what is ``chosen`` (and not None) goes before what is configured.

    Raises ExtractError where a setting has the wrong type, is none of its choices, or has a name that is not read.
    """
    import dlt
    from dlt.common.configuration.exceptions import ConfigurationValueError

    check_setting_names(_SECTION, (*(setting.name for setting in fields(ExtractSettings)), *_SECRETS, *_DLTS))
    found: dict[str, Any] = {}
    for setting in fields(ExtractSettings):
        key = f"{_SECTION}.{setting.name}"
        try:
            value: Any = chosen.get(setting.name)
            if value is None:
                value = dlt.config.get(key, expected_type=_TYPES.get(setting.name, str))
        except ConfigurationValueError as error:
            raise ExtractError(f"{key} must be {_MUST_BE[setting.name]}") from error
        if value is not None:
            found[setting.name] = _checked(setting.name, value)
    return ExtractSettings(**found)


def secret(name: str) -> str | None:
    """A secret of ``[sources.engagement]``: from secrets.toml or the environment, and never from anywhere else."""
    import dlt

    value: object = dlt.secrets.get(f"{_SECTION}.{name}")
    return str(value) if value else None


def _checked(name: str, value: Any) -> Any:
    where = f"{_SECTION}.{name}"
    if name == "allow_hosts":
        if not all(isinstance(host, str) for host in value):
            raise ExtractError(f"{where} must be {_MUST_BE[name]}")
        return tuple(value)
    if name == "budget" and value < 1:
        raise ExtractError(f"{where} must be {_MUST_BE[name]}, not {value}")
    if name in _CHOICES and value not in _CHOICES[name]:
        raise ExtractError(f"{where} is {value!r:.60}: one of {', '.join(_CHOICES[name])}")
    return value
