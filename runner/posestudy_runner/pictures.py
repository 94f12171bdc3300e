"""Pictures of a trained model's predictions over the ground truth, for a person to look at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from posestudy.durable import make_folder, write_bytes
from posestudy.errors import UnreadableImageError

Picture = NDArray[np.uint8]

COUNT = 8
_SIDE_PX = 256
_TRUTH = (80, 200, 80)
_PREDICTED = (40, 40, 235)
"""BGR."""
_QUICKLY = [cv2.IMWRITE_PNG_COMPRESSION, 1]
"""A fifth of the time that OpenCV's own choice takes, for files a little larger."""


def save_pictures(runner: Any, folder: Path, count: int = COUNT) -> int:
    """Draw validation images, evenly chosen from first to last, with every instance in them; returns how many.

    Args:
        runner: an MMEngine runner with a validation data set; its model predicts as it is.
        folder: where `NNN.png` go; made when missing.
        count: images at most.
    """
    loader = runner.val_dataloader
    dataset = loader.dataset
    links = [(int(a), int(b)) for a, b in dataset.metainfo.get("skeleton_links", [])]
    chosen = chosen_images(dataset, count)
    samples = _predicted(runner.model, loader, [index for instances in chosen.values() for index in instances])
    files: list[tuple[Path, bytes]] = []
    for place, (path, instances) in enumerate(chosen.items(), start=1):
        done, data = cv2.imencode(".png", draw(_read(path), [next(samples) for _ in instances], links), _QUICKLY)
        if done:
            files.append((folder / f"{place:03d}.png", data.tobytes()))
    if files:
        # Each waits for the disk twice; side by side they wait about as long as one.
        make_folder(folder)
        with ThreadPoolExecutor(len(files)) as writers:
            list(writers.map(lambda file: write_bytes(*file), files))
    return len(chosen)


def _predicted(model: Any, loader: Any, indices: Sequence[int]) -> Iterator[Any]:
    """MMPose's data samples with what `model` predicts for these instances of the loader's data set, in their order."""
    model.eval()
    for first in range(0, len(indices), loader.batch_size):
        batch = [loader.dataset[index] for index in indices[first : first + loader.batch_size]]
        yield from model.test_step(loader.collate_fn(batch))


def chosen_images(dataset: Any, count: int = COUNT) -> dict[str, list[int]]:
    """At most `count` images of a data set, evenly chosen from first to last: path and its instances' indices."""
    instances: dict[str, list[int]] = {}
    for index in range(len(dataset)):
        instances.setdefault(str(dataset.get_data_info(index)["img_path"]), []).append(index)
    paths = list(instances)
    chosen = sorted({int(i) for i in np.linspace(0, len(paths) - 1, min(count, len(paths)))})
    return {paths[i]: instances[paths[i]] for i in chosen}


def _read(path: str) -> Picture:
    image = cv2.imread(path)
    if image is None:
        raise UnreadableImageError(f"image {path} cannot be read any more")
    return np.asarray(image, dtype=np.uint8)


def draw(image: Picture, samples: Iterable[Any], links: Sequence[tuple[int, int]]) -> Picture:
    """A copy of `image`, enlarged to a readable size: truth in green, prediction in red on it.

    Args:
        image: height x width x 3, BGR.
        samples: MMPose's data samples of its instances, keypoints in pixels of the image.
        links: pairs of keypoints that are joined.
    """
    scale = max(1, round(_SIDE_PX / max(image.shape[:2])))
    canvas = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    for sample in samples:
        truth, predicted = sample.gt_instances, np.asarray(sample.pred_instances.keypoints)[0] * scale
        if "keypoints" in truth:
            points = np.asarray(truth.keypoints)[0] * scale
            visible = np.asarray(truth.keypoints_visible).reshape(-1)[: len(points)] > 0
            _skeleton(canvas, points, visible, links, _TRUTH, 2)
        _skeleton(canvas, predicted, np.ones(len(predicted), dtype=bool), links, _PREDICTED, 3)
    return np.asarray(canvas, dtype=np.uint8)


def _skeleton(
    canvas: Any,
    points: NDArray[Any],
    visible: NDArray[np.bool_],
    links: Sequence[tuple[int, int]],
    colour: tuple[int, int, int],
    radius: int,
) -> None:
    places = [(round(float(x)), round(float(y))) for x, y in points[:, :2]]
    for a, b in links:
        if visible[a] and visible[b]:
            cv2.line(canvas, places[a], places[b], colour, 1, cv2.LINE_AA)
    for place, seen in zip(places, visible, strict=True):
        if seen:
            cv2.circle(canvas, place, radius, colour, -1, cv2.LINE_AA)
