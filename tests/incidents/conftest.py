"""One warehouse a run, a copy of it for each incident; at the end a table of what caught what."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.dbt_projects import Templates
from tests.support.incident_world import Incident, build

_TOLD = "incident"


@pytest.fixture
def incident(templates: Templates, tmp_path: Path) -> Iterator[Incident]:
    """A level warehouse of this test's own."""
    with templates.copy(build, "postgres", tmp_path / "project") as project:
        made = Incident(project)
        assert made.before
        yield made


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    outcome = yield
    marker = item.get_closest_marker("incident")
    if marker is not None and call.when == "call":
        number, what, caught_by = marker.args
        report = outcome.get_result()  # type: ignore[attr-defined]
        report.user_properties.append((_TOLD, (number, what, caught_by)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print incident, caught by, verdict; also where the tests ran in other processes."""
    told = [
        (*value, report.outcome)
        for reports in terminalreporter.stats.values()
        for report in reports
        for name, value in getattr(report, "user_properties", ())
        if name == _TOLD
    ]
    if not told:
        return
    terminalreporter.section("incidents")
    verdicts = {"passed": "caught", "failed": "NOT CAUGHT", "skipped": "not run"}
    width = max(len(what) for _, what, _, _ in told)
    for number, what, caught_by, outcome in sorted(map(tuple, told)):
        terminalreporter.write_line(f"{number:>3}  {what:{width}}  {caught_by:44}  {verdicts[outcome]}")
