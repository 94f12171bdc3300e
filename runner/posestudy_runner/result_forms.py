"""Predicted instances as files: COCO's form of results, and that of the cat assignment, which MMPose 0.x wrote."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

Form = Literal["cats", "coco"]
FORMS: tuple[Form, ...] = get_args(Form)
Box = tuple[float, float, float, float]
"""x, y, width, height in pixels of the image."""

UNIT_PX = 200.0
"""Pixels of the unit of `scale`."""


@dataclass(frozen=True)
class Row:
    """One predicted instance.

    Attributes:
        image: id of its image. instance: id of its annotation, or of its detection.
        keypoints: x, y in pixels of the image and the score, for each keypoint in the order of the data set.
        box: what the network looked at, without padding.
        score: of the instance, by MMPose's rule for the evaluation.
    """

    image: int
    instance: int
    category: int
    keypoints: tuple[float, ...]
    box: Box
    score: float


@dataclass(frozen=True)
class Crop:
    """How a box becomes the network's input: `size` (width, height) px, and by what the box is enlarged before."""

    size: tuple[int, int]
    padding: float = 1.25

    def centre(self, box: Box) -> list[float]:
        """The middle of the box, px."""
        x, y, width, height = box
        return [x + width / 2, y + height / 2]

    def scale(self, box: Box) -> list[float]:
        """Width and height of what is cut out, in units of 200 px; for a square input 1.25 * max(w, h) / 200 twice.

        As `_xywh2cs` of MMPose 0.x: the box grows to the input's proportions, then by the padding.
        """
        _, _, width, height = box
        aspect = self.size[0] / self.size[1]
        width, height = max(width, height * aspect), max(height, width / aspect)
        return [self.padding * width / UNIT_PX, self.padding * height / UNIT_PX]


def document(rows: Sequence[Row], form: Form, crop: Crop) -> list[dict[str, Any]]:
    """The rows as a list for JSON, by image id; rows of one image keep their order."""
    return [_entry(row, form, crop) for row in sorted(rows, key=lambda row: row.image)]


def _entry(row: Row, form: Form, crop: Crop) -> dict[str, Any]:
    entry = {"category_id": row.category, "image_id": row.image, "keypoints": list(row.keypoints), "score": row.score}
    if form == "coco":
        return {**entry, "bbox": list(row.box)}
    return {**entry, "center": crop.centre(row.box), "scale": crop.scale(row.box)}


def encoded(entries: Sequence[dict[str, Any]]) -> bytes:
    """JSON with sorted keys, indented by 4, as MMPose writes it.

    Raises:
        ValueError: a number is not finite.
    """
    return json.dumps(entries, sort_keys=True, indent=4, allow_nan=False).encode()
