"""What a table leaves out on paper: columns that tell nothing there."""

from __future__ import annotations

from dataclasses import replace

from posestudy.vocabulary import Outcome
from posestudy_reports import words
from posestudy_reports.tables import Row, Table

_NOTHING = ("", words.DASH)


def condensed(table: Table) -> Table:
    """The table without columns that hold nothing, and without outcomes where all trials completed, which a remark then
    says. Fewer than three columns are left as they are."""
    done = words.OUTCOMES[Outcome.COMPLETED]
    away, remarks = [], list(table.remarks)
    for i, column in enumerate(table.columns):
        entries = [row.entries[i] for row in table.rows]
        if not entries or any(entry.marks or entry.detail for entry in entries):
            continue
        if all(entry.text in _NOTHING for entry in entries):
            away.append(i)
        elif column.key == "outcome" and all(entry.text == done for entry in entries):
            away.append(i)
            remarks.append("All trials completed.")
    if not away or len(table.columns) - len(away) < 3:
        return table
    kept = [i for i in range(len(table.columns)) if i not in away]
    rows = tuple(Row(tuple(row.entries[i] for i in kept), row.uids, row.runs) for row in table.rows)
    return replace(table, columns=tuple(table.columns[i] for i in kept), rows=rows, remarks=tuple(remarks))
