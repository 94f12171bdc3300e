"""A report as a paper: parts with text, tables and figures, in the order in which they are read."""

from __future__ import annotations

from dataclasses import dataclass

from posestudy_reports.sections import Chart, Picture
from posestudy_reports.tables import Table


@dataclass(frozen=True)
class Paragraph:
    """Text that is set as it is; `heading` stands before it, run in."""

    text: str
    heading: str = ""


@dataclass(frozen=True)
class Shown:
    """A table or a figure with its place in the order of what goes first when room is short.

    Attributes:
        name: unique in the document, safe as part of a file name and of a label.
        priority: 1 stays longest; what has the largest number is shrunk or moved to the supplement first.
    """

    name: str
    content: Table | Chart | Picture
    priority: int = 50


@dataclass(frozen=True)
class Part:
    """A section of the paper: `name` is safe as part of a file name."""

    name: str
    title: str
    content: tuple[Paragraph | Shown, ...]


@dataclass(frozen=True)
class Reference:
    """Something that was used: `key` is its BibTeX key, `bibtex` the entry, `text` the line of a list."""

    key: str
    text: str
    bibtex: str


@dataclass(frozen=True)
class Document:
    """The whole paper.

    Attributes:
        pages: the most it may have, without the supplement.
        supplement: what did not find room or was declared to stand there.
    """

    name: str
    title: str
    authors: tuple[str, ...]
    date: str
    parts: tuple[Part, ...]
    references: tuple[Reference, ...] = ()
    supplement: tuple[Part, ...] = ()
    pages: int = 4
