"""The annotations of a split as arrays: what the analysis of the data and of the errors reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from posestudy_studies.layouts import BoxFrom

_SCALE_PX: Final = 200.0
"""What an annotation's `scale` is in units of, in MMPose's data sets of faces."""

Floats = NDArray[np.float64]


class UnreadableAnnotationsError(ValueError):
    """A file that is not COCO keypoint JSON of this many keypoints."""


@dataclass(frozen=True)
class Annotated:
    """I images and N instances with K keypoints, both in order of their ids.

    Attributes:
        image_ids: int64 [I], ascending. sizes: float64 [I, 2], width and height, px. files: names of the images.
        ids: int64 [N], annotation ids. image_of: int64 [N], index of the instance's image.
        boxes: float64 [N, 4], left, top, width, height, px. areas: float64 [N], px^2, the box's where none is stated.
        keypoints: float64 [N, K, 3], x and y in px, then COCO's visibility (0 not labelled, 1 hidden, 2 visible).
        crowd: bool [N].
    """

    image_ids: NDArray[np.int64]
    sizes: Floats
    files: tuple[str, ...]
    ids: NDArray[np.int64]
    image_of: NDArray[np.int64]
    boxes: Floats
    areas: Floats
    keypoints: Floats
    crowd: NDArray[np.bool_]

    @cached_property
    def labelled(self) -> NDArray[np.bool_]:
        """[N, K], keypoints with a place."""
        found: NDArray[np.bool_] = self.keypoints[:, :, 2] > 0
        return found


def read(path: Path, keypoints: int, box_from: BoxFrom = "bbox") -> Annotated:
    """What the file at `path` holds. Instances of images that are not listed are left out.

    Args:
        path: COCO keypoint JSON.
        keypoints: of an instance.
        box_from: what of an annotation its box is made of: its `bbox`, or the square around its `center`.

    Raises:
        OSError: it cannot be read.
        UnreadableAnnotationsError: it holds something else.
    """
    try:
        document = json.loads(path.read_bytes())
        return _arrays(document["images"], document.get("annotations") or [], keypoints, box_from)
    except OSError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        message = f"{path} is no COCO keypoint JSON of {keypoints} keypoints: {error}"
        raise UnreadableAnnotationsError(message) from error


def _box(row: Mapping[str, Any], box_from: BoxFrom) -> Sequence[float]:
    """Left, top, width, height in px; all 0 where the annotation states none."""
    if box_from == "bbox" or not row.get("center") or not row.get("scale"):
        return (row.get("bbox") if box_from == "bbox" else None) or (0, 0, 0, 0)
    (x, y), side = row["center"], _SCALE_PX * row["scale"]
    return (x - side / 2, y - side / 2, side, side)


def _arrays(
    images: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]], keypoints: int, box_from: BoxFrom
) -> Annotated:
    images = sorted(images, key=lambda image: int(image["id"]))
    image_ids = [int(image["id"]) for image in images]
    place = {identity: i for i, identity in enumerate(image_ids)}
    kept = sorted((row for row in rows if int(row["image_id"]) in place), key=lambda row: int(row["id"]))
    points = [row.get("keypoints") or [0.0] * 3 * keypoints for row in kept]
    boxes = np.array([_box(row, box_from) for row in kept], dtype=np.float64).reshape(-1, 4)
    sizes = np.array([(i["width"], i["height"]) for i in images], dtype=np.float64).reshape(-1, 2)
    areas = [row["area"] if row.get("area") else box[2] * box[3] for row, box in zip(kept, boxes, strict=True)]
    places = np.array(points, dtype=np.float64).reshape(len(kept), keypoints, 3)
    for numbers in (sizes, boxes, places, np.array(areas, dtype=np.float64)):
        if not np.isfinite(numbers).all():
            raise ValueError("a size, box, area or keypoint is no finite number")
    return Annotated(
        image_ids=np.array(image_ids, dtype=np.int64),
        sizes=sizes,
        files=tuple(str(image["file_name"]) for image in images),
        ids=np.array([int(row["id"]) for row in kept], dtype=np.int64),
        image_of=np.array([place[int(row["image_id"])] for row in kept], dtype=np.int64),
        boxes=boxes,
        areas=np.array(areas, dtype=np.float64),
        keypoints=places,
        crowd=np.array([bool(row.get("iscrowd")) for row in kept], dtype=np.bool_),
    )
