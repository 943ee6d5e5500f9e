"""House rules of the dbt project, read off its manifest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orchestrate.dbt import environment
from reconcile import run_dbt
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    target = tmp_path_factory.mktemp("target")
    where = [
        "--project-dir",
        str(ROOT),
        "--profiles-dir",
        str(ROOT),
        "--target",
        "duckdb",
        "--target-path",
        str(target),
    ]
    with environment({"LEVELSET_DUCKDB": str(target / "none.duckdb")}):
        outcome = run_dbt(["parse", *where, "--quiet", "--log-path", str(target), "--no-partial-parse"])
    assert outcome.exception is None, outcome.exception
    found: dict[str, Any] = json.loads((target / "manifest.json").read_text())
    return found


def models(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    return [node for node in manifest["nodes"].values() if node["resource_type"] == "model"]


def test_every_model_source_and_column_is_described(manifest: dict[str, Any]) -> None:
    for node in [*models(manifest), *manifest["sources"].values()]:
        assert node["description"].strip(), node["name"]
        assert node["columns"], node["name"]
        for column in node["columns"].values():
            assert column["description"].strip(), f"{node['name']}.{column['name']}"


def test_every_description_of_a_model_states_its_grain(manifest: dict[str, Any]) -> None:
    for node in models(manifest):
        assert "one row per " in node["description"], node["name"]


def test_every_column_that_a_model_selects_is_documented(manifest: dict[str, Any]) -> None:
    for node in models(manifest):
        sql = (ROOT / node["original_file_path"]).read_text()
        for name in node["columns"]:
            assert name in sql or "posts.*" in sql, f"{node['name']}.{name} is documented but not selected"


def test_every_core_model_is_incremental_under_a_contract_with_a_primary_key(manifest: dict[str, Any]) -> None:
    core = [node for node in models(manifest) if node["fqn"][1:3] == ["marts", "engagement"]]

    assert {node["name"] for node in core} == {
        "outcomes",
        "learning_posts",
        "tweet_metrics",
        "tweet_metrics_history",
        "post_velocity_tracking",
        "follower_growth_attribution",
    }
    for node in core:
        assert node["config"]["materialized"] == "incremental"
        assert node["config"]["contract"]["enforced"]
        assert [c["type"] for c in node["constraints"]] == ["primary_key"]
        # what a build replaces is a tweet's or decision's rows; where those are several, the key says more
        assert node["config"]["unique_key"] == node["constraints"][0]["columns"][0]
        reconciled = node["config"]["meta"].get("reconcile", {}).get("key", [node["config"]["unique_key"]])
        assert node["constraints"][0]["columns"] == reconciled


def test_every_model_has_its_key_tested(manifest: dict[str, Any]) -> None:
    tested: dict[str, set[str]] = {}
    for test in manifest["nodes"].values():
        if test["resource_type"] == "test" and test.get("test_metadata"):
            tested.setdefault(test["attached_node"], set()).add(test["test_metadata"]["name"])
    for node in models(manifest):
        tests = tested.get(node["unique_id"], set())
        assert "not_null" in tests, node["name"]
        assert tests & {"unique", "unique_together"}, node["name"]


def test_layers_read_only_layers_below_them(manifest: dict[str, Any]) -> None:
    rank = {"staging": 0, "intermediate": 1, "engagement": 2}  # every other mart: 3
    for node in models(manifest):
        layer = _layer(node)
        for parent in node["depends_on"]["nodes"]:
            if parent.startswith("source."):
                assert layer == "staging", f"{node['name']} reads a source"
            elif parent in manifest["nodes"]:
                read = _layer(manifest["nodes"][parent])
                assert rank.get(read, 3) <= rank.get(layer, 3), f"{node['name']} reads {parent}"


def _layer(node: dict[str, Any]) -> str:
    """staging, intermediate, or the folder below marts."""
    return str(node["fqn"][2] if node["fqn"][1] == "marts" else node["fqn"][1])


def test_the_source_has_freshness_by_when_it_was_loaded(manifest: dict[str, Any]) -> None:
    snapshots = manifest["sources"]["source.levelset.engagement.real_tweet_metrics"]

    assert "_dlt_load_id" in snapshots["loaded_at_field"]
    assert snapshots["freshness"]["error_after"] == {"count": 40, "period": "minute"}


def test_no_model_is_longer_than_a_page_or_two(manifest: dict[str, Any]) -> None:
    for node in models(manifest):
        assert len(Path(ROOT / node["original_file_path"]).read_text().splitlines()) <= 125, node["name"]
