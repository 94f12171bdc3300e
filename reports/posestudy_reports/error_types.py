"""The error types of Ronchi and Perona, and the AP that each would give back.

M. R. Ronchi and P. Perona, "Benchmarking and Error Diagnosis in Multi-Instance Pose Estimation", ICCV 2017, section 4;
their code is coco-analyze. `docs/errors.md` says where this differs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from posestudy_reports.coco_annotations import Annotated
from posestudy_reports.coco_matching import average_precision
from posestudy_reports.oks import similarities
from posestudy_reports.pairing import Paired

Floats = NDArray[np.float64]

GOOD_FROM: Final = 0.85
NEAR_FROM: Final = 0.5
"""The similarities from which on a keypoint is good, and from which on it is near a place at all."""


class Kind(IntEnum):
    """What a predicted keypoint is."""

    GOOD = 0
    JITTER = 1
    INVERSION = 2
    SWAP = 3
    MISS = 4

    @property
    def word(self) -> str:
        return self.name.lower()


ERRORS: Final = (Kind.JITTER, Kind.INVERSION, Kind.SWAP, Kind.MISS)
_NONE: Final = -1


@dataclass(frozen=True)
class Diagnosis:
    """What the predictions of one validation do wrong.

    Attributes:
        paired: which prediction belongs to which instance.
        kinds: int8 [N, K], a `Kind` for each labelled keypoint of an instance with a prediction, else -1.
        nearest: float64 [N, K, 2], the place of the wrong keypoint that an inverted one took; NaN elsewhere.
        sigmas: float64 [K].
        true_boxes: predictions were made in the boxes of the annotations, so that none can be of the background.
    """

    paired: Paired
    kinds: NDArray[np.int8]
    nearest: Floats
    sigmas: Floats
    true_boxes: bool

    @cached_property
    def counts(self) -> Mapping[Kind, int]:
        """Keypoints of each kind."""
        return {kind: int((self.kinds == kind).sum()) for kind in Kind}

    @cached_property
    def judged(self) -> int:
        """Keypoints that have a kind."""
        return int((self.kinds != _NONE).sum())

    def shares(self, rows: NDArray[np.bool_]) -> tuple[float, ...]:
        """The share of each kind among the judged keypoints of the mask [N, K]; zeros where there are none."""
        among = self.kinds[rows & (self.kinds != _NONE)]
        return tuple(float((among == kind).mean()) if len(among) else 0.0 for kind in Kind)

    @cached_property
    def ap(self) -> float:
        """AP as it is."""
        return average_precision(self.paired.truth, self.paired.found, self.sigmas)

    @cached_property
    def gains(self) -> Mapping[str, float]:
        """What AP would gain if all errors of a type were put right: by `Kind.word`, `background` and `missed` (where
        boxes come from a detector or an instance has no prediction), and `all`."""
        found = {kind.word: self.corrected([kind]) - self.ap for kind in ERRORS}
        background, missed = bool(len(self.paired.background)), bool(len(self.paired.missed))
        if background or not self.true_boxes:
            found["background"] = self.corrected([], background=True) - self.ap
        if missed or not self.true_boxes:
            found["missed"] = self.corrected([], missed=True) - self.ap
        return found | {"all": self.corrected(ERRORS, background=True, missed=True) - self.ap}

    def corrected(self, kinds: Iterable[Kind], *, background: bool = False, missed: bool = False) -> float:
        """AP after these are put right.

        A keypoint that jitters, is swapped or missed is set on its true place; an inverted one goes back to its own
        side and keeps its distance from it. Background predictions and missed instances are removed.
        """
        truth, found, of = self.paired.truth, self.paired.found, self.paired.of
        points = found.points.copy()
        for kind in kinds:
            instances, keypoints = np.nonzero(self.kinds == kind)
            at = truth.keypoints[instances, keypoints, :2]
            if kind is Kind.INVERSION:
                at = at + self.paired.points[instances, keypoints] - self.nearest[instances, keypoints]
            points[of[instances], keypoints] = at
        found = found.moved(points)
        if background:
            found = found.taken(np.delete(np.arange(len(found)), self.paired.background))
        if missed:
            truth = without(truth, self.paired.missed)
        return average_precision(truth, found, self.sigmas)


def diagnose(pair: Paired, sigmas: Sequence[float], mirrored: Sequence[int], *, true_boxes: bool) -> Diagnosis:
    """What each keypoint is.

    Good from a similarity of `GOOD_FROM` to its own place on; jitter from `NEAR_FROM` on; below that inversion where it
    is near the mirrored keypoint of its own instance, swap where it is near the same or the mirrored keypoint of
    another one, by whichever it is nearer to; else miss.

    Args:
        sigmas: [K]. mirrored: [K], the index of each keypoint's mirrored one, its own where it has none.
    """
    truth, widths = pair.truth, np.asarray(sigmas, dtype=np.float64)
    mirror = np.asarray(mirrored, dtype=np.int64)
    own = pair.similarity
    instances = np.flatnonzero(pair.of >= 0)
    inverted = np.full(own.shape, -1.0)
    inverted[instances] = _near(pair, instances, instances, widths, mirror)
    swapped = np.full(own.shape, -1.0)
    mine, others = _others(truth, instances)
    for places in (np.arange(len(mirror)), mirror):
        np.maximum.at(swapped, mine, _near(pair, mine, others, widths, places))
    wrong = np.maximum(inverted, swapped)
    lost = np.where(wrong < NEAR_FROM, Kind.MISS, np.where(inverted >= swapped, Kind.INVERSION, Kind.SWAP))
    kinds = np.where(own >= GOOD_FROM, Kind.GOOD, np.where(own >= NEAR_FROM, Kind.JITTER, lost))
    kinds = np.where(np.isfinite(own), kinds, _NONE).astype(np.int8)
    nearest = np.where((kinds == Kind.INVERSION)[:, :, None], truth.keypoints[:, mirror, :2], np.nan)
    return Diagnosis(pair, kinds, nearest, widths, true_boxes)


def _near(
    pair: Paired, mine: NDArray[np.int64], others: NDArray[np.int64], sigmas: Floats, places: NDArray[np.int64]
) -> Floats:
    """Similarity [Q, K] of the predicted keypoints of instances `mine` to the keypoints `places` of instances `others`;
    -1 where those are not labelled."""
    truth = pair.truth
    there = truth.keypoints[others][:, places]
    near = similarities(pair.points[mine], there[:, :, :2], truth.areas[others], sigmas)
    return np.where(there[:, :, 2] > 0, near, -1.0)


def _others(truth: Annotated, instances: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each of the instances with every other one of its image: two arrays of indices, [Q]."""
    order = np.argsort(truth.image_of, kind="stable")
    starts = np.searchsorted(truth.image_of[order], np.arange(len(truth.image_ids) + 1))
    image = truth.image_of[instances]
    counts = (starts[1:] - starts[:-1])[image]
    mine = np.repeat(instances, counts)
    within = np.arange(len(mine)) - np.repeat(np.cumsum(counts) - counts, counts)
    others = order[np.repeat(starts[image], counts) + within]
    return mine[mine != others], others[mine != others]


def without(truth: Annotated, rows: NDArray[np.int64]) -> Annotated:
    """The annotations without these instances."""
    kept = np.delete(np.arange(len(truth.ids)), rows)
    names = ("ids", "image_of", "boxes", "areas", "keypoints", "crowd")
    return replace(truth, **{name: getattr(truth, name)[kept] for name in names})


def mirrored(keypoints: int, pairs: Iterable[tuple[int, int]]) -> tuple[int, ...]:
    """The index of each keypoint's mirrored one, its own where it has none."""
    found = list(range(keypoints))
    for one, other in pairs:
        found[one], found[other] = other, one
    return tuple(found)
