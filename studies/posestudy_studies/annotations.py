"""Checks one COCO keypoint annotation file for what training or evaluation would stumble over."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard

from posestudy.errors import Problem
from posestudy_studies.layouts import BoxFrom
from posestudy_studies.mistakes import show

_SQUARE = "boxes are made of center and scale; dataset.box_from: bbox takes them from bbox"


@dataclass
class SplitFacts:
    """What an annotation file holds.

    Attributes:
        images, instances: how many images it lists and how many annotations with at least one labelled keypoint.
        without_pair: how many of these lack a label at one of the keypoints that normalise errors.
        files: place in the file and `file_name` of every image.
        paths: resolved image paths, filled in by whoever knows the folder.
    """

    images: int
    instances: int
    without_pair: int = 0
    files: list[tuple[str, str]] = field(default_factory=list)
    paths: set[Path] = field(default_factory=set)


@dataclass(frozen=True)
class Needs:
    """What a study reads of annotations beside keypoints.

    Attributes:
        coco: whether COCO's evaluation reads a validation split.
        box_from: what the box of an instance is made of.
        pair: indices of the keypoints that normalise errors; None: nobody normalises.
    """

    coco: bool = True
    box_from: BoxFrom = "bbox"
    pair: tuple[int, int] | None = None


class _Checker:
    def __init__(self, path: Path, layout: str, count: int, needs: Needs) -> None:
        self.path, self.layout, self.count, self.needs = path, layout, count, needs
        self.without_pair = 0
        self.problems: list[Problem] = []

    def wrong(self, place: str, found: str, expected: str, hint: str = "") -> None:
        self.problems.append(Problem(str(self.path), 0, 0, place, found, expected, hint))

    def images(self, images: list[Any]) -> tuple[dict[int, tuple[int, int]], list[tuple[str, str]]]:
        """Sizes by image id, and places with file names."""
        sizes: dict[int, tuple[int, int]] = {}
        files: list[tuple[str, str]] = []
        names: set[str] = set()
        for i, image in enumerate(images):
            place = f"images[{i}]"
            if not isinstance(image, dict):
                self.wrong(place, show(image), "a mapping with id, file_name, width and height")
                continue
            identity, name = image.get("id"), image.get("file_name")
            width, height = image.get("width"), image.get("height")
            if not _whole(identity):
                self.wrong(f"{place}.id", show(identity), "a whole number")
                continue
            if identity in sizes:
                self.wrong(f"{place}.id", f"{identity} a second time", "an id of its own for every image")
            if not (_whole(width) and _whole(height) and width > 0 and height > 0):
                self.wrong(place, f"width {show(width)} and height {show(height)}", "the image's size in pixels")
                width = height = 0
            sizes[identity] = (width, height)
            if not isinstance(name, str) or not name or "\0" in name:
                self.wrong(f"{place}.file_name", show(name), "the name of an image file")
                continue
            if name in names:
                self.wrong(f"{place}.file_name", f"{name!r} a second time", "each image once")
            names.add(name)
            files.append((f"{place}.file_name", name))
        return sizes, files

    def annotations(self, annotations: list[Any], sizes: dict[int, tuple[int, int]], *, evaluated: bool) -> int:
        """How many instances can be trained on or evaluated."""
        ids: set[int] = set()
        instances = 0
        for i, annotation in enumerate(annotations):
            place = f"annotations[{i}]"
            if not isinstance(annotation, dict):
                self.wrong(place, show(annotation), "a mapping with id, image_id, bbox and keypoints")
                continue
            identity, image = annotation.get("id"), annotation.get("image_id")
            if not _whole(identity):
                self.wrong(f"{place}.id", show(identity), "a whole number")
            elif identity in ids:
                self.wrong(f"{place}.id", f"{identity} a second time", "an id of its own for every annotation")
            else:
                ids.add(identity)
            if not _whole(image) or image not in sizes:
                self.wrong(f"{place}.image_id", show(image), "the id of an image in this file")
            if self.needs.box_from == "center_scale":
                self._square(place, annotation)
            else:
                size = sizes.get(image, (0, 0)) if _whole(image) else (0, 0)
                self._box(f"{place}.bbox", annotation.get("bbox"), size)
            instances += self._keypoints(f"{place}.keypoints", annotation.get("keypoints"))
            if evaluated and self.needs.coco:
                self._evaluated(place, annotation)
        return instances

    def _box(self, place: str, box: Any, size: tuple[int, int]) -> None:
        if not isinstance(box, list) or len(box) != 4 or not all(_number(v) for v in box):
            self.wrong(place, show(box), "[x, y, width, height] in pixels")
            return
        x, y, width, height = box
        if width <= 0 or height <= 0:
            self.wrong(place, f"a box of zero area {show(box)}", "a width and a height above 0 pixels")
        elif size[0] and (x >= size[0] - 1 or y >= size[1] - 1 or x + width <= 0 or y + height <= 0):
            self.wrong(place, f"a box {show(box)} outside its image of {size[0]} x {size[1]}", "a box on the image")

    def _square(self, place: str, annotation: dict[str, Any]) -> None:
        """What MMPose's face data sets make a box of."""
        center, scale = annotation.get("center"), annotation.get("scale")
        if not isinstance(center, list) or len(center) != 2 or not all(_number(v) for v in center):
            self.wrong(f"{place}.center", show(center), "[x, y] in pixels", _SQUARE)
        if not _number(scale) or scale <= 0:
            self.wrong(f"{place}.scale", show(scale), "the box's side in units of 200 pixels, above 0", _SQUARE)

    def _keypoints(self, place: str, keypoints: Any) -> bool:
        numbers = self.count * 3
        if not isinstance(keypoints, list):
            self.wrong(place, show(keypoints), f"{numbers} numbers: x, y, visibility of {self.count} keypoints")
            return False
        if len(keypoints) != numbers:
            expected = f"{numbers} ({self.count} keypoints of layout '{self.layout}' x 3: x, y, visibility)"
            self.wrong(place, f"{len(keypoints)} numbers", expected, "is dataset.keypoints the right layout?")
            return False
        if not all(_number(v) for v in keypoints) or any(v not in (0, 1, 2) for v in keypoints[2::3]):
            self.wrong(place, "values that are no keypoints", "finite x, y in pixels, visibility 0, 1 or 2")
            return False
        labelled = any(keypoints[2::3])
        if labelled and self.needs.pair is not None:
            self.without_pair += not all(keypoints[3 * index + 2] for index in self.needs.pair)
        return labelled

    def _evaluated(self, place: str, annotation: dict[str, Any]) -> None:
        """COCO's own evaluation reads these three and stops with a KeyError without them."""
        rules: dict[str, tuple[Callable[[Any], bool], str]] = {
            "area": (lambda v: _number(v) and v > 0, "the instance's area in square pixels, above 0"),
            "iscrowd": (lambda v: v in (0, 1), "0 or 1"),
            "num_keypoints": (_whole, "the number of labelled keypoints"),
        }
        for key, (good, expected) in rules.items():
            if not good(annotation.get(key)):
                self.wrong(f"{place}.{key}", show(annotation.get(key)), expected, "COCO's evaluation needs it")


