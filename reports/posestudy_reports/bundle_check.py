"""What must hold of an archive before it is written: each complaint is a sentence, none means that all is well."""

from __future__ import annotations

import io
import json
import math
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from posestudy.errors import PoseStudyError
from posestudy_reports.bundle_archive import require_safe

RESULTS: Final = "result_keypoints.json"
REPORT: Final = "report.pdf"
MODEL: Final = "models/model.pth"
REQUIRED: Final = (
    REPORT,
    RESULTS,
    "codes/README.txt",
    "codes/mmpose/tools/train.py",
    "codes/mmpose/tools/test.py",
    MODEL,
    "models/config.py",
    "models/training.log",
)
_KEYS: Final = {"category_id", "center", "image_id", "keypoints", "scale", "score"}
_KEYPOINT_SCORES: Final = (-0.5, 2.0)
_SCORES: Final = (-0.5, 4.0)
"""What a score may be: heatmaps of a Gaussian overshoot 1 a little, `bbox_rle` adds up to three of them."""
_OUTSIDE: Final = 1.0
"""By how many sizes of its crop a keypoint may lie outside it."""
_UNIT_PX: Final = 200.0
_SHOWN: Final = 5
_TEXT: Final = (".txt", ".py", ".log", ".json")


@dataclass(frozen=True)
class Asked:
    """What the annotation file of a test split asks to be predicted.

    Attributes:
        images: ids of the images that have an instance.
        instances: ids of the instances; detections where the boxes are detected.
        categories: ids of the categories.
    """

    images: frozenset[int]
    instances: frozenset[int]
    categories: frozenset[int]


def results(data: bytes, instances: Sequence[int], doubles: Sequence[int], split: Asked, count: int) -> list[str]:
    """Complaints about result_keypoints.json.

    Args:
        instances: the ids of the instances, in the file's order.
        doubles: ids that the evaluation left out as double detections.
        count: keypoints of an instance.
    """
    try:
        rows = json.loads(data, parse_constant=_no_constant)
    except ValueError as error:
        return [f"{RESULTS} is no JSON of finite numbers: {error}"]
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        return [f"{RESULTS} holds no list of instances"]
    wrong = [f"entry {place}: {why}" for place, row in enumerate(rows) for why in _entry(row, split, count)]
    if wrong:
        return [f"{RESULTS}: {_some(wrong)}"]
    return [f"{RESULTS}: {why}" for why in _ids(rows, instances, doubles, split)]


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _entry(row: Mapping[str, Any], split: Asked, count: int) -> list[str]:
    if set(row) != _KEYS:
        return [f"keys {sorted(row)}, expected {sorted(_KEYS)}"]
    if not _whole(row["image_id"]) or not _whole(row["category_id"]):
        return ["image_id and category_id must be whole numbers"]
    if row["category_id"] not in split.categories:
        return [f"category {row['category_id']}, expected one of {sorted(split.categories)}"]
    for name, length in (("center", 2), ("scale", 2), ("keypoints", 3 * count)):
        if not _numbers(row[name], length):
            return [f"{name} must be {length} finite numbers"]
    if not _numbers([row["score"]], 1) or not _SCORES[0] <= row["score"] <= _SCORES[1]:
        return [f"score {row['score']}, expected {_SCORES[0]} to {_SCORES[1]}"]
    if min(row["scale"]) <= 0:
        return [f"scale {row['scale']}, expected above 0"]
    return _points(row)


def _points(row: Mapping[str, Any]) -> list[str]:
    points = row["keypoints"]
    scores = points[2::3]
    if not _KEYPOINT_SCORES[0] <= min(scores) <= max(scores) <= _KEYPOINT_SCORES[1]:
        return [f"keypoint scores {min(scores):g} to {max(scores):g}, expected within {_KEYPOINT_SCORES}"]
    for axis in (0, 1):
        reach = (0.5 + _OUTSIDE) * row["scale"][axis] * _UNIT_PX
        far = max(abs(value - row["center"][axis]) for value in points[axis::3])
        if far > reach:
            return [f"a keypoint {far:.0f} px from the middle of its box, expected at most {reach:.0f}"]
    return []


