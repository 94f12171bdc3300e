"""The whole paper in LaTeX: two columns on A4, its tables and figures from the files beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

from posestudy_reports import words
from posestudy_reports.document import Document, Paragraph, Part, Shown, Span, shown_in
from posestudy_reports.tables import Table
from posestudy_reports.writers.latex_text import DEFINITIONS, escape, first_line, loose

_HEAD: Final = r"""\documentclass[10pt,a4paper,twocolumn]{article}
\usepackage[T1]{fontenc}
\usepackage{times}
\usepackage[margin=18mm,columnsep=6mm]{geometry}
\usepackage{amssymb,booktabs,graphicx,siunitx}
\extrafloats{400}
\setcounter{topnumber}{4}\setcounter{dbltopnumber}{4}\setcounter{totalnumber}{6}
\renewcommand{\topfraction}{0.9}\renewcommand{\dbltopfraction}{0.9}\renewcommand{\textfraction}{0.05}
\renewcommand{\floatpagefraction}{0.75}\renewcommand{\dblfloatpagefraction}{0.75}
\makeatletter\@fptop=0pt\@dblfptop=0pt\makeatother
\setlength{\emergencystretch}{0.4\columnwidth}\tolerance=9999\hbadness=10000
\input{numbers}"""


def paper(document: Document, study: str) -> str:
    """`report.tex`. It reads `numbers.tex`, `tables/` and `figures/` of the folder it lies in, and no other file."""
    body = _Body(document, study).lines()
    definitions = [DEFINITIONS] if any(r"\poseletter" in line for line in body) else []
    lines = [first_line(study), _HEAD, *definitions, r"\begin{document}", *body, r"\end{document}", ""]
    return "\n".join(lines)


class _Body:
    """What stands between the beginning and the end of the document."""

    def __init__(self, document: Document, study: str) -> None:
        self._document, self._study = document, study
        shown = shown_in((*document.parts, *document.supplement))
        self._labels = {one.name: _reference(one) for one in shown}

    def lines(self) -> list[str]:
        document = self._document
        authors = r" \and ".join(map(escape, document.authors))
        supplement = [line for part in document.supplement for line in self._part(part)]
        return [
            f"\\title{{{self._text(document.title)}}}",
            f"\\author{{{authors}}}",
            f"\\date{{{escape(document.date)}}}",
            r"\maketitle",
            r"\suppressfloats[t]",
            *self._abstract(),
            *(line for part in document.parts for line in self._part(part)),
            *self._references(),
            *([r"\clearpage", r"\appendix", *supplement] if supplement else []),
        ]

    def _text(self, text: str) -> str:
        return loose(text, self._study)

    def _abstract(self) -> list[str]:
        lines = []
        if self._document.abstract:
            lines += [r"\begin{abstract}", *self._content(self._document.abstract), r"\end{abstract}"]
        if self._document.notices:
            notices = " ".join(map(self._text, self._document.notices))
            lines += [f"\\paragraph{{Still open.}} {notices}", ""]
        return lines

    def _part(self, part: Part) -> list[str]:
        return [f"\\section{{{self._text(part.title)}}}\\label{{sec:{part.name}}}", *self._content(part.content)]

    def _content(self, content: Iterable[Paragraph | Shown]) -> Iterator[str]:
        for items, group in groupby(content, lambda c: isinstance(c, Paragraph) and c.item):
            if items:
                yield r"\begin{itemize}"
            for piece in group:
                if isinstance(piece, Shown):
                    yield f"\\input{{{'tables' if piece.is_table else 'figures'}/{piece.name}}}"
                else:
                    yield from self._paragraph(piece)
            if items:
                yield r"\end{itemize}"

    def _paragraph(self, paragraph: Paragraph) -> list[str]:
        text = "".join(map(self._span, paragraph.pieces))
        pointed = [self._labels[name] for name in paragraph.shows if name in self._labels]
        if pointed:
            text = f"{text} See {words.listing(pointed)}." if text else f"See {words.listing(pointed)}."
        if paragraph.heading:
            text = f"\\paragraph{{{self._text(paragraph.heading)}}} {text}"
        return [f"\\item {text}"] if paragraph.item else [text, ""]

    def _span(self, span: Span) -> str:
        if span.style == "cite":
            return f"\\cite{{{','.join(span.keys)}}}"
        command = {"bold": "\\textbf", "italic": "\\emph", "code": "\\texttt"}.get(span.style)
        return f"{command}{{{self._text(span.text)}}}" if command else self._text(span.text)

    def _references(self) -> list[str]:
        items = [f"\\bibitem{{{one.key}}} {self._text(one.text)}" for one in self._document.references]
        return [r"\begin{thebibliography}{99}", r"\small", *items, r"\end{thebibliography}"] if items else []


def _reference(shown: Shown) -> str:
    """`Table~\\ref{tab:1_lr}`."""
    if isinstance(shown.content, Table):
        return f"Table~\\ref{{{shown.content.label or f'tab:{shown.name}'}}}"
    return f"Figure~\\ref{{fig:{shown.name}}}"
