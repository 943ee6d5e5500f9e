"""No secret of a connection address reaches a message, in any form that libpq reads."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict

from reconcile.dbt.project import Options
from reconcile.errors import ReconcileError
from reconcile.masking import masked, secret_parameters, shown_address, shown_side
from reconcile.table_diff.run import DiffRequest, diff
from tests.conftest import command

SECRET = "s3cr3t"
RAW = [
    "{}",
    "a/{}",
    "a#{}",
    "a@{}",
    "a?{}",
    "a:{}",
    "a&{}",
    "a={}",
    "12/{}",
    "a%2F{}",
    "a%40{}",
    "'{}",
    "a b{}",
    "%zz{}",
]


def forms(password: str) -> list[str]:
    """Every form of an address that may hold this password, valid or not."""
    conninfo = "'" + password.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return [
        f"postgresql://u:{password}@127.0.0.1:1/d",
        f"postgres://u:{quote(password, safe='')}@127.0.0.1:1/d",
        f"postgresql://127.0.0.1:1/d?user=u&password={password}",
        f"postgresql://u@127.0.0.1:1/d?password={quote(password, safe='')}",
        f"postgresql://u@127.0.0.1:1,127.0.0.1:2/d?%70assword={quote(password, safe='')}",
        f"postgresql:///d?host=127.0.0.1&port=1&user=u&password={password}",
        f"host=127.0.0.1 port=1 user=u dbname=d password={conninfo}",
        f"host=127.0.0.1 port=1 user=u dbname=d password = {password}",
        f"mysql://u:{password}@127.0.0.1/d",
        f"jdbc:postgresql://127.0.0.1:1/d?user=u&password={password}",
    ]


@pytest.mark.parametrize("raw", RAW)
def test_no_form_of_an_address_shows_its_password(raw: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id\n1\n")
    for address in forms(raw.format(SECRET)):
        assert SECRET not in shown_side(f"{address}#t"), address
        for side in (f"{address}#s.t", address):
            with pytest.raises(ReconcileError) as refused:
                diff(DiffRequest(side, str(tmp_path / "a.csv"), ("id",)), Options())
            assert SECRET not in str(refused.value), (side, str(refused.value))


def test_every_secret_parameter_of_libpq_is_masked() -> None:
    marked = {option.keyword.decode() for option in pq.Conninfo.get_defaults() if option.dispchar == b"*"}
    assert {"password", "sslpassword"} <= marked <= secret_parameters()
    for name in marked:
        for conninfo in (f"host=h {name}={SECRET}", f"postgresql://h/d?{name}={SECRET}"):
            assert conninfo_to_dict(conninfo)[name] == SECRET
            assert SECRET not in shown_address(conninfo)
            assert SECRET not in masked(f"failed: {conninfo}")
            assert SECRET not in masked(f"the server said {SECRET}", conninfo)


def test_an_address_shows_user_host_port_and_database() -> None:
    assert shown_address("postgresql://u:p@h:5432/d?sslmode=require") == "postgresql://u:***@h:5432/d"
    assert shown_address("postgresql:///d?host=/run/x&user=u") == "postgresql://u@/d?host=/run/x"
    assert shown_address("service=prod password=x") == "service=prod"


def test_a_failed_diff_keeps_json_valid_and_secrets_out(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id\n1\n")
    right = f"postgresql://127.0.0.1:1/d?user=x&password={SECRET}#t"
    found = command(
        *("reconcile", "diff", "a.csv", right, "--key", "id", "--output", "json", "--report", "html=r.html"),
        cwd=tmp_path,
    )
    body = json.loads(found.stdout)

    assert (found.returncode, body["exit_code"], body["target"]) == (2, 2, "postgresql://x:***@127.0.0.1:1/d")
    assert body["error"].startswith("cannot connect to Postgres at 127.0.0.1:1/d as x")
    assert SECRET not in found.stdout + found.stderr + (tmp_path / "r.html").read_text()
