"""Object keypoint similarity as xtcocotools computes it, of many pairs at once.

The similarity of a keypoint that lies d px from its true place, on an instance of area s^2, is exp(-d^2 / (2 s^2 k^2))
with k twice the keypoint's sigma; OKS is its mean over the labelled keypoints (https://cocodataset.org/#keypoints-eval).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def similarities(points: Floats, truth: Floats, areas: Floats, sigmas: Floats) -> Floats:
    """Of each keypoint to its true place, [P, K], 0 to 1, whether it is labelled or not.

    Args:
        points, truth: [P, K, 2], px. areas: [P], px^2, of the true instances. sigmas: [K].
    """
    return _falling(points - truth, areas, sigmas)


def outside(points: Floats, boxes: Floats, areas: Floats, sigmas: Floats) -> Floats:
    """OKS [P] of predictions on instances without a labelled keypoint.

    COCO's rule: the distance of a keypoint is that from the box grown by its own size to every side, and the mean is
    over all keypoints.

    Args:
        points: [P, K, 2]. boxes: [P, 4], left, top, width, height. areas: [P]. sigmas: [K].
    """
    corner, size = boxes[:, None, :2], boxes[:, None, 2:]
    low, high = corner - size, corner + size * 2
    off = np.maximum(0.0, low - points) + np.maximum(0.0, points - high)
    mean: Floats = _falling(off, areas, sigmas).mean(axis=1)
    return mean


def oks(similarity: Floats, labelled: NDArray[np.bool_]) -> Floats:
    """The mean of similarities [..., K] over labelled keypoints [..., K]; NaN where none is."""
    counts = labelled.sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: Floats = np.where(labelled, similarity, 0.0).sum(axis=-1) / np.where(counts, counts, np.nan)
    return mean


def _falling(off: Floats, areas: Floats, sigmas: Floats) -> Floats:
    # The order of the divisions is xtcocotools', and its spacing keeps an area of 0 from dividing by 0.
    squared = (off**2).sum(axis=-1)
    e = squared / (sigmas * 2) ** 2 / (areas[:, None] + np.spacing(1)) / 2
    found: Floats = np.exp(-e)
    return found
