"""COCOeval's matching of predictions to ground truth (area `all`), for many choices of labelled keypoints at once.

Equal to xtcocotools' `COCOeval.evaluate` and, with `bootstrap`'s accumulation, to its AP; in a fraction of its time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from posestudy_reports import bootstrap
from posestudy_reports.bootstrap import Matches
from posestudy_reports.coco_annotations import Annotated
from posestudy_reports.detections import Detections
from posestudy_reports.oks import oks, outside, similarities

Floats = NDArray[np.float64]

THRESHOLDS: Final[Floats] = np.linspace(0.5, 0.95, 10)
"""The OKS at which AP is taken."""
_MOST: Final = 20
"""Detections of one image that COCO's keypoint evaluation looks at."""
_SURE: Final = 1 - 1e-10


@dataclass(frozen=True)
class Met:
    """Which ground truth each prediction met, for S choices of labelled keypoints and T thresholds.

    Attributes:
        rows: int64 [D'], indices of the predictions that were looked at, image by image, the best score first.
        truth: int64 [S, T, D'], index of the instance; -1: none.
        ignored: bool [S, N], instances that count neither for nor against.
    """

    rows: NDArray[np.int64]
    truth: NDArray[np.int64]
    ignored: NDArray[np.bool_]


def average_precision(truth: Annotated, found: Detections, sigmas: Floats) -> float:
    """AP over OKS 0.50 to 0.95, as COCOeval gives it; NaN where no ground truth counts."""
    return average_precisions(truth, found, sigmas, truth.labelled[None])[0]


def average_precisions(
    truth: Annotated, found: Detections, sigmas: Floats, labelled: NDArray[np.bool_]
) -> tuple[float, ...]:
    """AP as if only these keypoints were labelled, for each choice of them in `labelled` [S, N, K]."""
    met = meet(truth, found, sigmas, labelled, THRESHOLDS)
    images = np.searchsorted(truth.image_ids, found.image_ids[met.rows])
    values = []
    for mine, ignored in zip(met.truth, met.ignored, strict=True):
        matched = mine >= 0
        matches = Matches(
            image_ids=truth.image_ids,
            thresholds=THRESHOLDS,
            dt_image=images,
            dt_score=found.scores[met.rows],
            dt_matched=matched,
            dt_ignored=matched & ignored[mine],
            gt_count=np.bincount(truth.image_of[~ignored], minlength=len(truth.image_ids)),
            epoch=0,
        )
        values.append(bootstrap.value(matches, "coco/AP"))
    return tuple(values)


def meet(truth: Annotated, found: Detections, sigmas: Floats, labelled: NDArray[np.bool_], thresholds: Floats) -> Met:
    """Match predictions to instances, image by image, the best score first, each to the most similar one that is free.

    Args:
        labelled: bool [S, N, K], the choices of keypoints that count as labelled.
        thresholds: [T], the OKS that a match must reach.
    """
    rows = _looked_at(truth, found)
    ignored = truth.crowd | ~labelled.any(axis=2)
    near = pairs(truth, found, rows)
    similar = _of_pairs(truth, found, sigmas, labelled, near, rows)
    met = np.full((len(labelled), len(thresholds), len(rows)), -1, dtype=np.int64)
    least = np.minimum(thresholds, _SURE)
    free = np.ones((len(labelled), len(thresholds), len(truth.ids)), dtype=np.bool_)
    starts = np.searchsorted(near[0], np.arange(len(rows) + 1))
    reaching = similar.max(axis=0, initial=0.0) >= least.min()
    by_row = np.bincount(near[0][reaching], minlength=len(rows))
    by_instance = np.bincount(near[1][reaching], minlength=len(truth.ids))
    # Where a prediction and an instance can only meet one another, nothing has to be settled.
    alone = reaching & (by_row[near[0]] == 1) & (by_instance[near[1]] == 1)
    s, t, pair = np.nonzero(similar[:, None, alone] >= least[:, None])
    met[s, t, near[0][alone][pair]] = near[1][alone][pair]
    settled = np.zeros(len(rows), dtype=np.bool_)
    settled[near[0][alone]] = True
    for row in np.flatnonzero((by_row > 0) & ~settled):
        here = slice(starts[row], starts[row + 1])
        others = near[1][here]
        able = (similar[:, None, here] >= least[:, None]) & (free[:, :, others] | truth.crowd[others])
        chosen = _best(np.where(able, similar[:, None, here], -1.0), ignored[:, None, others])
        s, t = np.nonzero(chosen >= 0)
        met[s, t, row] = others[chosen[s, t]]
        free[s, t, others[chosen[s, t]]] = False
    return Met(rows, met, ignored)


def _best(similar: Floats, ignored: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Place of the most similar instance [S, T] among those of `similar` [S, T, G] that are not -1, one that is not
    ignored before any that is, of equal ones the last as COCOeval takes it; -1: none."""
    ranked = np.where(ignored & (similar >= 0), similar - 10.0, np.where(similar < 0, -100.0, similar))
    last = ranked.shape[2] - 1 - np.argmax(ranked[:, :, ::-1], axis=2)
    return np.where(ranked.max(axis=2) > -100.0, last, -1)


def _looked_at(truth: Annotated, found: Detections) -> NDArray[np.int64]:
    """Indices of the predictions that COCOeval evaluates: of listed images, with a keypoint, the best of each image."""
    listed = np.isin(found.image_ids, truth.image_ids) & (found.confidences > 0).any(axis=1)
    order = np.lexsort((np.arange(len(found)), -found.scores, found.image_ids))
    order = order[listed[order]]
    _, first, counts = np.unique(found.image_ids[order], return_index=True, return_counts=True)
    place = np.arange(len(order)) - np.repeat(first, counts)
    return order[place < _MOST]


def pairs(truth: Annotated, found: Detections, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every prediction of `rows` with every instance of its image: place in `rows` [P], index of the instance [P]."""
    image = np.searchsorted(truth.image_ids, found.image_ids[rows])
    order = np.argsort(truth.image_of, kind="stable")
    starts = np.searchsorted(truth.image_of[order], np.arange(len(truth.image_ids) + 1))
    counts = (starts[1:] - starts[:-1])[image]
    which = np.repeat(np.arange(len(rows)), counts)
    within = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    return which, order[np.repeat(starts[image], counts) + within]


def _of_pairs(
    truth: Annotated,
    found: Detections,
    sigmas: Floats,
    labelled: NDArray[np.bool_],
    near: tuple[NDArray[np.int64], NDArray[np.int64]],
    rows: NDArray[np.int64],
) -> Floats:
    """OKS of the pairs, [S, P]."""
    dt, gt = rows[near[0]], near[1]
    points, areas = found.points[dt], truth.areas[gt]
    each = similarities(points, truth.keypoints[gt, :, :2], areas, sigmas)
    around = outside(points, truth.boxes[gt], areas, sigmas)
    values = np.empty((len(labelled), len(gt)))
    for choice, mine in zip(values, labelled, strict=True):
        of_labelled = oks(each, mine[gt])
        choice[:] = np.where(np.isnan(of_labelled), around, of_labelled)
    return values


def labelled_alone(truth: Annotated) -> NDArray[Any]:
    """K choices [K, N, K]: of the labelled keypoints only the k-th."""
    count = truth.keypoints.shape[1]
    alone = np.eye(count, dtype=np.bool_)[:, None, :]
    found: NDArray[Any] = truth.labelled[None] & alone
    return found
