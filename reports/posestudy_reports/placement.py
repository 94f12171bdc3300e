"""Places labels beside points so that they cover neither each other nor the points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Box:
    """A rectangle, left, bottom, right, top; any unit."""

    left: float
    bottom: float
    right: float
    top: float

    @classmethod
    def around(cls, x: float, y: float, half: float) -> Box:
        """The square of side 2 `half` around a place."""
        return cls(x - half, y - half, x + half, y + half)

    def overlap(self, other: Box) -> float:
        """The area that both cover."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return width * height if width > 0 and height > 0 else 0.0

    def inside(self, other: Box) -> bool:
        return (
            self.left >= other.left and self.right <= other.right
            and self.bottom >= other.bottom and self.top <= other.top
        )  # fmt: skip


GAPS: Final = (1.0, 2.6, 4.4, 6.6, 9.0, 12.0, 16.0)
"""How far a label may stand from its point unless told otherwise, in radii of the point."""
_LIGHT: Final = 0.15


def place(
    points: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    frame: Box,
    radius: float,
    *,
    first: Sequence[int] = (),
    lines: Sequence[Box] = (),
    gaps: Sequence[float] = GAPS,
) -> list[Box | None]:
    """Where the label of each point goes; None where there is no room for it.

    Args:
        points: (x, y) of each point. sizes: (width, height) of its label, in the same unit.
        frame: what labels must stay inside.
        radius: of a point's marker.
        first: points whose labels are placed before the others'.
        lines: what labels rather not cover, as boxes along it.
        gaps: how far a label may stand from its point, in radii, the nearest first.
    """
    placed: list[Box | None] = [None] * len(points)
    taken = [Box.around(x, y, radius) for x, y in points]
    order = [*first, *(i for i in range(len(points)) if i not in first)]
    for i in order:
        free = [
            (sum(box.overlap(line) for line in lines) * _LIGHT + far, rank, box)
            for rank, (far, box) in enumerate(_candidates(points[i], sizes[i], radius, gaps))
            if box.inside(frame) and not any(box.overlap(other) for other in taken)
        ]
        if free:
            placed[i] = min(free, key=lambda found: found[:2])[2]
            taken.append(min(free, key=lambda found: found[:2])[2])
    return placed


def _candidates(
    point: tuple[float, float], size: tuple[float, float], radius: float, gaps: Sequence[float]
) -> list[tuple[float, Box]]:
    """(how far it is, box): right, left, above, below and between, from near to far."""
    (x, y), (width, height) = point, size
    found = []
    for gap in gaps:
        off = radius * (1 + gap * 0.5)
        slant = off * 0.75
        corners = [
            (x + off, y - height / 2), (x - off - width, y - height / 2),
            (x - width / 2, y + off), (x - width / 2, y - off - height),
            (x + slant, y + slant), (x - slant - width, y + slant),
            (x + slant, y - slant - height), (x - slant - width, y - slant - height),
        ]  # fmt: skip
        found += [(gap, Box(left, low, left + width, low + height)) for left, low in corners]
    return found
