"""A tiny data set of 98-point faces in the form of MMPose's annotations of WFLW."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

POINTS = 98


def draw_faces(root: Path, *, train: int, val: int, size_px: int = 64) -> None:
    """Pictures with one blob each, whose place and size the 98 points follow; `bbox` is larger than the square."""
    (root / "annotations").mkdir(parents=True)
    (root / "images").mkdir()
    for split, count, first in (("train", train, 1), ("test", val, 1001)):
        images, annotations = [], []
        for number in range(first, first + count):
            image, annotation = _face(np.random.default_rng(number), number, size_px)
            assert cv2.imwrite(str(root / "images" / f"{number}.png"), image)
            images.append({"id": number, "file_name": f"{number}.png", "width": size_px, "height": size_px})
            annotations.append(annotation)
        data = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "face"}]}
        (root / "annotations" / f"face_landmarks_wflw_{split}.json").write_text(json.dumps(data))


def _face(random: np.random.Generator, number: int, size_px: int) -> tuple[Any, dict[str, Any]]:
    x, y = random.uniform(0.4, 0.6, 2) * size_px
    radius = random.uniform(0.18, 0.3) * size_px
    image = np.full((size_px, size_px, 3), 40, dtype=np.uint8)
    cv2.circle(image, (round(x), round(y)), round(radius), (200, 180, 160), -1)
    angles = np.linspace(0, 2 * np.pi, POINTS, endpoint=False)
    points = np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1)
    low, side = points.min(axis=0), 2 * radius
    annotation = {
        "id": number,
        "image_id": number,
        "category_id": 1,
        "iscrowd": 0,
        "area": side**2,
        "num_keypoints": POINTS,
        "bbox": [float(low[0] - 3), float(low[1] - 3), side + 6, side + 6],
        "center": [float(x), float(y)],
        "scale": side / 200,
        "keypoints": np.column_stack([points, np.ones(POINTS)]).ravel().tolist(),
    }
    return image, annotation
