"""`posestudy dataset`: what a study's data set holds, without any training."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from posestudy_studies.commands import Sets, StudyFile

if TYPE_CHECKING:
    from posestudy.errors import Problem
    from posestudy_reports.sections import Section
    from posestudy_studies.spec import Dataset


def dataset(
    study: StudyFile,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the files; made where missing.")] = Path(
        "out/dataset"
    ),
    sets: Sets = None,
) -> None:
    """Describe the data set of a study: counts, boxes, keypoints, images, and images that occur twice."""
    from posestudy.durable import write_bytes
    from posestudy.errors import InputError, PoseStudyError
    from posestudy.settings import Settings
    from posestudy_reports.dataset_section import of_dataset
    from posestudy_studies import dataset as data
    from posestudy_studies import file

    loaded = file.load(study, sets or [])
    found = of_dataset(loaded.dataset, Settings.resolve().home, anew=True)
    if not found:
        raise InputError(data.problems(loaded) or [_unusable(loaded.dataset)])
    files = _files(loaded.study, found)
    try:
        for path, content in files.items():
            write_bytes(out / path, content)
            typer.echo(out / path)
    except OSError as error:
        raise PoseStudyError(f"cannot write {error.filename or out}: {error.strerror}") from error


def _unusable(dataset: Dataset) -> Problem:
    from posestudy.errors import Problem

    return Problem(dataset.root, 0, 0, "dataset", "no split with annotations", "COCO keypoint JSON")


def _files(study: str, sections: tuple[Section, ...]) -> dict[str, bytes]:
    """`dataset.md`, and each figure as SVG and as PDF in `figures/`, one of pixels as JPEG."""
    from posestudy_reports.sections import Chart
    from posestudy_reports.writers.markdown import escape, grid

    files: dict[str, bytes] = {}
    lines = [f"# The data set of {escape(study)}", ""]
    for section in sections:
        lines += [f"## {escape(section.title)}", "", *(f"- {escape(text)}" for text in section.texts), ""]
        for table in section.tables:
            lines += [f"### {escape(table.title)}", "", *grid(table), ""]
        for shown in section.figures:
            path = f"figures/{shown.name}.{'svg' if isinstance(shown, Chart) else 'jpg'}"
            files[path] = shown.vector("svg") if isinstance(shown, Chart) else shown.data
            if isinstance(shown, Chart):
                files[f"figures/{shown.name}.pdf"] = shown.vector("pdf")
            lines += [f"![{escape(shown.title)}]({path})", "", f"*{escape(shown.caption)}*", ""]
    return {"dataset.md": "\n".join(lines).encode(), **files}