def inspect_annotations(
    path: Path, split: str, layout: str, count: int, needs: Needs = Needs()
) -> tuple[SplitFacts | None, list[Problem]]:
    """What the file of one split holds, and what is wrong in it.

    Args:
        path: the COCO keypoint JSON.
        split: `train`, `val` or `test`; a test file needs images only.
        layout: name of the keypoint layout, for messages.
        count: keypoints of the layout; an annotation has three numbers each.
        needs: what else is read.

    Returns:
        The facts, or None where the file cannot be used at all; and the problems.
    """
    checker, where = _Checker(path, layout, count, needs), f"dataset.{split}.annotations"
    data = _json(checker, path, where)
    if not isinstance(data, dict) or not isinstance(data.get("images"), list):
        if not checker.problems:
            checker.wrong(where, show(data), "COCO keypoint JSON: a mapping with images, annotations and categories")
        return None, checker.problems
    sizes, files = checker.images(data["images"])
    instances, annotations = 0, data.get("annotations")
    if split != "test":
        if not isinstance(data.get("categories"), list) or not data["categories"]:
            checker.wrong("categories", show(data.get("categories")), "a list with one category and its keypoints")
        if isinstance(annotations, list):
            instances = checker.annotations(annotations, sizes, evaluated=split == "val")
        else:
            checker.wrong("annotations", show(annotations), "a list of annotations")
    if not data["images"]:
        checker.wrong(where, "an empty split (no images)", "at least one image")
    elif split != "test" and not instances and not checker.problems:
        checker.wrong(where, "an empty split (no instance with a labelled keypoint)", "at least one")
    return SplitFacts(len(data["images"]), instances, checker.without_pair, files), checker.problems


def _json(checker: _Checker, path: Path, where: str) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        checker.wrong(where, "no such file", "COCO keypoint JSON")
    except OSError as error:
        checker.wrong(where, str(error.strerror), "a readable file")
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        checker.wrong(where, f"no JSON ({error.msg} in {place})", "COCO keypoint JSON")
    except (ValueError, RecursionError) as error:
        checker.wrong(where, f"no JSON ({type(error).__name__})", "COCO keypoint JSON")
    return None


def _whole(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
