"""Draws a small data set of articulated cats with the 17 keypoints of the cat assignment, in COCO's format."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from posestudy_studies.cat_figure import Box, Cat, paint, pose
from posestudy_studies.layouts import layout

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

_SUPERSAMPLING: Final = 3
_JPEG_QUALITY: Final = 92
_SPLITS: Final = ("train", "val", "test")


@dataclass(frozen=True)
class _Placed:
    """One cat in the finished picture: joints (17, 2) in px, which of them an occluder or the head hides, box in px."""

    joints: Floats
    hidden: npt.NDArray[np.bool_]
    box: Box


def draw(root: Path, *, train: int, val: int, seed: int, size_px: int = 96, test: int = 0) -> None:
    """Draw `train` + `val` pictures of `size_px` squared into `root/images` and `root/annotations/{train,val}.json`.

    With `test` also so many pictures of which `annotations/test.json` tells the boxes and no keypoint.

    The same arguments give the same bytes; each picture depends on (seed, split, index) alone, so that the splits
    share no cat and a longer data set starts with the shorter one. Every tenth picture or so holds two cats.

    Raises:
        ValueError: where a count is negative or the size is below 32 px, at which joints are no longer apart.
    """
    if min(train, val, test) < 0 or size_px < 32:
        counts = f"train={train}, val={val}, test={test}"
        message = f"found {counts}, size_px={size_px}; expected counts >= 0 and a size >= 32 px"
        raise ValueError(message)
    (root / "images").mkdir(parents=True, exist_ok=True)
    (root / "annotations").mkdir(exist_ok=True)
    for split, count in zip(_SPLITS, (train, val, test), strict=True):
        if split != "test" or count:
            _draw_split(root, split, count, seed, size_px)


def _draw_split(root: Path, split: str, count: int, seed: int, size_px: int) -> None:
    import cv2

    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for index in range(count):
        rng = np.random.default_rng([seed, _SPLITS.index(split), index])
        picture, placed = _picture(rng, size_px)
        image_id = index + 1 + 100_000 * _SPLITS.index(split)
        name = f"{split}_{index + 1:05d}.jpg"
        encoded = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
        (root / "images" / name).write_bytes(encoded.tobytes())
        images.append({"id": image_id, "file_name": name, "width": size_px, "height": size_px})
        found = [_annotation(cat, image_id, 10 * image_id + i, size_px) for i, cat in enumerate(placed)]
        annotations += [_unlabelled(one) for one in found] if split == "test" else found
    cats = layout("cats")
    category = {"id": 1, "name": "cat", "supercategory": "animal", "keypoints": list(cats.keypoint_names)}
    category["skeleton"] = [[a + 1, b + 1] for a, b in cats.skeleton]  # COCO counts them from one
    document = {"info": {"description": f"drawn cats, seed {seed}"}, "images": images}
    document |= {"annotations": annotations, "categories": [category]}
    (root / "annotations" / f"{split}.json").write_text(json.dumps(document) + "\n", encoding="utf-8")


def _annotation(cat: _Placed, image_id: int, annotation_id: int, size_px: int) -> dict[str, Any]:
    keypoints: list[float | int] = []
    labelled = 0
    for (x, y), hidden in zip(cat.joints, cat.hidden, strict=True):
        inside = 0 <= x <= size_px - 1 and 0 <= y <= size_px - 1
        keypoints += [round(float(x), 2), round(float(y), 2), 1 if hidden else 2] if inside else [0, 0, 0]
        labelled += inside
    return {
        "id": annotation_id,
        "image_id": image_id,
        "category_id": 1,
        "bbox": list(cat.box),
        "area": cat.box[2] * cat.box[3],  # of the box, as in AP-10K, whose keypoints these are
        "iscrowd": 0,
        "num_keypoints": int(labelled),
        "keypoints": keypoints,
    }


def _unlabelled(annotation: dict[str, Any]) -> dict[str, Any]:
    return {**annotation, "num_keypoints": 0, "keypoints": [0] * len(annotation["keypoints"])}


def _picture(rng: np.random.Generator, size_px: int) -> tuple[Image, list[_Placed]]:
    """One picture, (size_px, size_px, 3) BGR, and the cats in it."""
    import cv2

    canvas = _background(rng, size_px * _SUPERSAMPLING)
    shade = float(canvas.mean())
    cats = [pose(rng, area, shade) for area in _areas(rng, canvas.shape[0])]
    drawn = [(cat, *paint(canvas, cat, rng)) for cat in cats]
    covered = _occlude(canvas, rng, [box for _, _, box in drawn])
    placed = []
    for order, (cat, hidden, box) in enumerate(drawn):
        over = covered.copy()
        for other, _, _ in drawn[order + 1 :]:
            other.silhouette(over)
        placed.append(_place(cat, hidden | _under(cat.joints, over), box))
    small = cv2.resize(canvas, (size_px, size_px), interpolation=cv2.INTER_AREA)
    noisy = small + rng.normal(0, rng.uniform(1, 5), small.shape)
    return np.asarray(np.clip(noisy, 0, 255), dtype=np.uint8), placed


def _areas(rng: np.random.Generator, side: int) -> list[tuple[float, float, float]]:
    """Centre x, centre y and extent (px of the canvas) of each cat."""
    if rng.random() < 0.1:
        gap = rng.uniform(0.24, 0.28) * side
        y = rng.uniform(0.42, 0.58, 2) * side
        return [(gap, y[0], 0.46 * side), (side - gap, y[1], 0.46 * side)]
    extent = rng.uniform(0.6, 0.92) * side
    # One cat in twelve leaves the picture: its joints outside carry no label.
    slack = 0.25 * side if rng.random() < 1 / 12 else max(0.0, (0.96 * side - extent) / 2)
    x, y = side / 2 + rng.uniform(-slack, slack, 2)
    return [(x, y, extent)]


def _place(cat: Cat, hidden: npt.NDArray[np.bool_], box: Box) -> _Placed:
    x, y, width, height = box
    left, top = x // _SUPERSAMPLING, y // _SUPERSAMPLING
    right, bottom = -(-(x + width) // _SUPERSAMPLING), -(-(y + height) // _SUPERSAMPLING)
    # Centres of pixels: canvas column c lies at (c + 0.5) / s - 0.5 of the reduced picture.
    joints = (cat.joints + 0.5) / _SUPERSAMPLING - 0.5
    return _Placed(joints, hidden, (left, top, right - left, bottom - top))


def _under(joints: Floats, mask: Image) -> npt.NDArray[np.bool_]:
    """Which of the joints (n, 2) lie on a set pixel of `mask`; those outside do not."""
    column, row = np.rint(joints).astype(int).T
    inside = (column >= 0) & (row >= 0) & (column < mask.shape[1]) & (row < mask.shape[0])
    result = np.zeros(len(joints), dtype=bool)
    result[inside] = mask[row[inside], column[inside]] > 0
    return result


def _background(rng: np.random.Generator, side: int) -> Image:
    """A gradient, soft noise and a few shapes, (side, side, 3) BGR."""
    import cv2

    # Muted colours: half way to grey.
    top, bottom = (0.5 * (c + c.mean()) for c in rng.uniform(30, 240, (2, 3)))
    ramp = np.linspace(0, 1, side)[:, None, None]
    canvas = (1 - ramp) * top + ramp * bottom + np.zeros((side, side, 3))
    coarse = rng.normal(0, rng.uniform(4, 22), (int(rng.integers(4, 25)),) * 2)
    canvas += cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)[..., None] * rng.uniform(0.5, 1.0, 3)
    image = np.asarray(np.clip(canvas, 0, 255), dtype=np.uint8)
    if rng.random() < 0.6:  # a floor for the cat to stand on
        level = int(rng.uniform(0.55, 0.9) * side)
        image[level:] = np.clip(image[level:] * 0.5 + rng.uniform(20, 120, 3), 0, 255)
    for _ in range(int(rng.integers(0, 6))):
        _shape(image, rng, rng.uniform(0, side, 2), rng.uniform(0.05, 0.3) * side)
    return image


def _shape(image: Image, rng: np.random.Generator, centre: Floats, extent: float) -> None:
    """Draw one filled box, disc or bar of a random colour onto `image`."""
    import cv2

    colour = [int(c) for c in rng.integers(20, 240, 3)]
    size = (extent, extent * rng.uniform(0.3, 1.0))
    kind = int(rng.integers(3))
    if kind == 0:
        cv2.circle(image, [int(c) for c in centre], int(extent / 2), colour, -1, cv2.LINE_AA)
        return
    if kind == 1:
        size = (extent * 2, extent * 0.15)
    corners = cv2.boxPoints((tuple(float(c) for c in centre), size, float(rng.uniform(0, 180))))
    cv2.fillConvexPoly(image, np.rint(corners).astype(np.int32), colour, cv2.LINE_AA)


def _occlude(canvas: Image, rng: np.random.Generator, boxes: list[Box]) -> Image:
    """Draw something before a third of the cats; returns where (side, side), 0 or 255."""
    before = canvas.copy()
    for x, y, width, height in boxes:
        if rng.random() < 0.35:
            centre = np.array([x, y]) + rng.uniform(0.1, 0.9, 2) * (width, height)
            _shape(canvas, rng, centre, rng.uniform(0.15, 0.35) * max(width, height))
    return np.asarray((canvas != before).any(axis=2) * 255, dtype=np.uint8)
