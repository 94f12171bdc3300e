"""Small drawn COCO data sets, evaluated by the real COCOeval, for the tests of the statistics."""

from __future__ import annotations

import contextlib
import copy
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
from xtcocotools.coco import COCO
from xtcocotools.cocoeval import COCOeval

from posestudy_reports import bootstrap
from posestudy_reports.bootstrap import Matches
from posestudy_runner.matches import save_matches

Json = dict[str, Any]
KEYPOINTS = 17
SIGMAS = np.full(KEYPOINTS, 0.07)
STATS = {"coco/AP": 0, "coco/AP50": 1, "coco/AP75": 2, "coco/AR": 5, "coco/AR50": 6, "coco/AR75": 7}
"""Where COCOeval keeps each metric."""


@dataclass(frozen=True)
class Drawn:
    """A data set: images and annotations as COCO has them."""

    images: list[Json]
    annotations: list[Json]

    @classmethod
    def make(cls, images: int, seed: int = 0) -> Drawn:
        """Images of no to three animals; every ninth animal has no keypoint and is ignored."""
        random = np.random.default_rng(seed)
        found = cls([], [])
        for i in range(images):
            found.images.append({"id": 10 + 3 * i, "width": 256, "height": 256, "file_name": f"{i}.jpg"})
            for _ in range(int(random.integers(0, 4))):
                found.annotations.append(_animal(random, 10 + 3 * i, len(found.annotations) + 1))
        return found

    def predicted(self, noise: float, seed: int) -> list[Json]:
        """Every animal found, `noise` px off on average; scores have two decimals, so that many are tied."""
        random = np.random.default_rng([seed, 1])
        results = []
        for annotation in self.annotations:
            points = np.array(annotation["keypoints"]).reshape(-1, 3).copy()
            off = noise * random.uniform(0, 2)
            points[:, :2] += random.normal(0, max(off, 1e-9), (KEYPOINTS, 2))
            score = round(float(np.clip(1 - off / 20 + random.normal(0, 0.1), 0.01, 1)), 2)
            flat = points.ravel().tolist()
            results.append({"image_id": annotation["image_id"], "category_id": 1, "keypoints": flat, "score": score})
        return results

    def repeated(self, results: Sequence[Json], times: Sequence[int]) -> tuple[Drawn, list[Json]]:
        """The data set in which image i stands `times[i]` times, with as many copies of its results."""
        copies, again = Drawn([], []), []
        for image, count in zip(self.images, times, strict=True):
            for _ in range(count):
                new = len(copies.images) + 1
                copies.images.append(image | {"id": new})
                for annotation in self.annotations:
                    if annotation["image_id"] == image["id"]:
                        mine = {"id": len(copies.annotations) + 1, "image_id": new}
                        copies.annotations.append(annotation | mine)
                again += [result | {"image_id": new} for result in results if result["image_id"] == image["id"]]
        return copies, again


def _animal(random: np.random.Generator, image: int, number: int) -> Json:
    x, y = random.uniform(0, 150, 2)
    width, height = random.uniform(30, 100, 2)
    points = np.stack(
        [x + random.uniform(0, width, KEYPOINTS), y + random.uniform(0, height, KEYPOINTS), np.full(KEYPOINTS, 2.0)], 1
    )
    seen = 0 if number % 9 == 0 else KEYPOINTS
    points[:, 2] = 2.0 if seen else 0.0
    return {
        "id": number, "image_id": image, "category_id": 1, "bbox": [x, y, width, height], "area": width * height,
        "iscrowd": 0, "num_keypoints": seen, "keypoints": points.ravel().tolist(),
    }  # fmt: skip


def truth(drawn: Drawn) -> COCO:
    """The ground truth as COCO's own class."""
    found = COCO()
    found.dataset = {
        "images": copy.deepcopy(drawn.images),
        "annotations": copy.deepcopy(drawn.annotations),
        "categories": [{"id": 1, "name": "cat", "keypoints": ["k"] * KEYPOINTS, "skeleton": []}],
    }
    found.anno_file = [""]
    with contextlib.redirect_stdout(io.StringIO()):
        found.createIndex()
    return found


def evaluated(drawn: Drawn, results: Sequence[Json]) -> COCOeval:
    """COCOeval, evaluated, accumulated and summarized as MMPose's CocoMetric does it."""
    known = truth(drawn)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(known, known.loadRes(copy.deepcopy(list(results))), "keypoints", SIGMAS, True)
        evaluation.params.useSegm = None
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


@dataclass(frozen=True)
class CocoMetric:
    """What the writer reads of MMPose's metric of that name, which `test_report_real_matches` uses itself."""

    coco: COCO
    iou_type: str = "keypoints"
    use_area: bool = True
    dataset_meta: Json = field(default_factory=lambda: {"sigmas": SIGMAS})


def save(drawn: Drawn, results: Sequence[Json], path: Path, epoch: int = 20) -> None:
    """The matches of these results as a trial leaves them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    predictions = path.with_name("predictions.keypoints.json")
    predictions.write_text(json.dumps(list(results)), encoding="utf-8")
    runner = SimpleNamespace(val_evaluator=SimpleNamespace(metrics=[CocoMetric(truth(drawn))]))
    assert save_matches(runner, predictions, path, epoch)


def matches(drawn: Drawn, results: Sequence[Json], epoch: int = 20) -> Matches:
    """The matches of these results as a report reads them."""
    with TemporaryDirectory() as folder:
        save(drawn, results, Path(folder) / "matches.npz", epoch)
        return bootstrap.read(Path(folder) / "matches.npz")


def write(found: Matches, path: Path) -> None:
    """Matches put together by a test, as a file."""
    arrays = {name: value for name, value in vars(found).items() if name != "predictions_sha256"}
    np.savez_compressed(path, **arrays)
