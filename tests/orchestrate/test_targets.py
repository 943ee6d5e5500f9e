"""One place decides where the warehouse is."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrate.targets import Target


@pytest.mark.parametrize("set_to", [None, "elsewhere.duckdb", "/absolute/of.duckdb"])
def test_loader_builder_and_reconciler_take_the_duckdb_file_from_one_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, set_to: str | None
) -> None:
    """LEVELSET_DUCKDB once moved the builder alone: the loader went on to fill the old file."""
    if set_to is None:
        monkeypatch.delenv("LEVELSET_DUCKDB", raising=False)
    else:
        monkeypatch.setenv("LEVELSET_DUCKDB", set_to)
    target, file = Target("duckdb", tmp_path), str(tmp_path / (set_to or "levelset.duckdb"))
    assert target.url == file
    assert target.environment()["LEVELSET_DUCKDB"] == file
    assert target.destination().config_params["credentials"] == file
