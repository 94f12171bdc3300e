"""How a paper is made to fit its pages: first all is shrunk a little, then what may go goes to the supplement.

What has the largest priority number goes first, of equal ones what stands last; text that may go follows only where
nothing else is left. The same document and the same measure give the same outcome.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from posestudy_reports import words
from posestudy_reports.document import Document, Paragraph


@dataclass(frozen=True)
class Level:
    """How large things are set: text and tables in points, figures as a share of the size they are drawn in."""

    text: float
    table: float
    figure: float


LEVELS: Final = (Level(9.5, 8.0, 1.0), Level(9.25, 7.5, 0.92), Level(9.0, 7.0, 0.84))
"""From the usual to the smallest that is still read with ease: 7 pt in tables, figures drawn with 8 pt at 6.7 pt."""


@dataclass(frozen=True)
class Arrangement:
    """Where figures may go: wide ones to the top of a page only, or also to its bottom; narrow ones to the top or
    bottom of a column, or, `settled`, where they are spoken of."""

    on_top: bool = False
    settled: bool = False


ARRANGEMENTS: Final = (Arrangement(), Arrangement(on_top=True), Arrangement(settled=True))
"""In the order they are tried: Typst may let floats of columns and of pages run into one another, which another
arrangement of them cures."""


@dataclass(frozen=True)
class Measured:
    """A document as it was set.

    Attributes:
        pages: it takes.
        tall: names of what is higher than a page and so can only stand where it may be broken.
        spilled: names of what stands over something else or leaves its page.
    """

    pages: int
    tall: tuple[str, ...] = ()
    spilled: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fitted:
    """The document as it is printed; `warnings` say what does not fit."""

    document: Document
    level: Level
    arrangement: Arrangement = ARRANGEMENTS[0]
    warnings: tuple[str, ...] = ()


Measure = Callable[[Document, Level, Arrangement], Measured]


def fit(document: Document, measure: Measure) -> Fitted:
    """The document within its pages, or with a warning the least that can be made of it."""
    tightest = LEVELS[-1]
    document = document.moved(measure(document, tightest, ARRANGEMENTS[0]).tall)
    if (found := _first(document, measure, LEVELS)) is not None:
        return found
    going = sorted(enumerate(document.shown), key=lambda pair: (-pair[1].priority, -pair[0]))
    names = [shown.name for _, shown in going]

    def fits(count: int) -> bool:
        return _first(document.moved(names[:count]), measure, (tightest,)) is not None

    count = _fewest(len(names), fits)
    if count is not None:
        left = document.moved(names[:count])
        return _first(left, measure, LEVELS) or Fitted(left, tightest)
    return _text_alone(document.moved(names), measure)


def _first(document: Document, measure: Measure, levels: Sequence[Level]) -> Fitted | None:
    """The document at the largest level, and in the first arrangement, in which it fits and nothing overlaps."""
    for level in levels:
        for arrangement in ARRANGEMENTS:
            found = measure(document, level, arrangement)
            if found.pages <= document.pages and not found.spilled:
                return Fitted(document, level, arrangement)
            if found.pages > document.pages + 1:  # where things go saves part of a page, never more
                break
    return None


def _fewest(most: int, fits: Callable[[int], bool]) -> int | None:
    """The smallest count from 1 to `most` that fits, by halving; None where even `most` does not."""
    if not most or not fits(most):
        return None
    low, high = 0, most  # `high` fits
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high


def _text_alone(document: Document, measure: Measure) -> Fitted:
    """Without tables and figures it is still too long: texts that may go follow, then there is nothing left to do."""
    tightest, texts = LEVELS[-1], document.texts
    going = sorted((i for i, p in enumerate(texts) if p.priority), key=lambda i: (-texts[i].priority, -i))

    def pages(left: Document) -> int:
        return measure(left, tightest, ARRANGEMENTS[0]).pages

    def fits(count: int) -> bool:
        return pages(document.moved((), going[:count])) <= document.pages

    count = _fewest(len(going), fits)
    if count is not None:
        warning = _SHORT.format(pages=words.count(document.pages, "page"))
        return Fitted(document.moved((), going[:count]), tightest, warnings=(warning,))
    least = document.moved((), going)
    return Fitted(least, tightest, warnings=(_too_long(least, pages(least)),))


_SHORT: Final = (
    "The text alone takes more than {pages}, so all tables and figures and some paragraphs stand in the supplement; "
    "raise report.pages or shorten your own text."
)


def _too_long(document: Document, pages: int) -> str:
    """What to do about text that does not fit, naming the longest of the user's own."""
    lengths: dict[str, int] = {}
    for part in document.parts:
        own = [c for c in part.content if isinstance(c, Paragraph) and c.own]
        if own:
            lengths[part.name] = sum(len(p.text.split()) for p in own)
    asked = words.count(document.pages, "page")
    text = f"The text alone takes {words.count(pages, 'page')}, where at most {asked} may be"
    longest = sorted(lengths.items(), key=lambda pair: -pair[1])[:3]
    named = words.listing([f"{name}.md ({words.count(count, 'word')})" for name, count in longest])
    return f"{text}; shorten {named} or raise report.pages." if named else f"{text}; raise report.pages."
