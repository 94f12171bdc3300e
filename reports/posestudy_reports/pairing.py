"""Which prediction belongs to which instance when errors are looked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from posestudy_reports.coco_annotations import Annotated
from posestudy_reports.coco_matching import meet, pairs
from posestudy_reports.detections import Detections
from posestudy_reports.oks import oks, similarities

Floats = NDArray[np.float64]

LEAST_OKS: Final = 0.1
"""What a prediction from a detector's box must reach to belong to an instance, as in coco-analyze."""
_SAME_BOX: Final = 0.8
"""Intersection over union from which on a prediction's box is the instance's own; boxes may be cut at the image."""


@dataclass(frozen=True)
class Paired:
    """Predictions and the instances they belong to.

    Attributes:
        truth, found: what was paired.
        of: int64 [N], index of the prediction of each instance; -1: none.
        similarity: float64 [N, K], of its keypoints to the instance's own; NaN where a keypoint is not labelled or the
            instance has no prediction.
        counted: bool [N], instances that COCOeval counts: no crowd, and with a labelled keypoint.
        background: int64, indices of the predictions that belong to nothing; those of instances that COCOeval ignores
            are none of them.
    """

    truth: Annotated
    found: Detections
    of: NDArray[np.int64]
    similarity: Floats
    counted: NDArray[np.bool_]
    background: NDArray[np.int64]

    @cached_property
    def oks(self) -> Floats:
        """[N]; NaN for an instance without a prediction or a labelled keypoint."""
        return oks(self.similarity, np.isfinite(self.similarity))

    @cached_property
    def missed(self) -> NDArray[np.int64]:
        """Indices of the counted instances without a prediction."""
        return np.flatnonzero(self.counted & (self.of < 0))

    @cached_property
    def points(self) -> Floats:
        """Of each instance's prediction, [N, K, 2], px; NaN where it has none."""
        shape = self.truth.keypoints[:, :, :2].shape
        points = np.full(shape, np.nan)
        points[self.of >= 0] = self.found.points[self.of[self.of >= 0]]
        return points


def paired(truth: Annotated, found: Detections, sigmas: Floats, *, true_boxes: bool) -> Paired:
    """Pair predictions with instances.

    Args:
        sigmas: [K], the keypoints' OKS sigmas.
        true_boxes: predictions were made in the boxes of the annotations. Then each belongs to the instance whose box
            it was made in, however far off it is. Else it is COCOeval's greedy matching by score at `LEAST_OKS`.
    """
    counted = ~truth.crowd & truth.labelled.any(axis=1)
    of = _by_box(truth, found, sigmas) if true_boxes else np.full(len(truth.ids), -1, dtype=np.int64)
    if not true_boxes or len(np.unique(of[of >= 0])) < len(found):
        met = meet(truth, found, sigmas, truth.labelled[None], np.array([LEAST_OKS]))
        mine = met.truth[0, 0]
        if not true_boxes:
            of[mine[mine >= 0]] = met.rows[mine >= 0]
        # What meets an instance that COCOeval ignores counts neither for nor against.
        ignored = met.rows[(mine >= 0) & met.ignored[0][mine]]
    else:
        ignored = np.zeros(0, dtype=np.int64)
    background = np.setdiff1d(np.arange(len(found)), np.concatenate([of[of >= 0], ignored]))
    of = np.where(counted, of, -1)
    similarity = np.full(truth.labelled.shape, np.nan)
    has = of >= 0
    similarity[has] = similarities(found.points[of[has]], truth.keypoints[has, :, :2], truth.areas[has], sigmas)
    similarity[~truth.labelled] = np.nan
    return Paired(truth, found, of, similarity, counted, background)


def by_annotation(truth: Annotated, found: Detections) -> NDArray[np.int64]:
    """For each instance the index of the prediction that carries its annotation's id, [N]; -1: none."""
    of = np.full(len(truth.ids), -1, dtype=np.int64)
    place = np.searchsorted(truth.ids, found.ids)
    known = np.isin(found.ids, truth.ids)
    of[place[known]] = np.flatnonzero(known)
    return of


def _by_box(truth: Annotated, found: Detections, sigmas: Floats) -> NDArray[np.int64]:
    """Pairs of equal boxes, the most alike first, of equally alike ones the more similar keypoints; then by OKS."""
    rows = np.flatnonzero(np.isin(found.image_ids, truth.image_ids))
    which, gt = pairs(truth, found, rows)
    dt = rows[which]
    boxes = seen_boxes(truth)
    alike = _overlap(found.boxes[dt], boxes[gt])
    similar = oks(
        similarities(found.points[dt], truth.keypoints[gt, :, :2], truth.areas[gt], sigmas), truth.labelled[gt]
    )
    alike, similar = np.nan_to_num(alike), np.nan_to_num(similar)
    of = np.full(len(truth.ids), -1, dtype=np.int64)
    free = np.ones(len(found), dtype=np.bool_)
    by_box = np.lexsort((-similar, -np.round(alike, 3)))
    # Where results tell no box, or another one.
    by_oks = np.lexsort((-found.scores[dt], -similar))
    for order in (by_box[alike[by_box] >= _SAME_BOX], by_oks):
        left = order[(of[gt[order]] < 0) & free[dt[order]]]
        for prediction, instance in zip(dt[left].tolist(), gt[left].tolist(), strict=True):
            if of[instance] < 0 and free[prediction]:
                of[instance], free[prediction] = prediction, False
    return of


def seen_boxes(truth: Annotated) -> Floats:
    """The annotations' boxes cut at the image as MMPose cuts them, [N, 4], left, top, width, height, px."""
    last = truth.sizes[truth.image_of] - 1
    low = np.clip(truth.boxes[:, :2], 0, last)
    high = np.clip(truth.boxes[:, :2] + truth.boxes[:, 2:], 0, last)
    return np.concatenate([low, high - low], axis=1)


def _overlap(one: Floats, other: Floats) -> Floats:
    """Intersection over union of boxes [P, 4], left, top, width, height; NaN where one is not known."""
    low = np.maximum(one[:, :2], other[:, :2])
    high = np.minimum(one[:, :2] + one[:, 2:], other[:, :2] + other[:, 2:])
    shared = np.prod(np.maximum(0.0, high - low), axis=1)
    union = one[:, 2] * one[:, 3] + other[:, 2] * other[:, 3] - shared
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = shared / union
    return found
