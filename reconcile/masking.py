"""Connection addresses without their secrets: the only way an address reaches a message, a report or a log."""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import quote

POSTGRES = ("postgresql://", "postgres://")
PARAMETERS = re.compile(r"\s*\w+\s*=")  # how libpq's key=value form begins
_HIDDEN = "***"
_MORE_SECRETS = ("passwd", "pwd", "token", "access_token", "api_key", "secret")  # of other databases' addresses


@lru_cache(maxsize=1)
def secret_parameters() -> frozenset[str]:
    """The connection parameters that hold a secret: libpq marks such with the display character ``*``."""
    from psycopg import pq  # imported here: it takes 0.1 s

    marked = (option.keyword.decode() for option in pq.Conninfo.get_defaults() if option.dispchar == b"*")
    return frozenset(marked) | {"password", "sslpassword", *_MORE_SECRETS}


def shown_address(conninfo: str) -> str:
    """User, host, port and database of a Postgres address (URL or key=value), and nothing else of it.

    What libpq cannot read is not shown at all: any part of it may belong to a password.
    """
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        given = {name: str(value) for name, value in conninfo_to_dict(conninfo).items()}
    except (ProgrammingError, UnicodeDecodeError):
        return "postgresql://..."
    if misread(conninfo):
        return "postgresql://..."
    user = (
        quote(given["user"], safe="") + (f":{_HIDDEN}" if "password" in given else "") + "@" if "user" in given else ""
    )
    host, port = given.get("host", ""), given.get("port", "")
    if "service" in given:
        return f"service={given['service']}"
    if host.startswith("/"):  # a socket's folder is no part of a URL's authority
        return f"postgresql://{user}/{given.get('dbname', '')}?host={host}" + (f"&port={port}" if port else "")
    return f"postgresql://{user}{host}{':' if port else ''}{port}/{given.get('dbname', '')}"


def shown_side(text: str) -> str:
    """What a side of a diff names, without a secret and without its table."""
    address = text.rpartition("#")[0] or text
    return shown_address(address) if address.startswith(POSTGRES) or PARAMETERS.match(address) else masked(address)


def misread(url: str) -> bool:
    """Whether libpq would take a part of the password for the host or the database: a raw ``@`` or ``/`` in it."""
    if not url.startswith(POSTGRES):
        return False
    authority, _, path = url.partition("://")[2].partition("/")
    return authority.count("@") > 1 or "@" in path.partition("?")[0]


def masked(text: str, conninfo: str = "") -> str:
    """A text (a driver's error message, say) without the secrets that it or the address ``conninfo`` holds."""
    for secret in _secrets_of(conninfo):
        text = text.replace(secret, _HIDDEN).replace(quote(secret, safe=""), _HIDDEN)
    names = "|".join(sorted(secret_parameters()))
    # to the end of the line: a value that is not quoted may hold blanks, & or @ by mistake
    text = re.sub(rf"(?i)\b({names})(\s*=\s*)(?:'(?:[^'\\]|\\.)*'(?=\s|$)|.*)", rf"\1\2{_HIDDEN}", text)
    return re.sub(r"(://[^\s:/?#@]*):.*@", rf"\1:{_HIDDEN}@", text)


def _secrets_of(conninfo: str) -> list[str]:
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        given = conninfo_to_dict(conninfo)
    except (ProgrammingError, UnicodeDecodeError):
        return []
    found = {str(value) for name, value in given.items() if name in secret_parameters() and value}
    return sorted(found, key=len, reverse=True)
