"""The files of one synthetic study as they were read and kept: every form of table in every format that has text.

`python reports/tests/golden_files.py` writes them anew. Read what has changed (`git diff reports/tests/golden`) before
keeping it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from synthetic_report import Builder, finished
from zoo_study import zoo

from posestudy_reports.report import StudyReport

FOLDER = Path(__file__).parent / "golden"

DECLARED: list[dict[str, Any]] = [
    {"form": "ablation", "name": "student", "columns": ["cell", "policy", "levels", "final", "best"],
     "title": "Every experiment", "caption": "Final and best AP at their epochs."},
    {"form": "ablation", "name": "costs", "stage": "lr", "rows": ["lr_3e-3", "baseline"],
     "columns": ["number", "cell", "final", "difference", "train_time", "coco/AP"], "footnotes": False},
    {"form": "replicates", "name": "seeds", "stage": "lr", "columns": ["seeds", "final", "best"]},
    {"form": "factors", "name": "pivot", "stages": ["lr", "sigma"], "columns": ["final", "best", "difference"]},
    {"form": "differences", "name": "against", "stage": "lr", "label": "tab:effects"},
]  # fmt: skip
"""One table of each form but the zoo, for the study `finished`."""

ZOO: list[dict[str, Any]] = [
    {"form": "zoo", "name": "published", "stage": "zoo"},
    {"form": "zoo", "name": "everywhere", "columns": ["parameters", "latency", "coco/AP"]},
    {"form": "factors", "name": "switches", "stage": "precision"},
]


def declaring(study: Builder, tables: list[dict[str, Any]]) -> StudyReport:
    """The report of `study` with these tables declared."""
    study.study.document["report"] = {**(study.study.document.get("report") or {}), "tables": tables}
    return study.report()


def files() -> dict[str, str]:
    """What the files hold now, by name."""
    from posestudy_reports.writers import latex, markdown, spreadsheet, webpage

    found: dict[str, str] = {}
    for report in (declaring(finished(), DECLARED), declaring(zoo(), ZOO)):
        for table in report.all_tables:
            found[f"{table.name}.tex"] = latex.latex(table, report.name)
            found[f"{table.name}.md"] = "\n".join([*markdown.grid(table), ""])
            found[f"{table.name}.csv"] = spreadsheet.table_csv(table)
            found[f"{table.name}.html"] = webpage.html_table(table) + "\n"
    frames = {"trials.csv", "values.csv", "tradeoff.csv", "training_times.csv"}
    for name, study in (("cats_small", finished()), ("zoo", zoo())):
        written = spreadsheet.write(study.report())
        found |= {f"{name}_{path}": written[path].decode() for path in sorted(frames & written.keys())}
    return found


if __name__ == "__main__":
    for old in FOLDER.iterdir():
        old.unlink()
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