def _ids(
    rows: Sequence[Mapping[str, Any]], instances: Sequence[int], doubles: Sequence[int], split: Asked
) -> list[str]:
    images, found = [row["image_id"] for row in rows], []
    if len(rows) != len(instances):
        found.append(f"{len(rows)} instances where {len(instances)} were predicted")
    if images != sorted(images):
        found.append("image ids do not ascend")
    twice = [number for number, times in Counter([*instances, *doubles]).items() if times > 1]
    for what, ids in (
        ("images of the test split are missing", split.images - set(images)),
        ("images are not of the test split", set(images) - split.images),
        ("instances of the test split are missing", split.instances - set(instances) - set(doubles)),
        ("instances are not of the test split", (set(instances) | set(doubles)) - split.instances),
        ("instances stand twice", set(twice)),
    ):
        if ids:
            found.append(f"{len(ids)} {what}: {_some([str(number) for number in sorted(ids)])}")
    return found


def files(written: Mapping[str, bytes], machine: Collection[str], pages: int, limit: int | None = None) -> list[str]:
    """Complaints about the files of an archive, by path within it, before its own name is put before them.

    Args:
        machine: folders of this machine, which no text may name.
        pages: the most that the report may have.
        limit: bytes that all together may have; None: any number.
    """
    found = [f"{name} is missing" for name in REQUIRED if name not in written]
    found += [f"{name} is empty" for name, data in written.items() if not data]
    if not any(name.startswith("codes/mmpose/configs/") for name in written):
        found.append("codes/mmpose/configs has no config")
    for name in written:
        try:
            require_safe(name)
        except PoseStudyError as error:
            found.append(str(error))
    for name, data in written.items():
        if name.endswith(_TEXT):
            told = [folder for folder in sorted(machine) if mention(folder).search(data.decode("utf-8", "replace"))]
            found += [f"{name} names the folder {folder} of this machine" for folder in told]
    total = sum(len(data) for data in written.values())
    if limit is not None and total > limit:
        found.append(f"the files have {total / 1e6:.1f} MB in all, more than {limit / 1e6:.1f} MB")
    if REPORT in written:
        found += _pages(written[REPORT], pages)
    return found + (_weights(written[MODEL]) if written.get(MODEL) else [])


def mention(folder: str) -> re.Pattern[str]:
    """What finds `folder` in a text, itself or as the beginning of a path, not as a part of another name."""
    return re.compile(rf"(?<![\w./-]){re.escape(folder)}(?![\w.-])")


def _pages(report: bytes, most: int) -> list[str]:
    count = page_count(report)
    if count is None:
        return [f"{REPORT} is no PDF whose pages can be counted"]
    return [f"{REPORT} has {count} pages, expected at most {most}"] if count > most else []


def page_count(pdf: bytes) -> int | None:
    """Pages of a PDF as Typst writes it; None where they cannot be counted."""
    found = re.search(rb"/Type\s*/Pages\s*/Count\s+(\d+)", pdf)
    return int(found[1]) if pdf.startswith(b"%PDF") and found else None


def _weights(model: bytes) -> list[str]:
    import torch

    try:
        state = torch.load(io.BytesIO(model), map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - whatever it is, the file is no file of weights
        return [f"{MODEL} does not load with weights_only=True: {str(error).splitlines()[0]}"]
    if not isinstance(state, Mapping) or not all(isinstance(part, torch.Tensor) for part in state.values()):
        return [f"{MODEL} holds more than tensors by name"]
    bad = [name for name, part in state.items() if part.is_floating_point() and not torch.isfinite(part).all()]
    return [f"{MODEL} has numbers that are not finite in {_some(bad)}"] if bad else []


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _numbers(value: Any, length: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == length
        and all(isinstance(part, int | float) and not isinstance(part, bool) and math.isfinite(part) for part in value)
    )


def _some(parts: Sequence[str]) -> str:
    more = f", and {len(parts) - _SHOWN} more" if len(parts) > _SHOWN else ""
    return "; ".join(parts[:_SHOWN]) + more
