"""Checks one COCO keypoint annotation file for what training or evaluation would stumble over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from posestudy.errors import Problem
from posestudy_studies.coco_values import (
    Unusable,
    is_area,
    is_encodable,
    is_id,
    is_length,
    is_number,
    is_whole,
    json_of,
)
from posestudy_studies.layouts import BoxFrom
from posestudy_studies.mistakes import show

_AREA = "the instance's area in square pixels, above 0"
_SQUARE = "boxes are made of center and scale; dataset.box_from: bbox takes them from bbox"


@dataclass
class SplitFacts:
    """What an annotation file holds.

    Attributes:
        images, instances: how many images it lists and how many annotations with at least one labelled keypoint.
        without_pair: how many of these lack a label at one of the keypoints that normalise errors.
        beyond, apart: how many boxes reach far out of their image, and how many instances have most of their labelled
            keypoints outside their box.
        usable: how many of the instances training and evaluation do not skip; of a test split those with a box.
        ids: of the images.
        files: place in the file and `file_name` of every image.
        paths: resolved image paths, filled in by whoever knows the folder.
    """

    images: int
    instances: int
    without_pair: int = 0
    usable: int = 0
    beyond: int = 0
    apart: int = 0
    ids: frozenset[int] = frozenset()
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
        self.without_pair = self.usable = self.beyond = self.apart = 0
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
            if not is_id(identity):
                self.wrong(f"{place}.id", show(identity), "a whole number from 0")
                continue
            if identity in sizes:
                self.wrong(f"{place}.id", f"{identity} a second time", "an id of its own for every image")
            if not (is_length(width) and is_length(height)):
                self.wrong(place, f"width {show(width)} and height {show(height)}", "the image's size in pixels")
                width = height = 0
            sizes[identity] = (width, height)
            if not isinstance(name, str) or not name or not is_encodable(name):
                self.wrong(f"{place}.file_name", show(name), "the name of an image file")
                continue
            if name in names:
                self.wrong(f"{place}.file_name", f"{name!r} a second time", "each image once")
            names.add(name)
            files.append((f"{place}.file_name", name))
        return sizes, files

    def annotations(
        self, annotations: list[Any], sizes: dict[int, tuple[int, int]], categories: set[int], *, evaluated: bool
    ) -> int:
        """How many instances can be trained on or evaluated."""
        ids: set[int] = set()
        instances = 0
        for i, annotation in enumerate(annotations):
            place = f"annotations[{i}]"
            if not isinstance(annotation, dict):
                self.wrong(place, show(annotation), "a mapping with id, image_id, bbox and keypoints")
                continue
            identity, image = annotation.get("id"), annotation.get("image_id")
            if not is_id(identity):
                self.wrong(f"{place}.id", show(identity), "a whole number from 0")
            elif identity in ids:
                self.wrong(f"{place}.id", f"{identity} a second time", "an id of its own for every annotation")
            else:
                ids.add(identity)
            if not is_whole(image) or image not in sizes:
                self.wrong(f"{place}.image_id", show(image), "the id of an image in this file")
            if self.needs.box_from == "center_scale":
                self._square(place, annotation)
            else:
                size = sizes.get(image, (0, 0)) if is_whole(image) else (0, 0)
                self._box(f"{place}.bbox", annotation.get("bbox"), size)
            labelled = self._keypoints(f"{place}.keypoints", annotation.get("keypoints"))
            instances += labelled
            if labelled and self.needs.box_from == "bbox":
                self.apart += _is_apart(annotation["keypoints"], annotation.get("bbox"))
            self.usable += labelled and _is_used(annotation)
            category = annotation.get("category_id")
            if not is_whole(category) or (categories and category not in categories):
                self.wrong(f"{place}.category_id", show(category), "the id of a category in this file")
            if evaluated and self.needs.coco:
                self._evaluated(place, annotation)
            elif "area" in annotation and not is_area(annotation["area"]):
                self.wrong(f"{place}.area", show(annotation["area"]), _AREA)
        return instances

    def categories(self, categories: Any) -> set[int]:
        """Their ids; empty where they cannot be told."""
        if not isinstance(categories, list) or not categories:
            self.wrong("categories", show(categories), "a list with one category and its keypoints")
            return set()
        ids: set[int] = set()
        for i, category in enumerate(categories):
            identity = category.get("id") if isinstance(category, dict) else None
            if not is_id(identity):
                what = show(category if identity is None else identity)
                self.wrong(f"categories[{i}]", what, "a mapping with an id, a whole number from 0, and a name")
            else:
                ids.add(identity)
        return ids

    def boxes(self, annotations: Any, sizes: dict[int, tuple[int, int]]) -> None:
        """Checks annotations whose boxes are predicted; they need no keypoints."""
        if not isinstance(annotations, list):
            self.wrong("annotations", show(annotations), "a list of annotations")
            return
        for i, annotation in enumerate(annotations):
            place = f"annotations[{i}]"
            if not isinstance(annotation, dict):
                self.wrong(place, show(annotation), "a mapping with id, image_id, category_id and bbox")
                continue
            image = annotation.get("image_id")
            rules = {
                "id": (is_id(annotation.get("id")), "a whole number from 0"),
                "image_id": (is_whole(image) and image in sizes, "the id of an image in this file"),
                "category_id": (is_whole(annotation.get("category_id")), "a whole number"),
                "area": ("area" not in annotation or is_area(annotation["area"]), _AREA),
            }
            for key, (good, expected) in rules.items():
                if not good:
                    self.wrong(f"{place}.{key}", show(annotation.get(key)), expected)
            if self.needs.box_from == "center_scale":
                self._square(place, annotation)
                self.usable += 1
            elif "bbox" in annotation:
                self._box(f"{place}.bbox", annotation["bbox"], sizes.get(image, (0, 0)) if is_whole(image) else (0, 0))
                self.usable += 1
            if annotation.get("keypoints"):
                self._keypoints(f"{place}.keypoints", annotation["keypoints"])

    def _box(self, place: str, box: Any, size: tuple[int, int]) -> None:
        if not isinstance(box, list) or len(box) != 4 or not all(is_number(v) for v in box):
            self.wrong(place, show(box), "[x, y, width, height] in pixels")
            return
        x, y, width, height = box
        if width <= 0 or height <= 0:
            self.wrong(place, f"a box of zero area {show(box)}", "a width and a height above 0 pixels")
        elif size[0] and (x >= size[0] - 1 or y >= size[1] - 1 or x + width <= 0 or y + height <= 0):
            self.wrong(place, f"a box {show(box)} outside its image of {size[0]} x {size[1]}", "a box on the image")
        elif size[0]:
            out = max(-x, x + width - size[0]) > width / 4 or max(-y, y + height - size[1]) > height / 4
            self.beyond += out

    def _square(self, place: str, annotation: dict[str, Any]) -> None:
        """What MMPose's face data sets make a box of."""
        center, scale = annotation.get("center"), annotation.get("scale")
        if not isinstance(center, list) or len(center) != 2 or not all(is_number(v) for v in center):
            self.wrong(f"{place}.center", show(center), "[x, y] in pixels", _SQUARE)
        if not is_number(scale) or scale <= 0:
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
        if not all(is_number(v) for v in keypoints) or any(v not in (0, 1, 2) for v in keypoints[2::3]):
            self.wrong(place, "values that are no keypoints", "finite x, y in pixels, visibility 0, 1 or 2")
            return False
        labelled = any(keypoints[2::3])
        if labelled and self.needs.pair is not None:
            self.without_pair += not all(keypoints[3 * index + 2] for index in self.needs.pair)
        return labelled

    def _evaluated(self, place: str, annotation: dict[str, Any]) -> None:
        """COCO's own evaluation reads these three and stops with a KeyError without them."""
        rules: dict[str, tuple[Callable[[Any], bool], str]] = {
            "area": (is_area, _AREA),
            "iscrowd": (lambda v: v in (0, 1), "0 or 1"),
            "num_keypoints": (is_whole, "the number of labelled keypoints"),
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
    try:
        data = json_of(path)
    except Unusable as error:
        checker.wrong(where, error.found, error.expected or "COCO keypoint JSON", error.hint)
        return None, checker.problems
    if not isinstance(data, dict) or not isinstance(data.get("images"), list):
        checker.wrong(where, show(data), "COCO keypoint JSON: a mapping with images, annotations and categories")
        return None, checker.problems
    sizes, files = checker.images(data["images"])
    instances, annotations = 0, data.get("annotations")
    if split != "test":
        categories = checker.categories(data.get("categories"))
        if isinstance(annotations, list):
            instances = checker.annotations(annotations, sizes, categories, evaluated=split == "val")
        else:
            checker.wrong("annotations", show(annotations), "a list of annotations")
    if not data["images"]:
        checker.wrong(where, "an empty split (no images)", "at least one image")
    elif split == "test":
        if "categories" in data and not isinstance(data["categories"], list):
            checker.wrong("categories", show(data["categories"]), "a list of categories")
        if annotations is not None:
            checker.boxes(annotations, sizes)
    elif not instances and not checker.problems:
        checker.wrong(where, "an empty split (no instance with a labelled keypoint)", "at least one")
    elif not checker.usable and not checker.problems:
        expected = "at least one instance with `iscrowd` 0, `num_keypoints` above 0 and a keypoint on the image"
        checker.wrong(where, "no instance that MMPose uses", expected)
    facts = SplitFacts(
        images=len(data["images"]),
        instances=instances,
        without_pair=checker.without_pair,
        usable=checker.usable,
        beyond=checker.beyond,
        apart=checker.apart,
        ids=frozenset(sizes),
        files=files,
    )
    return facts, checker.problems


def _is_apart(keypoints: list[float], box: Any) -> bool:
    """Whether most labelled keypoints lie outside `box`, [x, y, width, height]; no where it is no box."""
    if not isinstance(box, list) or len(box) != 4 or not all(is_number(v) for v in box):
        return False
    x, y, width, height = box
    labelled = [point for point in zip(keypoints[::3], keypoints[1::3], keypoints[2::3], strict=True) if point[2]]
    inside = sum(x <= at[0] <= x + width and y <= at[1] <= y + height for at in labelled)
    return bool(2 * inside < len(labelled))


def _is_used(annotation: dict[str, Any]) -> bool:
    """Whether MMPose's data sets keep an instance with labelled keypoints and a box."""
    xs_and_ys = [v for i, v in enumerate(annotation["keypoints"]) if i % 3 < 2]
    return not annotation.get("iscrowd") and annotation.get("num_keypoints") != 0 and max(xs_and_ys) > 0
