"""Markdown as GitHub shows it: one file with the summary and every table, the figures beside it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from posestudy_reports.figures import learning_curves_svg
from posestudy_reports.grouped_table import headings
from posestudy_reports.results import StageResult, StudyResult
from posestudy_reports.sections import Chart
from posestudy_reports.tables import Entry, Table
from posestudy_reports.words import DASH
from posestudy_reports.writers import stem, tables_by_stage

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
    several, by_stage = tables_by_stage(report)
    lines = [f"# {escape(report.title)}", ""]
    if report.description:
        lines += [escape(report.description), ""]
    lines += [" ".join(escape(s) for s in report.summary), ""]
    if report.still_open:
        lines += ["**Still open.** " + " ".join(escape(s) for s in report.still_open), ""]
    if several:
        lines += ["## Tables over several stages", "", *_tables(several)]
    for i, (stage, parts) in enumerate(zip(report.stages, report.stage_parts, strict=True)):
        lines += [f"## {escape(parts.table.title)}", "", *_tables(by_stage[i], parts.table.title)]
        if report.analysis[i]:
            lines += [" ".join(escape(sentence) for sentence in report.analysis[i]), ""]
        lines += [*addresses(report.result, stage), ""]
        if parts.has_figure:
            figure = f"figures/{stem(i, stage.stage.name)}.svg"
            files[figure] = learning_curves_svg(parts.curves, report.result.metric).encode()
            lines += [f"![Learning curves]({figure})", ""]
    for section in report.sections:
        lines += [f"## {escape(section.title)}", ""]
        if section.texts:
            lines += [" ".join(escape(text) for text in section.texts), ""]
        lines += _tables(section.tables)
        for shown in section.figures:
            path = f"figures/{shown.name}.{'svg' if isinstance(shown, Chart) else 'jpg'}"
            files[path] = shown.vector("svg") if isinstance(shown, Chart) else shown.data
            lines += [f"![{escape(shown.title)}]({path})", "", f"*{escape(shown.caption)}*", ""]
    files["report.md"] = "\n".join(lines).encode()
    return files


def _tables(tables: Iterable[Table], said: str = "") -> list[str]:
    """Tables with their titles; of one whose title was `said` just above, without."""
    lines: list[str] = []
    for table in tables:
        lines += [f"### {escape(table.title)}", ""] if table.title != said else []
        lines += [escape(table.caption), ""] if table.caption else []
        lines += [*grid(table), ""]
    return lines


def grid(table: Table) -> list[str]:
    """The table in GitHub's form with its notes, as lines."""
    head = [escape(column.header) for column in table.columns]
    rule = ["---:" if column.align == "right" else "---" for column in table.columns]
    titles = headings(table)
    rows = []
    for i, row in enumerate(table.rows):
        rows += [[f"*{escape(titles[i])}*", *[""] * (len(head) - 1)]] if i in titles else []
        rows.append([_entry(entry) for entry in row.entries])
    lines = [f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)]
    notes = [f"<sup>{i}</sup> {escape(note)}" for i, note in enumerate(table.notes, 1)]
    notes += [escape(remark) for remark in table.remarks]
    if notes:
        lines += ["", "<br>".join(notes)]
    return lines


def addresses(result: StudyResult, stage: StageResult) -> list[str]:
    """The trials that the numbers of a stage come from, folded away."""
    lines = ["<details><summary>Where the numbers come from</summary>", ""]
    lines += ["| Cell | Trial uid | MLflow run |", "| --- | --- | --- |"]
    for cell in stage.cells:
        for trial in cell.trials:
            run = result.runs.get(trial.uid, "")
            lines.append(f"| {escape(cell.label)} | {escape(trial.uid)} | {escape(run) or DASH} |")
    return [*lines, "", "</details>"]


def _entry(entry: Entry) -> str:
    text = escape(entry.text)
    if entry.emphasis == "best":
        text = f"**{text}**"
    elif entry.emphasis == "second":
        text = f"<ins>{text}</ins>"  # GitHub drops <u>
    if entry.detail:
        text += f"<br>{escape(entry.detail)}"
    if entry.marks:
        text += f"<sup>{','.join(map(str, entry.marks))}</sup>"
    return text
