"""The PDF: the paper and its supplement, set by the Typst template beside this module, without a browser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from posestudy.errors import nearest
from posestudy_reports.document import Document, shown_in
from posestudy_reports.fitting import ARRANGEMENTS, LEVELS, Fitted, fit
from posestudy_reports.paper import Options, own
from posestudy_reports.press import Press, labelled

if TYPE_CHECKING:
    from posestudy_reports.report import StudyReport


@dataclass(frozen=True)
class Printed:
    """The files of a paper, and sentences about what a reader of them would stumble over."""

    report: bytes
    supplement: bytes | None
    warnings: tuple[str, ...] = ()


def write(report: StudyReport) -> dict[str, bytes]:
    """`report.pdf`, A4 and at most as many pages as asked for, and `supplement.pdf` where something stands there."""
    made = report.printed
    return {"report.pdf": made.report} | ({"supplement.pdf": made.supplement} if made.supplement else {})


def compile_pdf(report: StudyReport) -> bytes:
    """The bytes of the paper."""
    return report.printed.report


def printed(report: StudyReport) -> Printed:
    """The paper within its pages. Its creation date is the study's, so that the same ledger gives the same file.

    All text reaches the template as JSON strings, which Typst sets as they are: nothing is ever read as markup.
    """
    study = report.result.snapshot.study
    created = int(study.created)
    document = report.document
    with TemporaryDirectory() as folder:
        press = Press(Path(folder), document)
        fitted = fit(document, press.measure)
        pages = press.pdf(fitted.document, fitted.level, fitted.arrangement, created)
        further = None
        if fitted.document.supplement:
            further = press.pdf(_supplement(fitted.document), LEVELS[0], ARRANGEMENTS[0], created)
        wide = tuple(_too_wide(fitted, press))
    notes = (*fitted.warnings, *wide, *_unknown(document, Options.of(study.document)), *own(report).warnings)
    return Printed(pages, further, tuple(dict.fromkeys(notes)))


def _supplement(document: Document) -> Document:
    """The supplement as a document of its own; its labels are those that the paper refers to."""
    title = f"Supplement: {document.title}"
    return Document(document.name, title, document.authors, document.date, (), (), document.supplement)


def _too_wide(fitted: Fitted, press: Press) -> Iterator[str]:
    labels = labelled(fitted.document)
    for name in press.too_wide(fitted.document, fitted.level):
        yield f"{labels[name]} ({name}) is too wide for a page and is printed smaller than is read with ease."


def _unknown(document: Document, options: Options) -> Iterator[str]:
    """What the study says of tables and figures that this report does not have."""
    known = [s.name for s in (*document.shown, *shown_in(document.supplement))]
    for key, names in (("supplement", options.supplement), ("priorities", options.priorities or {})):
        for name in names:
            if name not in known:
                hint = nearest(name, known) or f"there are {', '.join(known) or 'none'}"
                yield f"report.{key} names '{name}', which is no table or figure of this report ({hint})."
