"""Attention pictures on plain arrays: from an encoder's attention matrices to one figure of all layers and keypoints.

Terms: the encoder sees its input as a grid of h x w tokens, row-major, each `stride` input pixels wide and high. An
attention matrix is `[tokens, tokens]`; row = query, rows sum to 1. The `dependency` of a place is the row of its token:
what it draws on. Its `affect` is the column: how strongly every other place draws on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

Kind = Literal["dependency", "affect"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Picture = NDArray[np.uint8]
"""Height x width x 3, BGR."""

ALPHA = 0.79
"""Opacity of the colours over the image."""
RANDOM_POINTS = 2
_SEED = 9
"""The first whose two points are neither close to each other nor at the input's edge."""
_PANEL_PX = 192
"""Longer side of a panel."""
_MOST_COLUMNS = 24
_GAP_PX = 4
_STAR_PX = 8
_FINE, _COARSE = 2.304, 7.68
"""Usual thresholds in multiples of 1 / tokens, for 4 input pixels per token and for more: 0.00075 for 3072 tokens
and 0.01 for 768, as the authors of TransPose show their models."""
_MEANING = {
    "dependency": "Dependency: which places each point (star) draws on",
    "affect": "Affect: how strongly each place draws on the point (star)",
}


@dataclass(frozen=True)
class Query:
    """A point whose attention is shown.

    Attributes:
        name: of the keypoint.
        x, y: pixels of the network's input; may lie outside it.
    """

    name: str
    x: float
    y: float


@dataclass(frozen=True)
class Attention:
    """What an encoder attended to on one input.

    Attributes:
        image: the network's input, `[height, width, 3]`, uint8, BGR.
        queries: the predicted keypoints, then random points.
        links: pairs of keypoints that are joined.
        stride: input pixels per token.
        areas: of each kind `[layers, queries, h, w]`, float32, 0 to 1, on the tokens' grid.
    """

    image: Picture
    queries: tuple[Query, ...]
    links: tuple[tuple[int, int], ...]
    stride: int
    areas: Mapping[Kind, NDArray[np.float32]]

    @property
    def keypoints(self) -> tuple[Query, ...]:
        return self.queries[:-RANDOM_POINTS]

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w) of the tokens."""
        height, width = next(iter(self.areas.values())).shape[-2:]
        return height, width


def queries(
    keypoints: NDArray[Any], names: Sequence[str], size: tuple[int, int], seed: int = _SEED
) -> tuple[Query, ...]:
    """The keypoints `[K, 2]`, input pixels, and two random points of an input of `size` (width, height)."""
    drawn = np.random.default_rng(seed).uniform(size=(RANDOM_POINTS, 2)) * size
    named = [*zip(names, keypoints, strict=True), *(("random", point) for point in drawn)]
    return tuple(Query(name, float(point[0]), float(point[1])) for name, point in named)


def query_cell(query: Query, stride: int, grid: tuple[int, int]) -> tuple[int, int]:
    """(row, column) of the token under `query`, the nearest one where it lies outside `grid` (h, w)."""
    row, column = (int(np.nan_to_num(value) / stride) for value in (query.y, query.x))
    return min(max(row, 0), grid[0] - 1), min(max(column, 0), grid[1] - 1)


def query_tokens(points: Sequence[Query], stride: int, grid: tuple[int, int]) -> list[int]:
    """The index of each point's token among all h x w."""
    return [row * grid[1] + column for row, column in (query_cell(point, stride, grid) for point in points)]


def lines(matrix: Any, tokens: Sequence[int], kind: Kind) -> Any:
    """The rows or columns of an attention matrix that `kind` means for `tokens`: `[queries, tokens]`.

    `matrix` is an array or a tensor `[tokens, tokens]`; what comes back is of the same sort.
    """
    return matrix[list(tokens)] if kind == "dependency" else matrix[:, list(tokens)].T


def usual_threshold(stride: int, tokens: int) -> float:
    """The weight that an area shows nothing below of, unless a user asks for another."""
    return (_FINE if stride <= 4 else _COARSE) / tokens


