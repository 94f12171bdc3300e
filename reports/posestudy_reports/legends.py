"""Legends below a figure: in as many columns as their labels leave room for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from posestudy_reports.vector import POINTS_PER_MM, TICKS, fitted, plain, width_of

_ROW: Final = 3.5
_HANDLE: Final = 7.5
_BETWEEN: Final = 2.5
_MOST: Final = 4


@dataclass(frozen=True)
class Legend:
    """Labels, shortened where need be, and how they are set out.

    Attributes:
        height: of the whole legend, mm.
    """

    labels: tuple[str, ...]
    columns: int
    height: float


def laid_out(labels: Sequence[str], width: float) -> Legend:
    """In the most columns in which no label is cut; in two (many labels) or one, with labels cut, where none is.

    Args:
        labels: as they are wished.
        width: what the legend may take, mm.
    """
    widest = max((width_of(label, TICKS) for label in labels), default=0.0)
    columns = min(_MOST, len(labels), int((width + _BETWEEN) // (widest + _HANDLE + _BETWEEN)))
    if columns < 1 or (columns == 1 and len(labels) > 4):
        columns = 2 if len(labels) > 4 else 1
    room = (width + _BETWEEN) / columns - _HANDLE - _BETWEEN if columns else width
    rows = -(-len(labels) // columns) if columns else 0
    return Legend(tuple(fitted(label, room, TICKS) for label in labels), max(1, columns), rows * _ROW + 0.8)


def below(figure: Any, handles: Sequence[Any], legend: Legend, left: float = 1.0) -> None:
    """Draws the legend into the lower edge of the figure, `left` mm from its left edge."""
    if not handles:
        return
    across = float(figure.get_size_inches()[0]) * 72 / POINTS_PER_MM
    figure.legend(
        handles, [plain(label) for label in legend.labels], loc="lower left", bbox_to_anchor=(left / across, 0.0),
        ncols=legend.columns, frameon=False, fontsize=TICKS, borderpad=0.2, borderaxespad=0, labelspacing=0.3,
        handlelength=2.0, handletextpad=0.5, columnspacing=1.0,
    )  # fmt: skip
