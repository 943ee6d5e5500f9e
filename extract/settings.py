"""The extractor's configuration, from where dlt keeps it: .dlt/config.toml, secrets.toml, or SOURCES__ENGAGEMENT__…"""

from __future__ import annotations

from dataclasses import dataclass, field

from extract.errors import ExtractError

LOCAL = "local"  # base_url: a local site is started for the run
SOURCES = ("browser", "http")


@dataclass(frozen=True)
class Settings:
    """``base_url``: whose posts are read; ``account``: the own account's handle there; ``source``: how."""

    base_url: str = LOCAL
    account: str = "levelset_demo"
    source: str = "browser"
    allow_hosts: list[str] = field(default_factory=list)
    content: str | None = None  # the posting bot's table, as a .csv or .jsonl file


def load_settings() -> Settings:
    """The settings in force. Raises ExtractError where one has the wrong type or names no source."""
    import dlt

    defaults = Settings()
    found: dict[str, object] = {}
    for name in ("base_url", "account", "source", "content"):
        value = dlt.config.get(f"sources.engagement.{name}", expected_type=str)
        found[name] = value if value is not None else getattr(defaults, name)
    hosts: object = dlt.config.get("sources.engagement.allow_hosts")
    if hosts is not None and not (isinstance(hosts, list) and all(isinstance(h, str) for h in hosts)):
        raise ExtractError('sources.engagement.allow_hosts must be a list of host names, as ["social.example"]')
    settings = Settings(**found, allow_hosts=hosts or [])  # type: ignore[arg-type]
    check_source(settings.source)
    return settings


def check_source(name: str) -> None:
    if name not in SOURCES:
        raise ExtractError(f"no source {name!r}: one of {', '.join(SOURCES)}")
