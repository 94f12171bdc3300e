"""Evaluators that MMPose lacks: a normalised mean error of labelled keypoints alone, and a file of predictions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmpose.evaluation.metrics import NME
from mmpose.registry import METRICS

from posestudy.durable import write_text


@METRICS.register_module()
class LabelledNME(NME):
    """MMPose's `NME` over the instances whose two normalising keypoints are both labelled.

    The stock metric divides the errors of the others by a distance to (0, 0), where unlabelled keypoints lie. Where
    every instance has both, as in WFLW, the two are equal. Its `norm_mode` must be `keypoint_distance`, with
    `keypoint_indices`.
    """

    def process(self, data_batch: Sequence[dict[str, Any]], data_samples: Sequence[dict[str, Any]]) -> None:
        """As `NME`'s; an instance that cannot be normalised counts for nothing."""
        before = len(self.results)
        super().process(data_batch, data_samples)
        for result in self.results[before:]:
            if not result["mask"][:, list(self.keypoint_indices)].all():
                result["mask"] = np.zeros_like(result["mask"])


@METRICS.register_module()
class PredictionFile(BaseMetric):
    """Measures nothing and keeps the predictions of the last evaluation, as COCO results with the annotation's `id`.

    Args:
        file: path of the JSON.
        **options: as `BaseMetric`'s.
    """

    default_prefix = "predictions"

    def __init__(self, file: str, **options: Any) -> None:
        super().__init__(**options)
        self.file = Path(file)

    def process(self, data_batch: Sequence[dict[str, Any]], data_samples: Sequence[dict[str, Any]]) -> None:
        """Keep the keypoints of a batch, px of the image."""
        for sample in data_samples:
            found = sample["pred_instances"]
            keypoints, scores = found["keypoints"], found["keypoint_scores"]
            self.results += [
                {
                    "image_id": int(sample["img_id"]),
                    "id": int(sample["id"]),
                    "category_id": int(sample.get("category_id", 1)),
                    "keypoints": np.column_stack([points, each]).astype(float).ravel().tolist(),
                    "score": float(np.mean(each)),
                }
                for points, each in zip(keypoints, scores, strict=True)
            ]

    def compute_metrics(self, results: list[dict[str, Any]]) -> dict[str, float]:
        """Write the file, whole or not at all."""
        write_text(self.file, json.dumps(results))
        return {}
