"""How a table is laid on a page of LaTeX: which columns wrap, in what size, over one column of the page or both.

What TeX will make of it is estimated from the widths of Computer Modern, the widest of the usual fonts. Where the class
has less room than was planned for, the file itself shrinks the table (see `latex`), so that no line is ever too long.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from posestudy_reports.addressed import Number, pieces_of
from posestudy_reports.grouped_table import headings
from posestudy_reports.tables import Entry, Table
from posestudy_reports.writers.latex_text import parts

Kind = Literal["l", "r", "c", "S", "p"]

COLUMN: Final = 228.0
"""A column of a page of two, points: 229.5 in article, 237 in classes of conferences."""
PAGE: Final = 344.0
"""The text of a page of one column in article, points."""
SPREAD: Final = 468.0
"""Both columns of a page of two in article, points."""
_SHRUNK: Final = 1.15
"""How much wider than the page a table may be, rather than be set in two parts: it is shrunk by so much."""
_GAP: Final = {"\\small": 9.0, "\\footnotesize": 8.0, "\\scriptsize": 6.0}
"""Between two columns, points."""
_SIZES: Final = {"\\small": 9.0, "\\footnotesize": 8.0, "\\scriptsize": 7.0, "\\tiny": 5.0}
_WIDER: Final = {9.0: 1.03, 8.0: 1.06, 7.0: 1.14, 5.0: 1.36}
"""Smaller sizes of Computer Modern are drawn wider."""
SMALLER: Final = {"\\small": "\\scriptsize", "\\footnotesize": "\\scriptsize", "\\scriptsize": "\\tiny"}
"""The size of the second line of an entry."""
_TALLEST: Final = 480.0
"""What the rows of one float may take, points."""

_LETTERS: Final = {
    letter: ems
    for letters, ems in (
        ("ilj.,:;'!|`\u2019", 0.31), ("ft()[]rs-", 0.40), ("cez", 0.45), (" ", 0.34), ("IJ", 0.52), ("EFLPSTZ", 0.69),
        ("abdghknopquvxy0123456789_*?\u2013\u00a0", 0.56), ("wm\u2212+=<>\u00d7\u00b1~%&", 0.84),
        ("MW@\u2192\u2026", 1.04),
    )
    for letter in letters
}  # fmt: skip


def width(text: str, size: str) -> float:
    """About what a line of text takes, points; rather too much."""
    points = _SIZES[size]
    ems = sum(_LETTERS.get(x, 0.79 if x < "\u0180" else 1.0 if x in "\u2713\u2717\u03c3" else 4.2) for x in text)
    return ems * points * _WIDER[points]


def kept(text: str) -> bool:
    """Whether a text is so short that its words stay on one line, as `150: 0.485` and `2 h 05 min` do."""
    return len(text) <= 12 and any(letter.isdigit() for letter in text)


@dataclass(frozen=True)
class Place:
    """A column on the page. `base`: its least width where it wraps (kind p), points; `share`: of the room left."""

    kind: Kind
    base: float = 0.0
    share: float = 0.0
    digits: str = ""
    """The `table-format` of kind S."""


@dataclass(frozen=True)
class Layout:
    """A table on a page.

    Attributes:
        size: the command that sets its size.
        wide: over both columns of a page of two.
        places: of the columns, in order.
        need: the width it was planned for, points; spare: what its wrapping columns may have beyond.
        panels: the columns of each of its parts, one under the other.
        pages: the rows of each float, first and behind the last.
    """

    size: str
    wide: bool
    places: tuple[Place, ...]
    need: float
    spare: float
    panels: tuple[tuple[int, ...], ...]
    pages: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class _Measured:
    """A column in points: on one line, with its words broken as far as they can be, and as it is comfortable."""

    natural: float
    least: float
    comfortable: float
    wraps: bool


def layout(table: Table) -> Layout:
    """The layout that is largest and narrowest: one column of the page before both, wrapping where lines are long."""
    plans = [("\\small", COLUMN, False), ("\\footnotesize", COLUMN, False)]
    plans += [("\\small", PAGE, False), ("\\footnotesize", PAGE, False), ("\\footnotesize", PAGE, True)]
    plans += [("\\scriptsize", PAGE, True), ("\\footnotesize", SPREAD, True), ("\\scriptsize", SPREAD, True)]
    plans += [("\\scriptsize", _SHRUNK * SPREAD, False)]
    for size, room, wrapped in plans:
        found = _fitted(table, size, room, wrapped=wrapped)
        if found:
            return found
    return _split(table)


def _fitted(table: Table, size: str, room: float, *, wrapped: bool) -> Layout | None:
    columns = [_measured(table, i, size) for i in range(len(table.columns))]
    widths = [c.comfortable if wrapped and c.wraps else c.natural for c in columns]
    need = _total(widths, size)
    if need > room or (wrapped and not any(c.wraps for c in columns)):
        return None
    everything = (tuple(range(len(columns))),)
    return _made(table, size, columns, widths, need, everything, wide=room > COLUMN, wrapped=wrapped)


def _total(widths: list[float], size: str) -> float:
    return sum(widths) + _GAP[size] * (len(widths) - 1)


def _split(table: Table) -> Layout:
    """Parts one under the other that repeat the first column; what is too wide by itself will be shrunk."""
    size = "\\footnotesize"
    columns = [_measured(table, i, size) for i in range(len(table.columns))]
    widths = [c.comfortable if c.wraps else c.natural for c in columns]
    panels: list[list[int]] = [[0]]
    for i in range(1, len(columns)):
        if len(panels[-1]) > 1 and _total([widths[j] for j in (*panels[-1], i)], size) > SPREAD:
            panels.append([0])
        panels[-1].append(i)
    need = max(_total([widths[i] for i in panel], size) for panel in panels)
    parts_of = tuple(map(tuple, panels))
    return _made(table, size, columns, widths, need, parts_of, wide=True, wrapped=True)


def _made(
    table: Table,
    size: str,
    columns: list[_Measured],
    widths: list[float],
    need: float,
    panels: tuple[tuple[int, ...], ...],
    *,
    wide: bool,
    wrapped: bool,
) -> Layout:
    wishes = [max(0.0, c.natural - w) if wrapped and c.wraps else 0.0 for c, w in zip(columns, widths, strict=True)]
    spare = sum(wishes)
    places = []
    for i, (column, wish) in enumerate(zip(columns, wishes, strict=True)):
        kind, digits = _kind(table, i)
        if wrapped and column.wraps:
            places.append(Place("p", widths[i], wish / spare if spare else 0.0))
        else:
            places.append(Place(kind, digits=digits))
    room = max(0.0, min(spare, (PAGE if wide else COLUMN) - need))
    drawn = [w + place.share * room for w, place in zip(widths, places, strict=True)]
    heights = [_height(table, row, drawn, size) * len(panels) for row in range(len(table.rows))]
    return Layout(size, wide, tuple(places), need, spare, panels, _pages(heights, _notes(table, wide=wide)))


def _measured(table: Table, index: int, size: str) -> _Measured:
    column = table.columns[index]
    entries = [row.entries[index] for row in table.rows]
    lines = [x for entry in entries for x in _lines(entry, size)]
    heads = [width(line, size) for line in head_lines(column.header, max((len(e.text) for e in entries), default=0))]
    natural = max([*(x for x, _ in lines), *heads, 0.0])
    least = max([*(x for _, x in lines), *heads, 0.0])
    point = _SIZES[size]
    long = natural > 7.5 * point and least < natural
    # Around a third of a long text, so that it takes about three lines; one very long text does not take all the room.
    comfortable = max(least, min(natural, max(6.5 * point, min(natural / 3, 13 * point))))
    wraps = long and not is_numeric(table, index)
    return _Measured(natural, least, comfortable, wraps)


def _lines(entry: Entry, size: str) -> list[tuple[float, float]]:
    """Of each line of the entry its width and that of its longest part."""
    marks = width(",".join(map(str, entry.marks)), SMALLER[size])
    weight = 1.13 if entry.emphasis == "best" else 1.0
    found = [(width(entry.text, size) * weight + marks, _longest(entry.text, size) * weight + marks)]
    if entry.detail:
        found.append((width(entry.detail, SMALLER[size]), _longest(entry.detail, SMALLER[size])))
    return found


def _longest(text: str, size: str) -> float:
    if kept(text):
        return width(text, size)
    return max((width(part, size) for word in text.split() for part in parts(word)), default=0.0)


def head_lines(header: str, widest: int) -> tuple[str, ...]:
    """A header in one line, or in two about equal ones where its column is narrower than it (`widest`, letters)."""
    words = header.split()
    if len(words) < 2 or len(header) <= max(widest, 8):
        return (" ".join(words),)
    splits = [(" ".join(words[:i]), " ".join(words[i:])) for i in range(1, len(words))]
    return min(splits, key=lambda lines: max(map(len, lines)))


_DECIMAL: Final = re.compile(r"\u2212?\d+\.\d+")
_UNKNOWN: Final = frozenset({"\u2013", ""})


def is_numeric(table: Table, index: int) -> bool:
    """Whether a column holds numbers alone, and dashes."""
    texts = [row.entries[index].text for row in table.rows]
    known = [text for text in texts if text not in _UNKNOWN]
    return bool(known) and all(re.fullmatch(r"[\u2212+]?[\d.,]+[kM%]?", text) for text in known)


def _kind(table: Table, index: int) -> tuple[Kind, str]:
    entries = [row.entries[index] for row in table.rows]
    if entries and index and all(e.text in _MARKS and not e.detail for e in entries):
        return "c", ""
    digits = _digits(entries)
    if digits:
        return "S", digits
    right = table.columns[index].align == "right" or (is_numeric(table, index) and table.columns[index].key != "label")
    return ("r" if right else "l"), ""


_MARKS: Final = frozenset({"\u2713", "\u2717", "\u2013", ""})


def _digits(entries: list[Entry]) -> str:
    """`1.3` where every number of a column has one digit and three decimals, nothing beside it and an address."""
    shapes = set()
    for entry in entries:
        if entry.detail or entry.marks:
            return ""
        if entry.text in _UNKNOWN:
            continue
        if alone(entry) is None or not _DECIMAL.fullmatch(entry.text):
            return ""
        whole, _, decimals = entry.text.partition(".")
        shapes.add(f"{'-' if whole.startswith(chr(0x2212)) else ''}{len(whole.lstrip(chr(0x2212)))}.{len(decimals)}")
    return shapes.pop() if len(shapes) == 1 else ""


def alone(entry: Entry) -> Number | None:
    """The number that an entry consists of; None where there is more to it, or no number."""
    pieces = [piece for piece in pieces_of(entry.text) if piece]
    return pieces[0] if len(pieces) == 1 and isinstance(pieces[0], Number) else None


def _height(table: Table, row: int, widths: list[float], size: str) -> float:
    point = _SIZES[size]
    tallest = 1.0
    for entry, room in zip(table.rows[row].entries, widths, strict=True):
        lines = max(1.0, -(-width(entry.text, size) // max(room, 1.0)))
        if entry.detail:
            lines += 0.8 * max(1.0, -(-width(entry.detail, SMALLER[size]) // max(room, 1.0)))
        tallest = max(tallest, lines)
    return tallest * point * 1.22 + (16.0 if row in headings(table) else 0.0)


def _notes(table: Table, *, wide: bool) -> float:
    """About the height of what stands below the rows, points."""
    room, size = (PAGE if wide else COLUMN), "\\scriptsize"
    lines = sum(1 + width(note, size) // room for note in (*table.notes, *table.remarks))
    return lines * 8.5


def _pages(heights: list[float], below: float) -> tuple[tuple[int, int], ...]:
    """The rows of each float; those of the last leave room for what stands below them, as far as that is possible."""
    pages, first, taken = [], 0, 0.0
    for i, height in enumerate(heights):
        rest = sum(heights[i:])
        last = taken + rest <= _TALLEST
        room = max(_TALLEST - below, _TALLEST / 4) if last else _TALLEST
        if i > first and taken + height > room:
            pages.append((first, i))
            first, taken = i, 0.0
        taken += height
    return (*pages, (first, len(heights)))
