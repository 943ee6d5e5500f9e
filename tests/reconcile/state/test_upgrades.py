"""What older and newer releases left behind: our tables in the database, dbt's manifests, dbt itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reconcile.capture.session import NotCaptured, open_capture
from reconcile.dbt.project import Options, invoke_dbt, load
from reconcile.engines.factory import open_engine
from reconcile.errors import ProjectError, Refused
from reconcile.repair.journal import read as read_journal
from reconcile.state.schema import VERSION, version_of
from reconcile.state.verdict_table import record, recorded
from tests.support.bench import Bench
from tests.support.dbt_projects import DbtProject
from tests.support.reports import report as a_report

MANIFESTS = Path(__file__).parent / "manifests"
JOURNAL = (
    "create schema reconcile",
    """create table reconcile.repair (
        run_id varchar not null, unique_id varchar not null, relation varchar not null, key_columns varchar not null,
        plan_id varchar not null, applied_by varchar not null, applied_at timestamp with time zone not null,
        inserted bigint not null, updated bigint not null, deleted bigint not null, undoes varchar,
        journal_version bigint not null
    )""",
    """create table reconcile.repair_row (
        run_id varchar not null, unique_id varchar not null, position bigint not null, action varchar not null,
        reason varchar not null, copies bigint not null, row_before varchar, row_after varchar
    )""",
    """insert into reconcile.repair values
        ('r1', 'm', 't', '["id"]', 'p', 'me', timestamp '2026-01-01', 1, 0, 0, null, 1)""",
)
CAPTURE = (
    """create table reconcile.capture (
        slot text primary key, system text not null, position pg_lsn not null,
        created_at timestamp with time zone not null default current_timestamp
    )""",
    "insert into reconcile.capture values ('another project''s', '1', '0/0')",
)
CAPTURE_3 = (CAPTURE[0].replace("created_at", "read_at"), CAPTURE[1])
VERDICT = (
    """create table reconcile.verdict (
        run_id varchar, command varchar, target varchar, unique_id varchar, model varchar, relation varchar,
        verdict varchar, scope varchar, reason varchar, error varchar, started_at timestamp with time zone,
        finished_at timestamp with time zone, missing bigint, extra bigint, changed bigint, duplicate bigint,
        null_key bigint, schema bigint, pending bigint, keys_checked bigint, rows_expected bigint, rows_actual bigint,
        elapsed_ms bigint
    )""",
    """insert into reconcile.verdict
        (run_id, target, model, verdict, finished_at, missing, extra, changed, duplicate, null_key)
        values ('20260101T000000-1', 'dev', 'kept', 'level', timestamp '2026-01-01', 0, 0, 0, 0, 0)""",
)
HOMES = {1: JOURNAL, 2: JOURNAL + CAPTURE, 3: JOURNAL + CAPTURE_3, 4: JOURNAL + CAPTURE_3 + VERDICT}


def version(bench: Bench) -> int | None:
    engine = open_engine(bench.project.connection)
    try:
        return version_of(engine)
    finally:
        engine.close()


@pytest.mark.parametrize("before", HOMES)
def test_a_repair_migrates_the_tables_of_each_earlier_version(pg: Bench, before: int) -> None:
    pg.make("id integer, n integer", "(1, 1), (2, 2)", "(1, 1)")
    pg.run(*HOMES[before])
    assert version(pg) == before

    assert pg.repair().inserted == 1

    assert version(pg) == VERSION
    assert pg.rows("select count(*) from reconcile.repair") == [(2,)]
    if before > 1:
        assert pg.rows("select slot, read_at is not null from reconcile.capture") == [("another project's", True)]
        assert open_capture(pg.project) == NotCaptured("its changes are not captured (reconcile setup)")
    if before == 4:
        engine = open_engine(pg.project.connection)
        record(a_report(), pg.project.connection)
        assert next(run.run_id for run in recorded(engine, "dev", 10) or []) == "20260101T000000-1"
        engine.close()


def test_a_check_brings_the_tables_of_capture_up_to_date(pg: Bench) -> None:
    pg.make("id integer, n integer", "(1, 1)", "(1, 1)")
    pg.run(*HOMES[2])
    assert open_capture(pg.project) == NotCaptured("its changes are not captured (reconcile setup)")
    assert version(pg) == VERSION
    assert pg.rows("select read_at is not null from reconcile.capture") == [(True,)]


def test_a_database_of_a_newer_release_is_refused_and_left_unchanged(bench: Bench) -> None:
    bench.make("id integer, n integer", "(1, 1), (2, 2)", "(1, 1)")
    bench.run(*JOURNAL, "create table reconcile.schema_version (version bigint)")
    bench.run(f"insert into reconcile.schema_version values ({VERSION + 1})")
    said = f"is of version {VERSION + 1}, and this reconcile knows versions up to {VERSION}: upgrade reconcile"
    with pytest.raises(Refused, match=said):
        bench.repair()
    engine = open_engine(bench.project.connection)
    with pytest.raises(Refused, match=said):
        read_journal(engine, "r1")
    engine.close()
    assert bench.rows() == [(1, 1)]
    assert bench.rows("select count(*) from reconcile.repair") == [(1,)]


ORDERS = """{{ config(materialized='incremental', unique_key='id') }}
select id, amount, made_at from {{ source('raw', 'orders_raw') }}
{% if is_incremental() %} where made_at > (select max(made_at) from {{ this }}) {% endif %}
"""


@pytest.fixture
def shop(tmp_path: Path) -> DbtProject:
    project = DbtProject(tmp_path, None)
    project.write(
        {
            "dbt_project.yml": "name: shop\nversion: '1.0'\nconfig-version: 2\nprofile: shop\nmodel-paths: [models]\n",
            "models/orders.sql": ORDERS,
            "models/schema.yml": (
                "version: 2\nsources:\n  - name: raw\n    schema: main\n    tables: [{name: orders_raw}]\nmodels:\n"
                "  - name: orders\n    columns: [{name: id, data_type: integer}]\n"
            ),
        }
    )
    project.profile("shop")
    return project


def modified(shop: DbtProject, manifest: str) -> list[str]:
    """The models that differ from those of a manifest, as --state tells."""
    state = shop.folder / "state"
    state.mkdir(exist_ok=True)
    (state / "manifest.json").write_text(manifest)
    options = Options(project_dir=shop.folder, profiles_dir=shop.folder, select=("state:modified.body",), state=state)
    return [definition.name for definition in load(options).definitions]


def test_a_manifest_of_each_supported_dbt_is_read_as_the_state_to_compare_with(shop: DbtProject) -> None:
    for path in sorted(MANIFESTS.glob("dbt_*.json")):
        with pytest.raises(ProjectError, match="holds no incremental model"):
            modified(shop, path.read_text())
    shop.write({"models/orders.sql": ORDERS.replace("amount,", "amount * 2 as amount,")})
    found = {path.stem: modified(shop, path.read_text()) for path in MANIFESTS.glob("dbt_*.json")}
    assert found == {"dbt_1.9": ["orders"], "dbt_1.10": ["orders"], "dbt_1.11": ["orders"]}


def test_a_manifest_of_an_unknown_version_is_refused_with_a_sentence(shop: DbtProject) -> None:
    body = json.loads((MANIFESTS / "dbt_1.11.json").read_text())
    body["metadata"]["dbt_schema_version"] = body["metadata"]["dbt_schema_version"].replace("v12", "v99")
    with pytest.raises(ProjectError, match="v99") as refused:
        modified(shop, json.dumps(body))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("release", "known"), [("1.8.9", False), ("1.9.0", True), ("1.11.16", True), ("2.0.1", False)])
def test_a_dbt_that_reconcile_does_not_know_is_refused_with_a_sentence(
    monkeypatch: pytest.MonkeyPatch, release: str, known: bool
) -> None:
    """1.9.11 and 1.10.23 were tried whole, each in a separate environment: check, repair, check."""
    monkeypatch.setattr("dbt.version.__version__", release)
    if known:
        assert invoke_dbt(["--version"]) is not None
        return
    with pytest.raises(ProjectError, match=rf"dbt-core {release} is installed, and reconcile knows 1\.9 to 1\.11"):
        invoke_dbt(["--version"])
