"""The report as JUnit XML: one test case per model.

Drift is a failure, a model that could not be judged is an error, an excluded one is skipped.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from reconcile.render.text import causes_of, coverage, key_of, kinds, shown
from reconcile.report.model import Report, TableReport, Verdict

_LONGEST = 2000  # characters of a sentence
# what XML 1.0 cannot hold, escaped or not
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render_junit(report: Report) -> str:
    tables = report.tables
    failures = sum(t.verdict is Verdict.DRIFT for t in tables)
    errors = sum(t.verdict in (Verdict.ERROR, Verdict.UNVERIFIED) for t in tables) + (report.error is not None)
    seconds = sum(t.elapsed_ms for t in tables) / 1000
    tests = len(tables) + len(report.excluded) + (report.error is not None)
    counts = {"tests": str(tests), "failures": str(failures), "errors": str(errors)}
    root = ElementTree.Element("testsuites", {"name": "reconcile", **counts, "time": f"{seconds:.3f}"})
    suite = ElementTree.SubElement(
        root,
        "testsuite",
        {
            "name": _clean(f"reconcile {report.command} {report.target}"),
            **counts,
            "skipped": str(len(report.excluded)),
            "time": f"{seconds:.3f}",
        }
        | {"timestamp": report.started_at.rstrip("Z")},
    )
    for table in tables:
        case = ElementTree.SubElement(
            suite,
            "testcase",
            {
                "name": _clean(table.name),
                "classname": _clean(table.unique_id or table.relation),
                "time": f"{table.elapsed_ms / 1000:.3f}",
            },
        )
        if table.verdict is Verdict.DRIFT:
            failure = ElementTree.SubElement(case, "failure", {"message": kinds(table.drift), "type": "drift"})
            failure.text = _clean(_details(table))
        elif table.verdict is not Verdict.LEVEL:
            message = _clean(shown(table.error or table.verdict.value, _LONGEST))
            ElementTree.SubElement(case, "error", {"message": message, "type": table.verdict.value})
        if said := coverage(table):
            ElementTree.SubElement(case, "system-out").text = _clean(said)
    for left_out in report.excluded:
        named = {"name": _clean(left_out.name), "classname": _clean(left_out.unique_id), "time": "0"}
        case = ElementTree.SubElement(suite, "testcase", named)
        ElementTree.SubElement(case, "skipped").text = _clean(left_out.reason)
    if report.error is not None:
        case = ElementTree.SubElement(suite, "testcase", {"name": "run", "classname": "reconcile", "time": "0"})
        ElementTree.SubElement(case, "error", {"message": _clean(shown(report.error, _LONGEST)), "type": "error"})
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _details(table: TableReport) -> str:
    lines = [f"{shown(c.column)}: expected {shown(c.expected)}, is {shown(c.actual)}" for c in table.schema_changes]
    if table.causes:
        lines.append(f"causes: {causes_of(table)}")
    lines += [f"hint: {shown(hint, _LONGEST)}" for hint in table.hints]
    for sample in table.samples:
        cells = "; ".join(
            f"{shown(n)}: expected {shown(c.expected)}, is {shown(c.actual)}" for n, c in sample.columns.items()
        )
        lines.append(f"{sample.kind} {key_of(sample)} {cells}")
    if table.truncated:
        lines.append(f"... {table.drift.of_rows():,} rows differ in all")
    return "\n".join(lines)


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("�", text)
