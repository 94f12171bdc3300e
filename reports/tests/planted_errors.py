"""A study of two cells on cats of a known shape, whose predictions hold errors that were planted one by one."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from synthetic_report import Builder

from posestudy.home import Home
from posestudy_reports import coco_annotations, detections
from posestudy_reports.coco_annotations import Annotated
from posestudy_reports.coco_matching import average_precision
from posestudy_reports.detections import Detections
from posestudy_reports.report import StudyReport
from posestudy_reports.saved_matches import SavedMatches
from posestudy_studies.layouts import layout

Json = dict[str, Any]
CATS = layout("cats")
SIGMAS = np.array(CATS.sigmas)
K = len(SIGMAS)
SIDE = 100
AREA = 400.0
"""Far less than the box, so that a keypoint is near its own place alone."""
_GRID = np.array([(10 + 20 * (k % 5), 10 + 20 * (k // 5)) for k in range(K)], dtype=float)
"""Places of the keypoints in the box, 20 px apart."""


def off(keypoint: int, similarity: float) -> float:
    """How far, px, a keypoint lies from its place at this similarity."""
    return float(np.sqrt(-2 * np.log(similarity) * AREA) * 2 * SIGMAS[keypoint])


@dataclass
class Cats:
    """`images` images of `each` cats beside one another, and predictions that begin as the truth."""

    images: int = 6
    each: int = 2
    annotations: list[Json] = field(default_factory=list)
    predictions: list[Json] = field(default_factory=list)

    def __post_init__(self) -> None:
        for i in range(self.images):
            for j in range(self.each):
                n = len(self.annotations)
                corner = np.array([20 + 140 * j, 20])
                points = np.column_stack([_GRID + corner, np.full(K, 2.0)])
                box = [float(corner[0]), 20.0, float(SIDE), float(SIDE)]
                self.annotations.append({
                    "id": 1 + n, "image_id": 50 + i, "category_id": 1, "bbox": box, "area": AREA, "iscrowd": 0,
                    "num_keypoints": K, "keypoints": points.ravel().tolist(),
                })  # fmt: skip
                self.predictions.append({
                    "image_id": 50 + i, "category_id": 1, "bbox": box, "score": 0.9 - 0.01 * n,
                    "keypoints": np.column_stack([_GRID + corner, np.ones(K)]).ravel().tolist(),
                })  # fmt: skip

    def point(self, cat: int, keypoint: int, right: float = 0, down: float = 0) -> np.ndarray:
        """The true place of a keypoint, or so many px from it."""
        return np.array(self.annotations[cat]["keypoints"][3 * keypoint : 3 * keypoint + 2]) + np.array((right, down))

    def put(self, cat: int, keypoint: int, at: np.ndarray) -> None:
        self.predictions[cat]["keypoints"][3 * keypoint : 3 * keypoint + 2] = [float(v) for v in at]

    def see(self, cat: int, keypoint: int, visibility: int) -> None:
        self.annotations[cat]["keypoints"][3 * keypoint + 2] = visibility

    def jitter(self, cat: int, keypoint: int, similarity: float = 0.7) -> None:
        self.put(cat, keypoint, self.point(cat, keypoint, off(keypoint, similarity)))

    def invert(self, cat: int, pair: tuple[int, int]) -> None:
        """Both keypoints of a pair in one another's place."""
        for one, other in (pair, pair[::-1]):
            self.put(cat, one, self.point(cat, other))

    def swap(self, cat: int, keypoint: int) -> None:
        """The keypoint in the place of the same one of the next cat of the image."""
        other = cat + 1 if cat % self.each == 0 else cat - 1
        self.put(cat, keypoint, self.point(other, keypoint))

    def miss(self, cat: int, keypoint: int) -> None:
        self.put(cat, keypoint, self.point(cat, keypoint, 10, 10))

    def noisy(self, pixels: float, seed: int) -> None:
        random = np.random.default_rng(seed)
        for prediction in self.predictions:
            points = np.array(prediction["keypoints"]).reshape(K, 3)
            points[:, :2] += random.normal(0, pixels, (K, 2))
            prediction["keypoints"] = points.ravel().tolist()

    def again(self) -> Cats:
        return copy.deepcopy(self)

    def truth_json(self) -> Json:
        size = {"width": 40 + 140 * self.each, "height": 140}
        images = [{"id": 50 + i, "file_name": f"cat_{50 + i}.jpg", **size} for i in range(self.images)]
        return {"images": images, "annotations": self.annotations, "categories": [{"id": 1, "name": "cat"}]}

    def write_truth(self, root: Path, pictures: bool = True) -> None:
        """Annotations and grey images."""
        from PIL import Image

        (root / "annotations").mkdir(parents=True, exist_ok=True)
        (root / "images").mkdir(exist_ok=True)
        (root / "annotations" / "val.json").write_text(json.dumps(self.truth_json()), encoding="utf-8")
        for image in self.truth_json()["images"] if pictures else ():
            Image.new("RGB", (image["width"], image["height"]), "#808080").save(root / "images" / image["file_name"])

    def arrays(self, folder: Path) -> tuple[Annotated, Detections]:
        """Truth and predictions as a report reads them."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "truth.json").write_text(json.dumps(self.truth_json()), encoding="utf-8")
        (folder / "found.json").write_text(json.dumps(self.predictions), encoding="utf-8")
        return coco_annotations.read(folder / "truth.json", K), detections.read(folder / "found.json", K)


def document(root: Path, metric: str = "coco/AP", **evaluation: Any) -> Json:
    """A study file that posestudy understands, of data under `root`."""
    split = {"annotations": "annotations/val.json", "images": "images"}
    return {
        "study": "cats_small",
        "dataset": {"keypoints": "cats", "root": str(root), "train": split, "val": split, "box_from": "bbox"},
        "metric": metric,
        "evaluation": evaluation,
        "baseline": {
            "model": "resnet_tiny", "input_size": [64, 64], "epochs": 20, "batch_size": 16,
            "optimizer": {"type": "Adam", "lr": 1e-4},
        },
        "stages": [{"name": "lr", "design": "variants", "variants": {"better": {"optimizer.lr": 1e-3}}}],
    }  # fmt: skip


def study(
    folder: Path,
    best: Cats,
    baseline: Cats | None = None,
    *,
    label: str = "better",
    metric: str = "coco/AP",
    pictures: bool = True,
    value: float | None = None,
    **evaluation: Any,
) -> StudyReport:
    """The report of a study whose cells predicted these; the ledger holds the AP that they have.

    Args:
        value: what the ledger holds of the best cell instead.
    """
    best.write_truth(folder / "data", pictures)
    home = Home.resolve(folder / "home")
    made = Builder(**document(folder / "data", metric, **evaluation))
    made.stage("lr", carried="better", carry_reason="best final AP")
    for name, cats in (("baseline", baseline), ("better", best)):
        if cats is None:
            continue
        made.cell(name, {} if name == "baseline" else {"optimizer.lr": 1e-3}, label=label if name == "better" else "")
        ap = average_precision(*cats.arrays(folder / name), SIGMAS)
        made.trial(scores=(0.0, ap if value is None or name == "baseline" else value))
        path = home.attempt("cats_small", len(made.trials), 1).predictions
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(cats.predictions), encoding="utf-8")
    return made.report(SavedMatches(home))
