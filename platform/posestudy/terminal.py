"""What is shown to people: tables that fit their terminal, whether a stream is one at all, and times in a log."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from rich.console import JustifyMethod
    from rich.table import Table

_LEAST_NAME: Final = 8
"""Cells of the screen that a name is given, before a column is left out for it."""
_GAP: Final = 2


def paints(stream: TextIO) -> bool:
    """Whether what `stream` showed can be painted over: a terminal, and no dumb one as in an editor.

    Rich says so of a file as well where `FORCE_COLOR` is set, as many a CI does.
    """
    return stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


class Stamps:
    """The local time for each line of a log: `13:05:59`, the first one and the first of another day with the date."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now().astimezone()) -> None:
        self._now = now
        self._day: date | None = None

    def __call__(self) -> str:
        now = self._now()
        is_new, self._day = now.date() != self._day, now.date()
        return now.strftime("%Y-%m-%d %H:%M:%S" if is_new else "%H:%M:%S")


@dataclass(frozen=True)
class Column:
    """A column of a fitted table.

    Attributes:
        is_name: text to the left, cut where room is short; else it is never cut.
        is_left: it stands to the left as a name does, not to the right as numbers do.
        goes: where room is still short, columns are left out in this order; 0: never.
    """

    name: str
    is_name: bool = False
    is_left: bool = False
    goes: int = 0


def fitted(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int, styles: Sequence[str] = ()) -> Table:
    """A table of `rows` in which numbers can be read whatever its `width`, in cells of the screen.

    Args:
        styles: of each row; empty: none of their own.
    """
    from rich import box
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    natural = [max(cell_len(text) for text in texts) for texts in zip([c.name for c in columns], *rows, strict=True)]
    least = [min(size, _LEAST_NAME) if c.is_name else size for c, size in zip(columns, natural, strict=True)]
    shown = list(range(len(columns)))
    for place in sorted((place for place in shown if columns[place].goes), key=lambda place: columns[place].goes):
        if _together([least[place] for place in shown]) <= width:
            break
        shown.remove(place)
    sizes = {place: natural[place] for place in shown}
    names = [place for place in shown if columns[place].is_name]
    while _together(sizes.values()) > width and any(sizes[place] > 1 for place in names):
        sizes[max(names, key=lambda place: sizes[place])] -= 1
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, show_edge=False)
    for place in shown:
        column, size = columns[place], sizes[place]
        side: JustifyMethod = "left" if column.is_name or column.is_left else "right"
        table.add_column(column.name, justify=side, width=size, no_wrap=True, overflow="ellipsis")
    for number, row in enumerate(rows):
        table.add_row(*(Text(row[place]) for place in shown), style=styles[number] if styles else None)
    return table


def _together(sizes: Collection[int]) -> int:
    return sum(sizes) + _GAP * (len(sizes) - 1)
