"""Imports go one way: between the packages, between the folders of a package, and without a circle anywhere."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import ROOT

# Each folder or module may import only those that follow it. CONTRIBUTING.md says what each one holds.
LAYERS = {
    "reconcile": (
        "cli",
        "commands",
        "api",
        "watch",
        "repair",
        "model_check",
        "render",
        "overview",
        "table_diff",
        "capture",
        "compare",
        "dbt",
        "state",
        "report",
        "definition",
        "engines",
        "errors",
        "masking",
        "atomic_files",
    ),
    "extract": (
        "run",
        "settings",
        "staging",
        "sources",
        "answers",
        "site",
        "validate",
        "due",
        "summary",
        "reading",
        "interrupts",
        "process_lock",
        "setting_names",
        "errors",
    ),
    "orchestrate": (
        "cli",
        "dlt_plugin",
        "server_commands",
        "backfill",
        "demo",
        "monitoring",
        "jobs",
        "dbt",
        "tracing",
        "targets",
        "servers",
        "errors",
    ),
}
FORBIDDEN = {"extract": ("reconcile", "orchestrate"), "reconcile": ("extract", "orchestrate")}
MOST_IMPORTS = 17  # modules of ours that one module imports; 12 is the aim


def modules(package: str) -> dict[str, Path]:
    found = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


def imported(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """Every module that a file imports, type-only and local imports included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in known else node.module


def graph(package: str) -> dict[str, set[str]]:
    known = modules(package)
    return {
        name: {other for other in imported(path, known) if other in known and other != name}
        for name, path in known.items()
    }


@pytest.mark.parametrize("package", LAYERS)
def test_no_module_imports_itself_through_others(package: str) -> None:
    try:
        TopologicalSorter(graph(package)).prepare()
    except CycleError as error:
        pytest.fail(f"circle of imports: {' -> '.join(error.args[1])}")


@pytest.mark.parametrize("package", LAYERS)
def test_each_folder_imports_only_folders_below_it(package: str) -> None:
    order = LAYERS[package]
    upward = []
    for name, others in graph(package).items():
        if name == package:
            continue
        layer = name.split(".")[1]
        assert layer in order, f"{layer} has no place in LAYERS"
        for other in others - {package}:
            below = other.split(".")[1]
            if below != layer and order.index(below) < order.index(layer):
                upward.append(f"{name} -> {other}")

    assert upward == []


@pytest.mark.parametrize("package", FORBIDDEN)
def test_no_package_imports_a_package_above_it(package: str) -> None:
    for name, path in modules(package).items():
        roots = {other.split(".")[0] for other in imported(path, {})}
        assert not roots & set(FORBIDDEN[package]), name


@pytest.mark.parametrize("package", LAYERS)
def test_no_module_imports_too_many_others(package: str) -> None:
    facade = "reconcile.api"  # it collects what the others offer
    many = {n: len(others) for n, others in graph(package).items() if len(others) > MOST_IMPORTS and n != facade}

    assert many == {}


OUTSIDE = ("orchestrate", "tools", "benchmarks", "tests")
INSIDE = ("tests/reconcile", "tests/support", "tools/schemas.py")  # they test, or describe, what is not public
BENCHMARKS = ("capture", "check", "repair", "scale")  # they measure parts of a check


def test_other_code_imports_only_the_public_names_of_reconcile() -> None:
    known = modules("reconcile")
    deeper = {
        f"{path.relative_to(ROOT)}: {name}"
        for folder in OUTSIDE
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not str(path.relative_to(ROOT)).startswith(INSIDE)
        and not (folder == "benchmarks" and path.stem in BENCHMARKS)
        for name in imported(path, known)
        if name.startswith("reconcile.") and name not in ("reconcile.cli", "reconcile.api")
    }

    assert deeper == set()


def test_every_public_name_of_reconcile_can_be_imported() -> None:
    import reconcile
    from reconcile import api

    assert sorted(api.__all__) == api.__all__
    for name in api.__all__:
        assert getattr(reconcile, name) is getattr(api, name)


def test_only_two_modules_of_reconcile_import_dbt() -> None:
    importing = [
        name
        for name, path in modules("reconcile").items()
        if any(other.split(".")[0] == "dbt" for other in imported(path, {}))
    ]

    assert importing == ["reconcile.dbt.project", "reconcile.dbt.rendering"]


@pytest.mark.parametrize("package", LAYERS)
def test_no_function_is_longer_than_60_lines(package: str) -> None:
    long = {
        f"{name}.{node.name}": length
        for name, path in modules(package).items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (length := (node.end_lineno or 0) - node.lineno + 1) > 60
    }

    assert long == {}
