"""The PDF: the report as data, set by the Typst template beside this module, without a browser."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from posestudy_reports.figures import learning_curves_svg
from posestudy_reports.sections import Chart, Picture

_UPRIGHT: Final = (170.0, 205.0)
_TURNED: Final = (257.0, 132.0)
"""What a picture may take of a page, width and height, mm; the rest is for a heading and the caption."""
_PIXELS_PER_MM: Final = 10.8

if TYPE_CHECKING:
    from posestudy_reports.report import StudyReport


def write(report: StudyReport) -> dict[str, bytes]:
    """`report.pdf`: A4, fonts embedded, curves as vectors."""
    return {"report.pdf": compile_pdf(report)}


def compile_pdf(report: StudyReport) -> bytes:
    """The PDF's bytes. Its creation date is the study's, so that the same ledger gives the same file.

    All text reaches the template as JSON strings, which Typst sets as they are: no label is ever read as markup.
    Pictures of pixels reach it as files beside it, in a folder that is gone afterwards.
    """
    import typst

    created = int(report.result.snapshot.study.created)
    document = json.dumps(content(report), ensure_ascii=False, sort_keys=True)
    with TemporaryDirectory() as name:
        folder = Path(name)
        template = folder / "report.typ"
        template.write_bytes(files("posestudy_reports").joinpath("report.typ").read_bytes())
        for section in report.sections:
            for shown in section.figures:
                if isinstance(shown, Picture):
                    (folder / f"{shown.name}.jpg").write_bytes(shown.data)
        given = {"report": document}
        return typst.compile(template, root=folder, format="pdf", sys_inputs=given, timestamp=created)


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
            asdict(parts.table)
            | {
                "differences": asdict(parts.differences) if parts.differences else None,
                "zoo": asdict(parts.zoo) if parts.zoo else None,
                "figure": learning_curves_svg(parts.curves, report.result.metric),
                "drawn": bool(parts.curves),
            }
            for parts in report.stage_parts
        ],
        "sections": [
            {"title": section.title, "figures": [_figure(shown) for shown in section.figures]}
            for section in report.sections
        ],
        "addresses": [
            [str(t.number), stage.stage.name, cell.label, str(t.seed), t.uid, report.result.runs.get(t.uid, "")]
            for stage in report.stages
            for cell in stage.cells
            for t in cell.trials
        ],
    }


def _figure(shown: Chart | Picture) -> dict[str, Any]:
    """A figure as the template shows it: a drawing in itself, pixels by the name of their file."""
    if isinstance(shown, Chart):
        return {"caption": shown.caption, "svg": shown.vector("svg").decode(), "across": False}
    width, height = shown.size
    room = _TURNED if shown.across else _UPRIGHT
    wide = min(room[0], width / _PIXELS_PER_MM, room[1] * width / height)
    return {"caption": shown.caption, "svg": None, "file": f"/{shown.name}.jpg", "width": wide, "across": shown.across}
