"""CSV: every trial, every value of every epoch, and each stage's table, all with trial uid and MLflow run id."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from posestudy_reports.grouped_table import headings
from posestudy_reports.tables import Column, Entry, Table

if TYPE_CHECKING:
    import pandas as pd

    from posestudy_reports.report import StudyReport


def write(report: StudyReport) -> dict[str, bytes]:
    """`trials.csv` (the frame), `values.csv`, `differences.csv` and `tables/NAME.csv`; where there is something to tell
    also `tradeoff.csv` and `training_times.csv`."""
    files = {
        "trials.csv": _frame(report.frame),
        "values.csv": _frame(report.values),
        "differences.csv": _frame(report.differences),
    }
    for name, frame in (("tradeoff.csv", report.tradeoff), ("training_times.csv", report.training_times)):
        if len(frame):
            files[name] = _frame(frame)
    tables = (*report.all_tables, *(table for section in report.sections for table in section.tables))
    files |= {f"tables/{table.name}.csv": table_csv(table).encode() for table in tables}
    return files


def table_csv(table: Table) -> str:
    """The table as printed, then `trial_uid` and `mlflow_run_id`, separated by spaces where a row has several seeds.

    A table over several stages has a first column `stage`.
    """
    stream = io.StringIO()
    rows = csv.writer(stream, lineterminator="\n")
    titles, group = headings(table), ""
    keys = [key for column in table.columns for key in (column.key, column.detail_key) if key]
    rows.writerow([*(["stage"] if titles else []), *map(guarded, keys), "trial_uid", "mlflow_run_id"])
    for i, row in enumerate(table.rows):
        group = titles.get(i, group)
        texts = [text for pair in zip(table.columns, row.entries, strict=True) for text in _texts(*pair)]
        texts = [group, *texts] if titles else texts
        rows.writerow([*map(guarded, texts), " ".join(row.uids), " ".join(run or "-" for run in row.runs)])
    return stream.getvalue()


def _texts(column: Column, entry: Entry) -> list[str]:
    if column.detail_key:
        return [entry.text, entry.detail]
    return [f"{entry.text} ({entry.detail})" if entry.detail else entry.text]


def _frame(frame: pd.DataFrame) -> bytes:
    texts = frame.select_dtypes(include=["object", "string", "category"]).columns
    safe = frame.assign(**{name: frame[name].map(guarded, na_action="ignore") for name in texts})
    return safe.to_csv(index=False, lineterminator="\n").encode()


def guarded(text: str) -> str:
    """`text` so that a spreadsheet shows it and runs nothing: a quote before what would start a formula."""
    flat = " ".join(text.split())
    if flat[:1] not in ("=", "+", "-", "@"):
        return flat
    try:
        float(flat)
    except ValueError:
        return flat if flat == "-" else f"'{flat}"
    return flat
