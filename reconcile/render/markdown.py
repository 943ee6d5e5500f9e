"""The report as Markdown: a pull request's comment or a job's summary."""

from __future__ import annotations

from reconcile.render.text import causes_of, coverage, key_of, kinds, next_step, rows_of, shown, shown_pair
from reconcile.report.model import Cell, Report, Sample, Verdict

_MARK = {Verdict.LEVEL: "✅", Verdict.DRIFT: "❌", Verdict.UNVERIFIED: "⚠️", Verdict.ERROR: "💥"}
_SAMPLES_SHOWN = 20
# what Markdown, HTML or GitHub would act on, as entities: a table cell knows no backslash for a pipe in code
_ESCAPED = {ord(character): f"&#{ord(character)};" for character in "\\|`*[]<>@#&"}
_LIMIT = 60_000  # GitHub takes 65,536 characters in a comment


def render_markdown(report: Report) -> str:
    """At most 60,000 characters; says so where it cut."""
    lines = [
        f"## reconcile: {_MARK[report.verdict]} {report.verdict.value}",
        "",
        f"`{report.command}` on target `{_cell(report.target)}`, run `{report.run_id}`, {report.finished_at}",
        "",
        "| model | verdict | rows | drift | why |",
        "| --- | --- | ---: | --- | --- |",
    ]
    if report.error:
        lines.insert(2, f"\n**Error:** {_cell(report.error)}")
    for table in report.tables:
        why = "; ".join(filter(None, [table.error or causes_of(table) or table.scope.reason, coverage(table)]))
        lines.append(
            f"| {_cell(table.name)} | {_MARK[table.verdict]} {table.verdict.value} | {rows_of(table)} "
            f"| {kinds(table.drift)} | {_cell(why)} |"
        )
    for table in report.tables:
        if not table.samples and not table.schema_changes:
            continue
        lines += [
            "",
            f"### {_cell(table.name)}",
            "",
            "| kind | cause | key | column | expected | actual |",
            "| --- | --- | --- | --- | --- | --- |",
        ]
        for change in table.schema_changes:
            lines.append(f"| schema | | | {_cell(change.column)} | {_cell(change.expected)} | {_cell(change.actual)} |")
        for sample in table.samples[:_SAMPLES_SHOWN]:
            for name, cell in sample.columns.items():
                values = " | ".join(_sides(sample, cell))
                cause = (sample.cause or "").replace("_", " ")
                lines.append(f"| {sample.kind} | {cause} | {_cell(key_of(sample))} | {_cell(name)} | {values} |")
        hidden = table.drift.of_rows() - min(len(table.samples), _SAMPLES_SHOWN)
        if hidden > 0:
            lines += ["", f"… and {hidden:,} more rows."]
    for left_out in report.excluded:
        lines.append(f"\n{_cell(left_out.name)} was not judged: {_cell(left_out.reason)}.")
    following = next_step(report)
    if following:
        lines.append(f"\nNext: <code>{following.translate(_ESCAPED)}</code>")
    for table in report.tables:
        lines += [f"\n**Hint** ({_cell(table.name)}): {shown(hint, 1000).translate(_ESCAPED)}" for hint in table.hints]
    text = "\n".join(lines) + "\n"
    if len(text) <= _LIMIT:
        return text
    return text[:_LIMIT].rsplit("\n", 1)[0] + f"\n\n… cut at {_LIMIT:,} characters; the JSON report holds everything.\n"


def _sides(sample: Sample, cell: Cell) -> tuple[str, str]:
    if sample.kind == "changed":
        one, other = shown_pair(cell.expected, cell.actual, 100)
        return one.translate(_ESCAPED), other.translate(_ESCAPED)
    return ("no row", _cell(cell.actual)) if sample.stands_in_table else (_cell(cell.expected), "no row")


def _cell(value: str | None) -> str:
    return shown(value, 100).translate(_ESCAPED)
