"""The PDF: the report as data, set by the Typst template beside this module, without a browser."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from posestudy_reports.figures import learning_curves_svg

if TYPE_CHECKING:
    from posestudy_reports.report import StudyReport


def write(report: StudyReport) -> dict[str, bytes]:
    """`report.pdf`: A4, fonts embedded, curves as vectors."""
    return {"report.pdf": compile_pdf(report)}


def compile_pdf(report: StudyReport) -> bytes:
    """The PDF's bytes. Its creation date is the study's, so that the same ledger gives the same file.

    All text reaches the template as JSON strings, which Typst sets as they are: no label is ever read as markup.
    """
    import typst

    template = files("posestudy_reports").joinpath("report.typ").read_bytes()
    created = int(report.result.snapshot.study.created)
    document = json.dumps(content(report), ensure_ascii=False, sort_keys=True)
    return typst.compile(template, format="pdf", sys_inputs={"report": document}, timestamp=created)


def content(report: StudyReport) -> dict[str, Any]:
    """What the template sets, as JSON."""
    study = report.result.snapshot.study
    created = datetime.fromtimestamp(study.created, UTC)
    return {
        "name": report.name,
        "title": report.title,
        "authors": list(report.authors),
        "description": report.description,
        "created": f"{created.day} {created:%B %Y}",
        "metric": report.result.metric.short,
        "summary": list(report.summary),
        "open": list(report.still_open),
        "stages": [
            asdict(table)
            | {
                "differences": asdict(differences) if differences else None,
                "figure": learning_curves_svg(drawn, report.result.metric),
                "drawn": bool(drawn),
            }
            for table, differences, drawn in zip(report.tables, report.difference_tables, report.curves, strict=True)
        ],
        "addresses": [
            [str(t.number), stage.stage.name, cell.label, str(t.seed), t.uid, report.result.runs.get(t.uid, "")]
            for stage in report.stages
            for cell in stage.cells
            for t in cell.trials
        ],
    }
