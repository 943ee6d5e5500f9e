"""The distribution: it installs elsewhere, its pins are in step, and no file says what it must not."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tools.audit import report as audited
from tools.lock import pins, render

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def uv() -> str:
    found = os.environ.get("UV") or shutil.which("uv")
    assert found is not None, "uv is not on PATH"
    return found


def test_the_pins_are_those_of_the_hashed_lock() -> None:
    lock = (ROOT / "requirements.lock").read_text()

    assert PYPROJECT["tool"]["uv"]["constraint-dependencies"] == pins(lock)
    assert (ROOT / "pyproject.toml").read_text().endswith(render(lock))
    assert len(pins(lock)) > 80
    for block in re.split(r"\n(?=\S)", lock.strip()):
        assert "--hash=sha256:" in block, block[:60]


def test_every_direct_dependency_is_pinned() -> None:
    pinned = {pin.split("==")[0].lower() for pin in pins((ROOT / "requirements.lock").read_text())}
    wanted = [*PYPROJECT["project"]["dependencies"], *PYPROJECT["dependency-groups"]["dev"]]
    for requirement in wanted:
        name = re.split(r"[\[<>=!~ ;]", requirement)[0].lower()
        assert name in pinned


def test_no_tracked_file_names_a_registry_host() -> None:
    hosts = [
        ".".join(parts)
        for parts in (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("deb", "debian", "org"))
    ]
    for path in tracked():
        text = path.read_bytes().decode("utf-8", errors="ignore")
        assert not [host for host in hosts if host in text], path
    assert (ROOT / "uv.lock") not in tracked()


def test_the_wheel_installs_into_an_empty_environment_and_its_commands_start(tmp_path: Path) -> None:
    build = [uv(), "build", "--wheel", "--quiet", "--out-dir", tmp_path / "dist", ROOT]
    subprocess.run(build, check=True, cwd=tmp_path)
    [wheel] = (tmp_path / "dist").glob("*.whl")
    environment = tmp_path / "venv"
    subprocess.run([uv(), "venv", "--quiet", environment], check=True)
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("\n".join(pins((ROOT / "requirements.lock").read_text())))
    install = [uv(), "pip", "install", "--quiet", "--python", environment / "bin" / "python", "-c", constraints, wheel]
    subprocess.run(install, check=True)

    clean = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    for name in ("levelset", "reconcile", "extract"):
        found = subprocess.run(
            [environment / "bin" / name, "--help"], capture_output=True, text=True, cwd=tmp_path, env=clean, check=False
        )
        assert found.returncode == 0, found.stderr
        assert "Usage:" in found.stdout
    # what the packages carry beside Python is included
    listing = subprocess.run(["unzip", "-l", wheel], capture_output=True, text=True, check=False).stdout or str(
        subprocess.run(["python3", "-m", "zipfile", "-l", wheel], capture_output=True, text=True, check=True).stdout
    )
    for part in (
        "reconcile/render/report.html.jinja",
        "reconcile/render/report.css",
        "reconcile/schemas/report.schema.json",
    ):
        assert part in listing
    version = subprocess.run(
        [environment / "bin" / "dlt", "pipeline", "--help"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=clean,
        check=False,
    )
    assert version.returncode == 0, version.stderr  # outside a project our plugin changes nothing


def test_no_path_of_this_workplace_is_in_the_repository() -> None:
    for path in tracked():
        text = path.read_bytes().decode("utf-8", errors="ignore")
        assert not re.search(r"\.\./shared|/work/(main|shared)", text) or path == Path(__file__), path


def test_the_audit_tells_what_is_weak_and_what_could_not_be_looked_up(capsys: pytest.CaptureFixture[str]) -> None:
    fine = {"name": "a", "version": "1", "vulns": []}
    weak = {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2.1"]}]}
    unknown = {"name": "c", "version": "3", "skip_reason": "not found"}
    assert audited([fine, unknown]) == 0
    assert "1 of 2 packages could not be looked up from here" in capsys.readouterr().out
    assert audited([fine, weak]) == 1
    assert "audit: b 2: PYSEC-1, fixed in 2.1" in capsys.readouterr().out
