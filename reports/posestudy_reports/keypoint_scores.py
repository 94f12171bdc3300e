"""How well each keypoint is found: AP, PCK and the mean error of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from posestudy_reports.coco_annotations import Annotated
from posestudy_reports.coco_matching import average_precisions, labelled_alone
from posestudy_reports.detections import Detections
from posestudy_reports.pairing import seen_boxes
from posestudy_studies.layouts import BoxFrom

Floats = NDArray[np.float64]

PCK_AT: Final = (0.05, 0.1, 0.2)
"""Distances that count as found, in the larger sides of the instance's box."""


@dataclass(frozen=True)
class KeypointScores:
    """Scores by keypoint, each array [K].

    Attributes:
        labelled: labelled keypoints of the instances that count.
        predicted: those of them whose instance has a prediction.
        hits: by threshold of `PCK_AT`, labelled keypoints found within it.
        error: mean distance of the predicted ones, in larger sides of the box; NaN where there are none.
        ap: AP as if only this keypoint were labelled; NaN where it never is, None where OKS is not defined.
    """

    labelled: NDArray[np.int64]
    predicted: NDArray[np.int64]
    hits: Mapping[float, NDArray[np.int64]]
    error: Floats
    ap: Floats | None

    def pck(self, threshold: float) -> Floats:
        """Share of the labelled keypoints found within it; NaN where none is labelled. An instance without a
        prediction is not found."""
        with np.errstate(invalid="ignore", divide="ignore"):
            share: Floats = self.hits[threshold] / np.where(self.labelled, self.labelled, np.nan)
        return share


def keypoint_scores(truth: Annotated, points: Floats, sides: Floats) -> KeypointScores:
    """PCK and mean error, as MMPose's PCKAccuracy defines them with `norm_item="bbox"`.

    Args:
        points: [N, K, 2], of each instance's prediction, px; NaN where it has none.
        sides: [N], the larger side of each instance's box, px.
    """
    counted = truth.labelled & ~truth.crowd[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        off = np.linalg.norm(points - truth.keypoints[:, :, :2], axis=2) / np.where(sides > 0, sides, np.nan)[:, None]
    known = counted & np.isfinite(off)
    sums, predicted = np.where(known, off, 0.0).sum(axis=0), known.sum(axis=0)
    error = sums / np.where(predicted, predicted, np.nan)
    hits = {threshold: (known & (off < threshold)).sum(axis=0) for threshold in PCK_AT}
    return KeypointScores(counted.sum(axis=0), predicted, hits, error, None)


def keypoint_ap(truth: Annotated, found: Detections, sigmas: Floats) -> Floats:
    """AP of each keypoint [K]: COCO's, where the OKS of a pair is the similarity of this keypoint alone.

    An instance on which it is not labelled is ignored, as COCO ignores instances without labelled keypoints, and the
    score of a prediction stays that of the whole instance.
    """
    return np.array(average_precisions(truth, found, sigmas, labelled_alone(truth)))


def larger_sides(truth: Annotated, box_from: BoxFrom) -> Floats:
    """Of each instance's box as MMPose reads it, px [N]: a `bbox` is cut at the image."""
    boxes = seen_boxes(truth) if box_from == "bbox" else truth.boxes
    side: Floats = boxes[:, 2:].max(axis=1, initial=0.0)
    return side
