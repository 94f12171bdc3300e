"""Draws predictions over the ground truth: crops around instances, and contact sheets of them for print."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_lowercase
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from posestudy_reports.error_evidence import Evidence, Looked
from posestudy_reports.gallery import face, opened

if TYPE_CHECKING:
    from PIL import ImageDraw
    from PIL.Image import Image

Floats = NDArray[np.float64]
Corners = tuple[float, float, float, float]
"""Left, top, right, bottom, px of the image."""

TRUTH: Final = "#009E73"
PREDICTED: Final = "#D55E00"
SHEET_PX: Final = 907
"""A column of a page, 84 mm at 10.8 pixels a millimetre."""
COLUMNS: Final = 3
_GAP: Final = 6
_STRIP: Final = 32
_TEXT: Final = 26
"""6.8 pt in a column of 84 mm."""
_FINE: Final = 2
"""How many times larger tiles are drawn than shown, so that lines are smooth."""
_MARGIN: Final = 0.15
_FARTHEST: Final = 0.6
"""How far a crop may follow predictions out of the box, in its larger sides."""
_KEPT: Final = 24


@dataclass(frozen=True)
class Case:
    """An instance to show.

    Attributes:
        instance: its index in the truth. ids of its annotation and image; the image's file.
        score: of the best cell, OKS or mean error; before: of the baseline, None where it is not compared.
    """

    instance: int
    annotation_id: int
    image_id: int
    file: str
    score: float
    before: float | None


@dataclass(frozen=True)
class Group:
    """Cases of one kind, the most telling first; `rule` says how they were chosen."""

    name: str
    title: str
    rule: str
    cases: tuple[Case, ...]

    @property
    def compared(self) -> bool:
        """Whether the baseline is shown beside the best cell."""
        return any(case.before is not None for case in self.cases)


class Images:
    """The validation images, read when they are asked for; the last few are kept."""

    def __init__(self, found: Evidence) -> None:
        self._folder = found.images
        self._kept: OrderedDict[str, Image | None] = OrderedDict()

    def of(self, case: Case) -> Image | None:
        """In RGB; None where it is gone, damaged or outside the folder."""
        if case.file not in self._kept:
            path = self._folder / case.file
            inside = path.resolve().is_relative_to(self._folder.resolve())
            self._kept[case.file] = opened(path) if inside else None
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return self._kept[case.file]


def sheet(found: Evidence, group: Group, images: Images, most: int) -> tuple[Image, tuple[Case, ...]] | None:
    """A contact sheet of the first cases whose images can be read, and those cases; None where there is none."""
    shown: list[tuple[Case, list[Image]]] = []
    for case in group.cases:
        image = images.of(case) if len(shown) < most else None
        if image is not None:
            shown.append((case, _tiles(found, group, case, image)))
    if not shown:
        return None
    from PIL import Image as Pictures

    high = len(shown[0][1])
    rows = -(-len(shown) // COLUMNS)
    side, step = _side(), _side() + _STRIP + _GAP
    picture = Pictures.new("RGB", (SHEET_PX, rows * high * step - _GAP), "white")
    for i, (case, tiles) in enumerate(shown):
        left = (i % COLUMNS) * (side + _GAP)
        for j, tile in enumerate(tiles):
            top = ((i // COLUMNS) * high + j) * step
            picture.paste(tile, (left, top + _STRIP))
            _write(picture, f"({letter(i)}) {_said(group, case, j)}", left, top, side)
    return picture, tuple(case for case, _ in shown)


def _said(group: Group, case: Case, place: int) -> str:
    if not group.compared or case.before is None:
        return f"{case.score:.2f}"
    return f"best {case.score:.2f}" if place else f"baseline {case.before:.2f}"


def letter(place: int) -> str:
    """`a` for the first."""
    return ascii_lowercase[place % len(ascii_lowercase)]


def _side() -> int:
    return (SHEET_PX - (COLUMNS - 1) * _GAP) // COLUMNS


def _tiles(found: Evidence, group: Group, case: Case, image: Image) -> list[Image]:
    """Of the baseline and the best cell where they are compared, else of the best one alone; both of one crop."""
    cells = [found.best]
    if group.compared and found.baseline is not None:
        cells.insert(0, found.baseline)
    corners = square(crop(cells, case, (image.width, image.height)))
    return [_tile(found, looked, case, image, corners) for looked in cells]


def crop(cells: Sequence[Looked], case: Case, size: tuple[int, int]) -> Corners:
    """What of an image is shown: the box with a margin, and what is predicted and labelled near it.

    Args:
        size: width and height of the image, px.
    """
    truth = cells[0].truth
    left, top, width, height = truth.boxes[case.instance]
    long = max(float(width), float(height), 8.0)
    labelled = truth.labelled[case.instance]
    points = [truth.keypoints[case.instance][labelled, :2]]
    points += [looked.points[case.instance][labelled] for looked in cells]
    every = np.concatenate([*points, [(left, top), (left + width, top + height)]])
    every = every[np.isfinite(every).all(axis=1)]
    low, high = np.array([left, top]) - _FARTHEST * long, np.array([left + width, top + height]) + _FARTHEST * long
    every = np.clip(every, low, high)
    first, last = every.min(axis=0) - _MARGIN * long, every.max(axis=0) + _MARGIN * long
    first, last = np.clip(first, 0, size), np.clip(last, 0, size)
    if (last - first < 2).any():  # a box outside its image
        first, last = np.zeros(2), np.array(size, dtype=np.float64)
    return float(first[0]), float(first[1]), float(last[0]), float(last[1])


def square(corners: Corners) -> Corners:
    """The smallest square around a crop with the same middle; it may reach out of the image."""
    left, top, right, bottom = corners
    half = max(right - left, bottom - top) / 2
    x, y = (left + right) / 2, (top + bottom) / 2
    return x - half, y - half, x + half, y + half


def _tile(found: Evidence, looked: Looked, case: Case, image: Image, corners: Corners) -> Image:
    from PIL import Image as Pictures
    from PIL.ImageDraw import Draw

    side = _side() * _FINE
    grey = Pictures.new("RGB", (side, side), "#eeeeee")
    inside = (max(0.0, corners[0]), max(0.0, corners[1]), min(image.width, corners[2]), min(image.height, corners[3]))
    scale = side / (corners[2] - corners[0])
    size = (max(1, round((inside[2] - inside[0]) * scale)), max(1, round((inside[3] - inside[1]) * scale)))
    part = image.resize(size, resample=Pictures.Resampling.BICUBIC, box=inside)
    grey.paste(part, (round((inside[0] - corners[0]) * scale), round((inside[1] - corners[1]) * scale)))
    pen = Draw(grey)
    truth = found.truth.keypoints[case.instance]
    labelled = found.truth.labelled[case.instance]

    def at(point: Floats) -> tuple[float, float]:
        return (float(point[0]) - corners[0]) * scale, (float(point[1]) - corners[1]) * scale

    predicted = looked.points[case.instance]
    for points, colour in ((truth[:, :2], TRUTH), (predicted, PREDICTED)):
        for one, other in found.layout.skeleton:
            if labelled[one] and labelled[other] and np.isfinite(points[[one, other]]).all():
                ends = at(points[one]), at(points[other])
                pen.line(ends, fill="white", width=3 * _FINE + 1)
                pen.line(ends, fill=colour, width=2 * _FINE - 1)
    radius = 5.0 * _FINE
    for k in np.flatnonzero(labelled):
        _ring(pen, at(truth[k]), radius)
        if np.isfinite(predicted[k]).all():
            _cross(pen, at(predicted[k]), radius)
    return grey.resize((_side(), _side()), resample=Pictures.Resampling.LANCZOS)


def _ring(pen: ImageDraw.ImageDraw, at: tuple[float, float], radius: float) -> None:
    x, y = at
    for grown, colour, width in ((1.6, "white", 5), (0.6, TRUTH, 3)):
        r = radius + grown * _FINE
        pen.ellipse((x - r, y - r, x + r, y + r), outline=colour, width=width * _FINE // 2 + 1)


def _cross(pen: ImageDraw.ImageDraw, at: tuple[float, float], radius: float) -> None:
    x, y = at
    for width, colour in ((5 * _FINE, "white"), (3 * _FINE - 1, PREDICTED)):
        for sign in (1, -1):
            r = radius * 0.8
            pen.line((x - r, y - sign * r, x + r, y + sign * r), fill=colour, width=width)


def _write(picture: Image, text: str, left: int, top: int, width: int) -> None:
    from PIL.ImageDraw import Draw

    font = face(_TEXT)
    while font.getlength(text) > width and len(text) > 1:
        text = text.removesuffix("\u2026")[:-1] + "\u2026"
    Draw(picture).text((left + 2, top + 1), text, fill="black", font=font)
