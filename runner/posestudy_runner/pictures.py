"""Pictures of a trained model's predictions over the ground truth, for a person to look at."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.dataset import pseudo_collate
from numpy.typing import NDArray

from posestudy.durable import write_bytes

COUNT = 8
_SIDE_PX = 256
_TRUTH = (80, 200, 80)
_PREDICTED = (40, 40, 235)
"""BGR."""


def save_pictures(runner: Any, folder: Path, count: int = COUNT) -> int:
    """Draw the validation images' first to last, evenly chosen, with the model as it is; returns how many.

    Args:
        runner: an MMEngine runner with a validation data set.
        folder: where `NNN.png` go; made when missing.
        count: at most so many, one instance each.
    """
    dataset = runner.val_dataloader.dataset
    model = runner.model
    model.eval()
    links = dataset.metainfo.get("skeleton_links", [])
    chosen = sorted({int(i) for i in np.linspace(0, len(dataset) - 1, min(count, len(dataset)))})
    drawn = 0
    for place, index in enumerate(chosen, start=1):
        batch = pseudo_collate([dataset[index]])
        sample = model.test_step(batch)[0]
        image = cv2.imread(str(sample.img_path))
        if image is None:
            continue
        picture = draw(image, sample, links)
        done, data = cv2.imencode(".png", picture)
        if done:
            write_bytes(folder / f"{place:03d}.png", data.tobytes())
            drawn += 1
    return drawn


def draw(image: NDArray[np.uint8], sample: Any, links: Iterable[tuple[int, int]]) -> NDArray[np.uint8]:
    """A copy of `image` (BGR, H x W x 3), enlarged to a readable size, truth in green and prediction in red on it."""
    scale = max(1, round(_SIDE_PX / max(image.shape[:2])))
    canvas = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    truth, predicted = sample.gt_instances, sample.pred_instances
    pairs = [(int(a), int(b)) for a, b in links]
    if "keypoints" in truth:
        visible = np.asarray(truth.keypoints_visible).reshape(len(truth.keypoints), -1)[0] > 0
        _skeleton(canvas, np.asarray(truth.keypoints)[0] * scale, visible, pairs, _TRUTH, 1)
    points = np.asarray(predicted.keypoints)[0] * scale
    _skeleton(canvas, points, np.ones(len(points), dtype=bool), pairs, _PREDICTED, 2)
    return np.asarray(canvas, dtype=np.uint8)


def _skeleton(
    canvas: Any,
    points: NDArray[Any],
    visible: NDArray[np.bool_],
    links: list[tuple[int, int]],
    colour: tuple[int, int, int],
    radius: int,
) -> None:
    places = [(round(float(x)), round(float(y))) for x, y in points[:, :2]]
    for a, b in links:
        if visible[a] and visible[b]:
            cv2.line(canvas, places[a], places[b], colour, 1, cv2.LINE_AA)
    for place, seen in zip(places, visible, strict=True):
        if seen:
            cv2.circle(canvas, place, radius + 1, colour, -1, cv2.LINE_AA)
