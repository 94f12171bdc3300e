"""A user's image with the predicted skeletons on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from posestudy_runner.result_forms import Row

THRESHOLD = 0.2
"""Keypoints of a lower score are not drawn."""
_GREY = (160, 160, 160)


def drawn(
    image: NDArray[np.uint8], rows: Sequence[Row], meta: Mapping[str, Any], threshold: float = THRESHOLD
) -> NDArray[np.uint8]:
    """A copy of `image`, height x width x 3, BGR, with bones and keypoints in the colours of the data set's `meta`.

    Lines are as thick as suits the box; a keypoint whose score is below `threshold` is left out with its bones.
    """
    canvas = image.copy()
    links = [(int(a), int(b)) for a, b in meta.get("skeleton_links", [])]
    link_colours = _colours(meta.get("skeleton_link_colors"), len(links))
    for row in rows:
        points = np.asarray(row.keypoints, dtype=float).reshape(-1, 3)
        # Not beyond what OpenCV counts in.
        places = [(round(x), round(y)) for x, y in np.clip(points[:, :2], -1e6, 1e6)]
        seen = points[:, 2] >= threshold
        thick = max(1, round(max(row.box[2:]) / 120))
        for (a, b), colour in zip(links, link_colours, strict=True):
            if seen[a] and seen[b]:
                cv2.line(canvas, places[a], places[b], colour, thick, cv2.LINE_AA)
        for place, shown, colour in zip(places, seen, _colours(meta.get("keypoint_colors"), len(points)), strict=True):
            if shown:
                cv2.circle(canvas, place, thick + 1, colour, -1, cv2.LINE_AA)
    return np.asarray(canvas, dtype=np.uint8)


def _colours(given: Any, count: int) -> list[tuple[int, int, int]]:
    """MMPose's RGB colours as BGR; grey where the data set has none."""
    if given is None or len(given) != count:
        return [_GREY] * count
    return [(int(blue), int(green), int(red)) for red, green, blue in given]
