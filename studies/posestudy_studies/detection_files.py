"""Checks a file of detected boxes for what predicting on it would stumble over."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path
from typing import Any

from posestudy.errors import Problem
from posestudy_studies.coco_values import Unusable, is_number, is_whole, json_of
from posestudy_studies.mistakes import show

FORM = "a JSON list of detections with image_id, category_id, bbox and score, inside dataset.root"
_CATEGORY = 1
"""The only one whose boxes MMPose takes."""


def problems(path: Path, where: str, images: Set[int] | None) -> list[Problem]:
    """What is wrong with the COCO detections at `path`.

    Args:
        where: the key of the study that names the file.
        images: ids of the images of the split; None where they are not known.
    """

    def wrong(place: str, found: str, expected: str, hint: str = "") -> Problem:
        return Problem(str(path), 0, 0, place, found, expected, hint)

    try:
        data = json_of(path)
    except Unusable as error:
        return [wrong(where, error.found, error.expected or FORM, error.hint)]
    if not isinstance(data, list) or not data:
        return [wrong(where, "no detections", FORM)]
    found: list[Problem] = []
    used = 0
    for i, detection in enumerate(data):
        if not isinstance(detection, dict) or "category_id" not in detection:
            found.append(wrong(f"[{i}]", show(detection), "a mapping with image_id, category_id, bbox and score"))
        elif detection["category_id"] == _CATEGORY:
            used += 1
            found += [wrong(f"[{i}].{key}", show(detection.get(key)), rule) for key, rule in _broken(detection, images)]
    if not used and not found:
        found.append(wrong(where, "no detection of category 1", "boxes with category_id 1, the only ones MMPose takes"))
    return found


def _broken(detection: dict[str, Any], images: Set[int] | None) -> list[tuple[str, str]]:
    """Keys with a wrong value, and what it should be."""
    broken = []
    image, box, score = (detection.get(key) for key in ("image_id", "bbox", "score"))
    if not is_whole(image) or (images is not None and image not in images):
        broken.append(("image_id", "the id of an image of the split"))
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)) or box[2] <= 0 or box[3] <= 0:
        broken.append(("bbox", "[x, y, width, height] in pixels, width and height above 0"))
    if not is_number(score):
        broken.append(("score", "a number"))
    return broken
