"""Which predictions of a validation met which ground truth, image by image: what intervals over images are made of."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xtcocotools.coco import COCO
from xtcocotools.cocoeval import COCOeval

from posestudy.durable import write_bytes

_MOST = 20
"""Detections of one image that COCO's keypoint evaluation looks at."""


def save_matches(runner: Any, predictions: Path, final: Path, epoch: int) -> bool:
    """Evaluate saved predictions once more and keep their matches; false where there is nothing to match.

    The file is a compressed `.npz` without pickles: `image_ids` int64 [I] (every validation image, ascending),
    `thresholds` float64 [T] (OKS), `dt_image` int64 [D] (index into `image_ids`), `dt_score` float64 [D],
    `dt_matched` and `dt_ignored` bool [T, D], `gt_count` int64 [I] (ground truths that count), `epoch` int64. D is in
    the order in which COCOeval puts images together, before its stable sort by score; the area range is `all`.
    `predictions_sha256` uint8 [32] is of the file they were made from.

    Args:
        runner: an MMEngine runner whose validation evaluator holds MMPose's CocoMetric.
        predictions: COCO results as that metric wrote them.
        final: where the matches go.
        epoch: finished epochs at that validation.
    """
    metric = next((m for m in runner.val_evaluator.metrics if type(m).__name__ == "CocoMetric"), None)
    if metric is None or not predictions.is_file() or metric.iou_type != "keypoints":
        return False
    found = evaluated(metric, predictions)
    stream = io.BytesIO()
    np.savez_compressed(stream, epoch=np.int64(epoch), **found)  # type: ignore[arg-type]
    write_bytes(final, stream.getvalue())
    return True


def evaluated(metric: Any, predictions: Path) -> dict[str, NDArray[Any]]:
    """The arrays of `save_matches` but `epoch`, from a CocoMetric and the COCO results it wrote."""
    written = predictions.read_bytes()
    results = json.loads(written)
    truth: COCO = metric.coco
    sigmas = np.asarray(metric.dataset_meta["sigmas"])
    # COCO's loader cannot take an empty list of results.
    known = truth.loadRes(results) if results else COCO()
    evaluation = COCOeval(truth, known, metric.iou_type, sigmas, metric.use_area)
    evaluation.params.useSegm = None
    evaluation.params.areaRng = evaluation.params.areaRng[:1]
    evaluation.params.areaRngLbl = evaluation.params.areaRngLbl[:1]
    evaluation.params.maxDets = [_MOST]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
    image_ids = np.asarray(sorted(evaluation.params.imgIds), dtype=np.int64)
    place = {int(image): i for i, image in enumerate(image_ids)}
    thresholds = np.asarray(evaluation.params.iouThrs, dtype=np.float64)
    counted = np.zeros(len(image_ids), dtype=np.int64)
    images: list[int] = []
    scores: list[float] = []
    matched: list[NDArray[Any]] = []
    ignored: list[NDArray[Any]] = []
    for one in evaluation.evalImgs:
        if one is None:
            continue
        index = place[int(one["image_id"])]
        counted[index] += int(np.count_nonzero(np.asarray(one["gtIgnore"]) == 0))
        images += [index] * len(one["dtScores"])
        scores += [float(score) for score in one["dtScores"]]
        matched.append(np.asarray(one["dtMatches"]) >= 0)
        ignored.append(np.asarray(one["dtIgnore"], dtype=bool))
    none = np.zeros((len(thresholds), 0), dtype=bool)
    return {
        "image_ids": image_ids,
        "thresholds": thresholds,
        "dt_image": np.asarray(images, dtype=np.int64),
        "dt_score": np.asarray(scores, dtype=np.float64),
        "dt_matched": np.concatenate([none, *matched], axis=1),
        "dt_ignored": np.concatenate([none, *ignored], axis=1),
        "gt_count": counted,
        "predictions_sha256": digest(written),
    }


def digest(written: bytes) -> NDArray[np.uint8]:
    """The sha256 of a file's contents, uint8 [32]."""
    return np.frombuffer(hashlib.sha256(written).digest(), dtype=np.uint8)
