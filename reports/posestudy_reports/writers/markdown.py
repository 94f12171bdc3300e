"""Markdown: one file with the summary and every table, the figures beside it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from posestudy_reports.figures import learning_curves_svg
from posestudy_reports.sections import Chart
from posestudy_reports.tables import Entry, Table
from posestudy_reports.words import DASH
from posestudy_reports.writers import stem

if TYPE_CHECKING:
    from posestudy_reports.report import StudyReport

_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]#|~$^!])")
_ENTITIES: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def escape(text: str) -> str:
    """`text` as Markdown shows it letter by letter, on one line and inside a table too."""
    flat = _SPECIAL.sub(r"\\\1", " ".join(text.split()))
    return "".join(_ENTITIES.get(letter, letter) for letter in flat)


def write(report: StudyReport) -> dict[str, bytes]:
    """`report.md`, `figures/N_STAGE.svg`, and the figures of the study: SVG where drawn, JPEG where pictures."""
    files: dict[str, bytes] = {}
    lines = [f"# {escape(report.title)}", ""]
    if report.description:
        lines += [escape(report.description), ""]
    lines += [" ".join(escape(s) for s in report.summary), ""]
    if report.still_open:
        lines += ["**Still open.** " + " ".join(escape(s) for s in report.still_open), ""]
    for i, parts in enumerate(report.stage_parts):
        lines += [f"## {escape(parts.table.title)}", "", *grid(parts.table), ""]
        for further in (parts.differences, parts.zoo):
            if further:
                lines += [f"### {escape(further.title)}", "", *grid(further), ""]
        lines += [*addresses(parts.table), ""]
        if parts.has_figure:
            figure = f"figures/{stem(i, parts.table.name)}.svg"
            files[figure] = learning_curves_svg(parts.curves, report.result.metric).encode()
            lines += [f"![Learning curves]({figure})", ""]
    for section in report.sections:
        lines += [f"## {escape(section.title)}", ""]
        for shown in section.figures:
            path = f"figures/{shown.name}.{'svg' if isinstance(shown, Chart) else 'jpg'}"
            files[path] = shown.vector("svg") if isinstance(shown, Chart) else shown.data
            lines += [f"![{escape(shown.title)}]({path})", "", f"*{escape(shown.caption)}*", ""]
    files["report.md"] = "\n".join(lines).encode()
    return files


def grid(table: Table) -> list[str]:
    """The table in GitHub's form with its notes, as lines."""
    head = [escape(column.header) for column in table.columns]
    rule = ["---:" if column.align == "right" else "---" for column in table.columns]
    rows = [[_entry(entry) for entry in row.entries] for row in table.rows]
    lines = [f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)]
    notes = [f"<sup>{i}</sup> {escape(note)}" for i, note in enumerate(table.notes, 1)]
    notes += [escape(remark) for remark in table.remarks]
    if notes:
        lines += ["", "<br>".join(notes)]
    return lines


def addresses(table: Table) -> list[str]:
    """The address of every number of an ablation table, folded away."""
    lines = ["<details><summary>Where the numbers come from</summary>", ""]
    lines += ["| Cell | Trial uid | MLflow run |", "| --- | --- | --- |"]
    for row in table.rows:
        for uid, run in zip(row.uids, row.runs, strict=True):
            lines.append(f"| {escape(row.entries[1].text)} | {escape(uid)} | {escape(run) or DASH} |")
    return [*lines, "", "</details>"]


def _entry(entry: Entry) -> str:
    text = escape(entry.text)
    if entry.emphasis == "best":
        text = f"**{text}**"
    elif entry.emphasis == "second":
        text = f"<u>{text}</u>"
    if entry.detail:
        text += f"<br>{escape(entry.detail)}"
    if entry.marks:
        text += f"<sup>{','.join(map(str, entry.marks))}</sup>"
    return text
