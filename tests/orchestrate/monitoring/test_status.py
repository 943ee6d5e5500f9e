"""What `levelset status` tells."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from orchestrate.monitoring.status import find_status
from tests.conftest import ROOT
from tests.support.reports import keep_a_check_and_an_undo


def test_an_undo_is_not_the_latest_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(ROOT / "dbt_project.yml", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert find_status().last_verdict is None
    checked = keep_a_check_and_an_undo(tmp_path)
    assert find_status().last_verdict == f"drift ({checked.target}, {checked.finished_at})"
