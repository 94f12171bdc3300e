"""How a table is set on paper: in a column or over both, how wide each column is, in which size.

Widths follow what words need: none is wider than its column. First the print is made smaller down to 7 pt, then long
words are broken; where even that is not enough the whole table is made smaller, which the report warns of. Numbers are
never broken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Final

from posestudy_reports.line_breaks import LONGEST, loose, tied, whole, words_of
from posestudy_reports.tables import Column, Entry, Table

UNIT: Final = 10.0
"""Points at which widths are measured."""
SMALLEST: Final = 7.0
"""Points; smaller print is not read with ease."""
GAP: Final = 2.6
"""Points on either side of an entry."""
DETAIL: Final = 0.84
"""Size of a detail, of its entry's; MARK: of footnote marks."""
MARK: Final = 0.65
SPACE: Final = 3.5
"""Points at UNIT before a detail on the line of its entry."""
_SLACK: Final = 0.5
"""Points at UNIT beyond what was measured: words are set with their neighbours, and widths are rounded."""
_SHORT: Final = 20
"""Letters of an entry that stays on one line."""
_CALM: Final = 1.9
"""Lines an entry may take in a column; a table that would need more goes over both."""
_SHRUNK: Final = 0.72
"""The factor down to which a table is rather made smaller than its short words are broken."""
_MOST_ROWS: Final = 30
"""A longer table goes over both columns, where it may be flatter."""
RUNS: Final = (LONGEST, 10, 5)
"""Letters after which a word may break anywhere, the last ones only where nothing else helps."""

Width = Callable[[str, bool], float]
"""Points that a text takes on one line at `UNIT`, set bold or not."""


@dataclass(frozen=True)
class Setting:
    """How a table is set.

    Attributes:
        widths: of its columns with their gaps, points.
        wide: over both columns of the page.
        run: letters without a place to break.
        inline: details stand behind their entries, not below them.
        factor: below 1 where it is made smaller than `SMALLEST`.
    """

    widths: tuple[float, ...]
    points: float
    wide: bool
    run: int = LONGEST
    inline: bool = False
    factor: float = 1.0


@dataclass(frozen=True)
class _Extent:
    """Of a column at `UNIT`: its widest entry on one line, and its widest word."""

    natural: float
    least: float


def entry_text(entry: Entry, run: int) -> str:
    """The text of an entry with its places to break; a short one has none at its spaces."""
    text = loose(entry.text, run)
    return tied(text) if len(text) <= _SHORT else text


def strings(table: Table, run: int) -> Iterator[tuple[str, bool]]:
    """Every text that `setting` asks the width of, and whether it is bold."""
    for i, column in enumerate(table.columns):
        for text, bold in _header(column, run):
            yield text, bold
        for row in table.rows:
            entry = row.entries[i]
            body, bold = entry_text(entry, run), entry.emphasis == "best"
            yield from ((text, bold) for text in (whole(body), *words_of(body)))
            detail = loose(entry.detail, run)
            yield from ((text, False) for text in (whole(detail), *words_of(detail), _marks(entry)))


def setting(table: Table, width: Width, points: float, column: float, page: float) -> Setting:
    """How `table` is set in print of at most `points`, where a column and a page have these widths in points; a
    `column` of 0: there is none."""
    sizes = [max(SMALLEST, points - 0.25 * i) for i in range(5)]
    usual, inline = _extents(table, width, LONGEST), _extents(table, width, LONGEST, inline=True)
    if column and len(table.rows) <= _MOST_ROWS:
        for size in sizes:
            if _flat(inline, size, column):
                return Setting(_shared(inline, size, column) or (), size, False, inline=True)
        for size in sizes:
            widths = _shared(usual, size, column)
            if widths and _calm(usual, widths, size):
                return Setting(widths, size, False)
    for size in sizes:
        if _flat(inline, size, page):
            return Setting(_shared(inline, size, page) or (), size, True, inline=True)
    for run in RUNS:
        found = usual if run == LONGEST else _extents(table, width, run)
        for size in sizes:
            widths = _shared(found, size, page)
            if widths:
                return Setting(widths, size, True, run)
        least = tuple(e.least * SMALLEST / UNIT + 2 * GAP for e in found)
        if run < LONGEST and page / sum(least) >= _SHRUNK:
            break
    return Setting(least, SMALLEST, True, run, factor=page / sum(least))


def _header(column: Column, run: int) -> list[tuple[str, bool]]:
    text = loose(column.header, run)
    return [(part, True) for part in (whole(text), *words_of(text))]


def _marks(entry: Entry) -> str:
    return ",".join(map(str, entry.marks))


def _extents(table: Table, width: Width, run: int, *, inline: bool = False) -> list[_Extent]:
    return [_extent(table, i, width, run, inline=inline) for i in range(len(table.columns))]


def _extent(table: Table, place: int, width: Width, run: int, *, inline: bool) -> _Extent:
    column = table.columns[place]
    header, *parts = [width(*text) for text in _header(column, run)]
    natural, least = [header], parts
    for row in table.rows:
        entry = row.entries[place]
        body, bold = entry_text(entry, run), entry.emphasis == "best"
        marks = MARK * width(_marks(entry), False)
        wide = width(whole(body), bold) + marks
        detail = loose(entry.detail, run)
        small = DETAIL * width(whole(detail), False)
        if inline and entry.detail and column.align == "left":
            natural.append(wide + SPACE + small)
            least.append(natural[-1])
            continue
        pieces = [width(word, bold) for word in words_of(body)]
        pieces[-1] += marks
        natural += [wide, small]
        least += [*pieces, *(DETAIL * width(word, False) for word in words_of(detail))]
    return _Extent(max(natural) + _SLACK, max(least) + _SLACK)


def _flat(extents: Sequence[_Extent], points: float, room: float) -> bool:
    """Whether nothing need break."""
    return sum(e.natural * points / UNIT + 2 * GAP for e in extents) <= room


def _calm(extents: Sequence[_Extent], widths: Sequence[float], points: float) -> bool:
    pairs = zip(extents, widths, strict=True)
    return all((w - 2 * GAP) * _CALM >= e.natural * points / UNIT for e, w in pairs)


def _shared(extents: Sequence[_Extent], points: float, room: float) -> tuple[float, ...] | None:
    """The widths of the columns, together as wide as the room; None where even the widest words do not find room."""
    scale = points / UNIT
    natural, least = [e.natural * scale for e in extents], [e.least * scale for e in extents]
    left = room - 2 * GAP * len(extents)
    if sum(natural) <= left:  # the lines of a table end with those of the text
        each = (left - sum(natural)) / len(natural)
        return tuple(w + 2 * GAP + each for w in natural)
    spare = left - sum(least)
    if spare < 0:
        return None
    # Long texts share what is left by the root of what they lack, so that a very long one does not take it all.
    wants = [sqrt(max(0.0, n - m)) for n, m in zip(natural, least, strict=True)]
    widths = [m + spare * want / (sum(wants) or 1.0) for m, want in zip(least, wants, strict=True)]
    for _ in range(len(widths)):  # nobody takes more than a line; what that leaves goes to the others
        over = sum(max(0.0, w - n) for w, n in zip(widths, natural, strict=True))
        lacking = [max(0.0, n - w) for w, n in zip(widths, natural, strict=True)]
        if over < 0.1 or not sum(lacking):
            break
        widths = [min(w, n) + over * lack / sum(lacking) for w, n, lack in zip(widths, natural, lacking, strict=True)]
    return tuple(w + 2 * GAP for w in widths)