def shown(area: NDArray[np.float32], stride: int, threshold: float) -> NDArray[np.float32]:
    """`area` [h, w] at the input's size, bilinearly, with 0 where it is not above `threshold`."""
    height, width = area.shape
    size = (width * stride, height * stride)
    full = np.asarray(cv2.resize(area.astype(np.float32), size, interpolation=cv2.INTER_LINEAR), dtype=np.float32)
    return np.where(full > threshold, full, np.float32(0))


def overlay(image: Picture, area: NDArray[np.float32]) -> Picture:
    """`image` under the colours of `area`, which has its height and width; the colours span 0 to the area's maximum."""
    top = float(area.max())
    levels = np.zeros(area.shape, dtype=np.uint8) if top <= 0 else np.rint(area / top * 255).astype(np.uint8)
    blended: Picture = np.rint((1 - ALPHA) * image + ALPHA * _colours()[levels]).astype(np.uint8)
    return blended


@cache
def _colours() -> Picture:
    """256 BGR colours, from nothing to the maximum."""
    from matplotlib import colormaps

    table = colormaps["nipy_spectral"](np.arange(256))[:, 2::-1]
    return np.asarray(np.rint(table * 255), dtype=np.uint8)


@dataclass(frozen=True)
class Panel:
    """One panel of a figure and what stands below it."""

    picture: Picture
    note: str = ""


def panels(attention: Attention, kind: Kind, threshold: float) -> list[list[Panel]]:
    """A row per layer: the image with its keypoints, then one panel per query, all of one size."""
    pose = Panel(_pose(attention))
    rows: list[list[Panel]] = []
    for layer in attention.areas[kind]:
        row = [pose]
        for query, area in zip(attention.queries, layer, strict=True):
            values = shown(area, attention.stride, threshold)
            picture = _panel(overlay(attention.image, _fit(values, attention.image)))
            _star(picture, _place(query, attention.image, picture))
            # Of the area itself: where nothing is above the threshold, it says which threshold would show something.
            row.append(Panel(picture, f"{area.max():.2g}"))
        rows.append(row)
    return rows


def _fit(area: NDArray[np.float32], image: Picture) -> NDArray[np.float32]:
    """`area` with the height and width of `image`: a grid need not divide its input."""
    height, width = image.shape[:2]
    missing = [(0, max(0, side - have)) for side, have in zip((height, width), area.shape, strict=True)]
    return np.pad(area[:height, :width], missing, mode="edge")


def _scale(image: Picture) -> float:
    return float(_PANEL_PX / max(image.shape[:2]))


def _panel(image: Picture) -> Picture:
    scale = _scale(image)
    size = tuple(max(1, round(side * scale)) for side in image.shape[1::-1])
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, size, interpolation=method), dtype=np.uint8)


def _place(query: Query, image: Picture, panel: Picture) -> tuple[int, int]:
    """(x, y) of `query` in a panel, at its edge where the query lies outside the image."""
    height, width = panel.shape[:2]
    x, y = (int(np.nan_to_num(value) * _scale(image)) for value in (query.x, query.y))
    return min(max(x, 0), width - 1), min(max(y, 0), height - 1)


def _star(panel: Picture, place: tuple[int, int]) -> None:
    angles = -np.pi / 2 + np.arange(10) * np.pi / 5
    radii = np.where(np.arange(10) % 2 == 0, _STAR_PX, 0.42 * _STAR_PX)
    corners = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None] + place
    points = np.rint(corners * 16).astype(np.int32)
    cv2.fillPoly(panel, [points], (255, 255, 255), cv2.LINE_AA, 4)
    cv2.polylines(panel, [points], True, (0, 0, 0), 1, cv2.LINE_AA, 4)


def _pose(attention: Attention) -> Picture:
    panel = _panel(attention.image)
    places = [_place(query, attention.image, panel) for query in attention.keypoints]
    for a, b in attention.links:
        cv2.line(panel, places[a], places[b], (80, 200, 80), 1, cv2.LINE_AA)
    for place in places:
        cv2.circle(panel, place, 3, (40, 40, 235), -1, cv2.LINE_AA)
    return panel


