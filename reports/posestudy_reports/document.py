"""A report as a paper: parts with text, tables and figures, in the order in which they are read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from posestudy_reports.addressed import joined
from posestudy_reports.sections import Chart, Picture
from posestudy_reports.tables import Table

Style = Literal["", "bold", "italic", "code", "cite"]


@dataclass(frozen=True)
class Span:
    """A run of text in one style; one of style `cite` stands for the references with these `keys`."""

    text: str
    style: Style = ""
    keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Paragraph:
    """Text that is set as it is; `heading` stands before it, run in.

    Attributes:
        text: all of it; citations stand in it as `[1]`.
        spans: the same text in styles, where it has any; their texts put together are `text`.
        item: whether it is an item of a list.
        shows: names of the tables and figures that it speaks of.
        own: whether the user wrote it; such text is never left out.
        priority: 0 stays; of others the largest number goes to the supplement first where text alone is too long.
    """

    text: str
    heading: str = ""
    spans: tuple[Span, ...] = ()
    item: bool = False
    shows: tuple[str, ...] = ()
    own: bool = False
    priority: int = 0

    @classmethod
    def of(
        cls, spans: Iterable[Span], heading: str = "", *, item: bool = False, own: bool = False, priority: int = 0
    ) -> Paragraph:
        """The spans, one after another."""
        found = tuple(span for span in spans if span.text)
        styled = found if any(span.style for span in found) else ()
        text = joined([span.text for span in found], "")
        return cls(text, heading, styled, item, (), own, priority)

    @property
    def pieces(self) -> tuple[Span, ...]:
        """The text in styles, also where it has none."""
        return self.spans or (Span(self.text),)


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

    @property
    def is_table(self) -> bool:
        return isinstance(self.content, Table)

    @property
    def caption(self) -> str:
        """What stands under or over it."""
        if isinstance(self.content, Table):
            return self.content.caption or f"{self.content.title}."
        return self.content.caption


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
        abstract: what was asked and found, before the first part.
        notices: what a reader must know before believing it: what is still open.
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
    abstract: tuple[Paragraph, ...] = ()
    notices: tuple[str, ...] = ()

    @property
    def shown(self) -> tuple[Shown, ...]:
        """The tables and figures of the paper itself, in order."""
        return tuple(shown_in(self.parts))

    def moved(self, names: Iterable[str], paragraphs: Iterable[int] = ()) -> Document:
        """The same with these tables and figures, and these paragraphs (by their place in `texts`), moved to the
        supplement, each in a part of the same title; parts without content go."""
        away, texts = frozenset(names), frozenset(paragraphs)
        places = {id(p): i for i, p in enumerate(self.texts)}
        kept, gone = [], []
        for part in self.parts:
            leaving = [(c.name in away) if isinstance(c, Shown) else places[id(c)] in texts for c in part.content]
            stays = tuple(c for c, leaves in zip(part.content, leaving, strict=True) if not leaves)
            goes = tuple(c for c, leaves in zip(part.content, leaving, strict=True) if leaves)
            if stays:
                kept.append(replace(part, content=stays))
            if goes:
                gone.append(replace(part, content=goes))
        return replace(self, parts=tuple(kept), supplement=_merged(gone, self.supplement))

    @property
    def texts(self) -> tuple[Paragraph, ...]:
        """The paragraphs of the paper itself, in order, each its own object."""
        return tuple(content for part in self.parts for content in part.content if isinstance(content, Paragraph))


def shown_in(parts: Iterable[Part]) -> Iterator[Shown]:
    """The tables and figures of these parts, in order."""
    for part in parts:
        yield from (content for content in part.content if isinstance(content, Shown))


def _merged(first: Iterable[Part], second: Iterable[Part]) -> tuple[Part, ...]:
    """The parts of both, those of one name put together."""
    found: dict[str, Part] = {}
    for part in (*first, *second):
        before = found.get(part.name)
        found[part.name] = replace(before, content=(*before.content, *part.content)) if before else part
    return tuple(found.values())
