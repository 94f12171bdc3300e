"""Predicted keypoints as arrays, from the COCO results that a validation leaves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class UnreadableDetectionsError(ValueError):
    """A file that is not COCO keypoint results of this many keypoints."""


@dataclass(frozen=True)
class Detections:
    """D predicted instances with K keypoints, in the order of the file.

    Attributes:
        image_ids: int64 [D]. ids: int64 [D], of the annotation an instance was predicted for; -1 where not said.
        points: float64 [D, K, 2], x and y, px of the image. confidences: float64 [D, K], of the keypoints.
        scores: float64 [D], of the instances.
        boxes: float64 [D, 4], left, top, width, height, px: what the instance was predicted in; NaN where not said.
    """

    image_ids: NDArray[np.int64]
    ids: NDArray[np.int64]
    points: Floats
    confidences: Floats
    scores: Floats
    boxes: Floats

    def __len__(self) -> int:
        return len(self.scores)

    def taken(self, rows: NDArray[Any]) -> Detections:
        """Those at the indices, or where the mask [D] is true, in this order."""
        return Detections(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def moved(self, points: Floats) -> Detections:
        """The same instances with their keypoints at `points` [D, K, 2]."""
        return replace(self, points=points)


def read(path: Path, keypoints: int) -> Detections:
    """What the file at `path` holds.

    Raises:
        OSError: it cannot be read.
        UnreadableDetectionsError: it holds something else, or numbers that are not finite.
    """
    try:
        found = _arrays(json.loads(path.read_bytes()), keypoints)
    except OSError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        message = f"{path} holds no COCO results of {keypoints} keypoints: {error}"
        raise UnreadableDetectionsError(message) from error
    if not (np.isfinite(found.points).all() and np.isfinite(found.scores).all()):
        raise UnreadableDetectionsError(f"{path} holds numbers that are not finite")
    return found


def _arrays(rows: Sequence[Any], keypoints: int) -> Detections:
    points = np.array([row["keypoints"] for row in rows], dtype=np.float64).reshape(len(rows), keypoints, 3)
    nowhere = (np.nan,) * 4
    return Detections(
        image_ids=np.array([int(row["image_id"]) for row in rows], dtype=np.int64),
        ids=np.array([int(row.get("id", -1)) for row in rows], dtype=np.int64),
        points=points[:, :, :2],
        confidences=points[:, :, 2],
        scores=np.array([float(row["score"]) for row in rows], dtype=np.float64),
        boxes=np.array([row.get("bbox") or nowhere for row in rows], dtype=np.float64).reshape(len(rows), 4),
    )