def figure(attention: Attention, kind: Kind, threshold: float) -> Picture:
    """All panels of one kind with their labels; with many keypoints the rows go on below."""
    names = ["prediction", *(query.name for query in attention.queries)]
    rows = panels(attention, kind, threshold)
    bands = [
        _band(names[start : start + _MOST_COLUMNS], [row[start : start + _MOST_COLUMNS] for row in rows])
        for start in range(0, len(names), _MOST_COLUMNS)
    ]
    height, width = attention.grid
    said = (
        f"{_MEANING[kind]}. Black up to {threshold:.2g}; {width} x {height} tokens of {attention.stride} px. "
        "Each panel's colours go up to its own maximum, which stands below it."
    )
    wide = max(band.shape[1] for band in bands)
    stack = [_headline(said, wide)]
    stack += [np.pad(band, ((0, 0), (0, wide - band.shape[1]), (0, 0)), constant_values=255) for band in bands]
    return np.concatenate(stack)


_NAME_PX, _NOTE_PX = 18, 14
_LABEL_PX = 96
"""Width of the column of layer labels."""


def _band(names: Sequence[str], rows: Sequence[Sequence[Panel]]) -> Picture:
    """Some columns of the figure, names above them, maxima below the panels and layers at the left."""
    high, wide = rows[0][0].picture.shape[:2]
    head, step = _NAME_PX + 8, high + _NOTE_PX + 8
    sheet = np.full((head + step * len(rows), _LABEL_PX + (wide + _GAP_PX) * len(names), 3), 255, dtype=np.uint8)
    texts = _Texts()
    lefts = [_LABEL_PX + column * (wide + _GAP_PX) for column in range(len(names))]
    for left, name in zip(lefts, names, strict=True):
        texts.add(name, (left + wide // 2, head // 2), _NAME_PX, wide)
    for number, row in enumerate(rows, start=1):
        top = head + (number - 1) * step
        texts.add(f"layer {number}", (_LABEL_PX // 2, top + high // 2), _NAME_PX, _LABEL_PX)
        for left, panel in zip(lefts, row, strict=True):
            sheet[top : top + high, left : left + wide] = panel.picture
            texts.add(panel.note, (left + wide // 2, top + high + _NOTE_PX // 2 + 2), _NOTE_PX, wide)
    return texts.on(sheet)


def _headline(said: str, width: int) -> Picture:
    """The sentence that heads a figure, over as many lines as it needs, and the colours' order."""
    texts, size, bar = _Texts(), _NAME_PX, 160
    taken = texts.wrapped(said, size, width - bar - 24)
    sheet = np.full((len(taken) * (size + 8) + 4, width, 3), 255, dtype=np.uint8)
    ramp = _colours()[np.linspace(0, 255, min(bar, width)).astype(np.uint8)]
    sheet[6 : 6 + size, : ramp.shape[0]] = (0.21 * 255 + ALPHA * ramp).astype(np.uint8)[None]
    for number, line in enumerate(taken):
        place = (ramp.shape[0] + 12, 4 + size // 2 + number * (size + 8))
        texts.add(line, place, size, max(1, width - place[0]), anchor="lm")
    return texts.on(sheet)


class _Texts:
    """Black texts, gathered and then set on a picture all at once."""

    def __init__(self) -> None:
        self._waiting: list[tuple[str, tuple[int, int], Any, str]] = []

    def add(self, text: str, place: tuple[int, int], size: int, width: int, *, anchor: str = "mm") -> None:
        """`text` of `size` pixels at `place` (x, y), smaller where it would be wider than `width` pixels."""
        font = _font(size)
        if font.getlength(text) > width:
            font = _font(max(8, int(size * width / font.getlength(text))))
        self._waiting.append((text, place, font, anchor))

    @staticmethod
    def wrapped(text: str, size: int, width: int) -> list[str]:
        """`text` in lines of at most `width` pixels, as far as its words are."""
        font, taken = _font(size), [""]
        for word in text.split():
            longer = f"{taken[-1]} {word}".strip()
            if taken[-1] and font.getlength(longer) > width:
                taken.append(word)
            else:
                taken[-1] = longer
        return taken

    def on(self, sheet: Picture) -> Picture:
        from PIL import Image, ImageDraw

        picture = Image.fromarray(sheet)
        pen = ImageDraw.Draw(picture)
        for text, place, font, anchor in self._waiting:
            pen.text(place, text, fill=(0, 0, 0), font=font, anchor=anchor)
        return np.array(picture, dtype=np.uint8)


@cache
def _font(size: int) -> Any:
    """matplotlib's own font, since it has the letters of most languages and lies on every machine."""
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)
