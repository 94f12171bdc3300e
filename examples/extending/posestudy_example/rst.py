"""A report format: the tables in reStructuredText, for a page made with Sphinx."""

from __future__ import annotations

from posestudy_reports.report import StudyReport
from posestudy_reports.tables import Entry, Table


def write(report: StudyReport) -> dict[str, bytes]:
    """`report.rst`: the title, the summary and every table of the paper."""
    lines = [_escaped(report.title), "=" * max(4, 2 * len(report.title)), ""]
    lines += [" ".join(_escaped(sentence) for sentence in report.summary), ""]
    for table in report.all_tables:
        lines += [*_list_table(table), ""]
    return {"report.rst": "\n".join(lines).encode()}


def _list_table(table: Table) -> list[str]:
    rows = [[_escaped(column.header) for column in table.columns]]
    rows += [[_told(entry) for entry in row.entries] for row in table.rows]
    lines = [f".. list-table:: {_escaped(table.title)}", "   :header-rows: 1", ""]
    for row in rows:
        for place, text in enumerate(row):
            lines.append(f"   {'* -' if place == 0 else '  -'} {text}")
    notes = [f"({number}) {_escaped(note)}" for number, note in enumerate(table.notes, 1)]
    return [*lines, "", *(line for note in notes for line in (note, ""))]


def _told(entry: Entry) -> str:
    text = _escaped(entry.text)
    text = f"**{text}**" if entry.emphasis == "best" and text else text
    detail = f" {_escaped(entry.detail)}" if entry.detail else ""
    marks = "".join(f" ({number})" for number in entry.marks)
    return text + detail + marks


def _escaped(text: str) -> str:
    """`text` on one line, so that reStructuredText shows every character as it is."""
    return "".join(f"\\{letter}" if letter in "\\`*_|<>[]:" else letter for letter in " ".join(str(text).split()))
